"""What the case page and the gallery say, and what their volumes hold."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import nibabel
import numpy as np
import pytest
from explained_cases import LESION_CENTRE, OTHER_VOLUMES, STRONGEST, anatomy, blob, case, votes
from PIL import Image
from small_results import GRID

from ricenet.evaluation.occlusion.explained_case import TOGETHER, Explanation
from ricenet.evaluation.occlusion.page import case_page as page_module
from ricenet.evaluation.occlusion.page.case_page import (
    case_page,
    css_gradient,
    decimals_for,
    dose_volume,
    lines,
    map_colours,
    map_title,
    viewer_description,
    viewer_script,
    vote_positions,
)
from ricenet.evaluation.occlusion.page.embedded_volume import (
    DOSE_STEP_GY,
    MRI_STEP,
    embed,
    embedded_anatomy,
    embedded_map,
)
from ricenet.evaluation.occlusion.page.gallery import SIDE_PIXELS, Tile, gallery_page, in_order, thumbnail
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.runtime.errors import ResultError
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid


@pytest.fixture(autouse=True)
def without_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said here does not depend on the viewer, which may not be built."""
    monkeypatch.setattr(page_module, "viewer_script", lambda: "/* the viewer */")


@functools.cache
def plain() -> str:
    """The page of the case as it is."""
    return case_page(case())


class Reader(HTMLParser):
    """A page as a browser reads it: text outside scripts, attributes, and what scripts hold by their id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.scripts: dict[str, str] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.within: list[str] = []
        self.script = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " "
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in ("script", "style"):
            self.within.append(tag)
            self.script = dict(attrs).get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        self.text += " "
        if tag in ("script", "style"):
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.text += data
        elif self.within == ["script"]:
            self.scripts[self.script] = self.scripts.get(self.script, "") + data


def said(page: str) -> str:
    return " ".join(Reader(page).text.split())


def decoded(text: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


# --- the page


def test_the_page_says_who_is_shown_and_what_was_predicted() -> None:
    text = said(case_page(case(interval=(0.18, 0.47))))
    assert "sub-001 known rice predicted recurrence wrong p_rice 0.320 95 %: 0.180 to 0.470" in text
    assert "network sees post-op T1ce + event T1ce + dose" in text
    assert "Research use only, not a medical device." in text
    assert "the patient's right (R) is on the left" in text


@pytest.mark.parametrize(
    ("sees", "words", "beyond"),
    [("head", "", False), ("brain", ", of the box around all brains", False), ("crop", ", of a crop", True)],
)
def test_the_page_says_which_part_of_the_head_the_network_sees(sees: str, words: str, beyond: bool) -> None:
    text = said(case_page(case(sees=sees)))
    assert f"network sees post-op T1ce + event T1ce + dose{words} " in text
    assert ("within the crop and beyond" in text) == beyond


@pytest.mark.parametrize(("synthetic", "times"), [(True, 1), (False, 0)])
def test_a_phantom_is_named_as_such(synthetic: bool, times: int) -> None:
    assert said(case_page(case(synthetic=synthetic))).count("SYNTHETIC PHANTOM") == times


@pytest.mark.parametrize(
    ("label", "predicted", "wrong"),
    [("rice", "recurrence", True), ("rice", "rice", False), ("n/a", "rice", False)],
)
def test_wrong_predictions_alone_are_marked(label: str, predicted: str, wrong: bool) -> None:
    page = case_page(case(anatomy(label), predicted=predicted))
    assert ('<span class="badge wrong">wrong</span>' in page) is wrong
    assert (f"known {'not known' if label == 'n/a' else label} predicted {predicted}" in said(page)) is True


def test_votes_say_which_network_did_not_train_on_the_subject() -> None:
    text = said(plain())
    assert "0 0.710 rice in its training 1 0.320 recurrence held out 2 0.640 rice in its training" in text
    assert "the mean over the 1 network that did not train on this subject" in text
    assert "One network is no sample, so there is no interval." in text
    several = case(votes=votes(0.3, 0.34), interval=(0.3, 0.34))
    assert "the mean over the 2 networks that did not train" in said(case_page(several))


def test_summaries_are_tables_with_ratios() -> None:
    text = said(plain())
    assert "20 to 40 Gy 30.0 % 20.0 % 1.5" in text
    assert "lesion 50.0 % 2.0 % 25.0" in text
    assert "cavity 5.0 % 0.0 % \u2013" in text  # no volume, no ratio
    assert "centre of mass to the isocentre 4.2 mm" in text
    assert "centre of mass to the lesion not known" in text
    assert text.count("by dose") == 2  # of the two maps that have a summary


def test_a_volume_that_the_network_does_not_see_is_said_so() -> None:
    text = said(case_page(case(maps={TOGETHER: case().maps[TOGETHER]}, modality_set="event")))
    assert "post-op T1ce no input" in text
    assert "dose no input" in text
    assert "event T1ce no input" not in text


def test_other_declared_volumes_have_panels_and_numbers_and_what_is_not_there_is_not_spoken_of() -> None:
    shown = anatomy("n/a", with_masks=False, declared=OTHER_VOLUMES, lacks=("t1",))
    change = 0.1 * blob((6, 8, 9), 2.0)
    maps = {TOGETHER: change, "adc": change}
    page = case_page(case(shown, maps, {}, modality_set="flair+adc+t2", synthetic=False))
    description = json.loads(Reader(page).scripts["case"])
    assert [(v["name"], v["unit"]) for v in description["volumes"]] == [
        ("flair", "SD"),
        ("adc", ""),
        ("t2", "SD"),
    ]
    assert [m["title"] for m in description["maps"]] == ["all volumes", "ADC alone"]
    assert [line["name"] for line in description["lines"]] == ["brain"] and description["places"] == {}
    text = said(page)
    assert "FLAIR ADC T2 <1.5 T> Click an image first" in text
    for absent in ("dose", "Gy", "lesion", "cavity", "The maps in numbers"):
        assert absent not in text


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = plain()
    loading = [
        (tag, value)
        for tag, name, value in Reader(page).attributes
        if name in ("src", "href", "srcset", "action", "data") and not value.startswith("data:")
    ]
    assert loading == []
    assert "default-src 'none'" in page
    assert "url(" not in page and "@import" not in page


def test_text_from_outside_stays_text() -> None:
    hostile = '</script><img src=x onerror="1">'
    provenance = {hostile: hostile}
    masks = {hostile: blob(LESION_CENTRE, 2.0)}
    named = replace(anatomy(), subject=hostile, known_masks=masks)
    page = case_page(case(named, provenance=provenance))
    assert not any(tag == "img" and value == "x" for tag, _, value in Reader(page).attributes)
    assert not any(name.startswith("on") for _, name, _ in Reader(page).attributes)
    assert said(page).count(hostile) >= 4
    assert json.loads(Reader(page).scripts["case"])["regions"] == [hostile]


def test_the_same_case_gives_the_same_page() -> None:
    assert case_page(case()) == plain()


def test_without_the_viewer_the_page_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "BUNDLE", "absent.js")
    with pytest.raises(
        ResultError, match=r"viewer of the case pages is not built.*absent\.js.*`make viewer`"
    ):
        viewer_script()


# --- what the viewer reads


def test_the_page_holds_every_volume_that_its_description_names() -> None:
    scripts = Reader(plain()).scripts
    description = json.loads(scripts["case"])
    named = [v["name"] for v in description["volumes"]] + description["masks"]
    named += [m["volume"] for m in description["maps"]]
    assert {f"volume-{name}" for name in named} == {name for name in scripts if name.startswith("volume-")}
    assert {line["volume"] for line in description["lines"]} <= set(named)


def test_volumes_are_the_case_s_own_rounded_to_their_steps() -> None:
    shown = anatomy()
    volumes = {name: decoded(text) for name, text in embedded_anatomy(shown).items()}
    inside = shown.brain
    for name, step in (("post_op", MRI_STEP), ("event", MRI_STEP), ("dose", DOSE_STEP_GY)):
        found = volumes[name].get_fdata()
        assert np.abs(found - shown.images[name])[inside].max() <= step / 2 + 1e-6
        np.testing.assert_allclose(volumes[name].affine, shown.grid.affine, atol=1e-4)
        assert volumes[name].get_data_dtype() == np.int16
    np.testing.assert_allclose(volumes["dose"].get_fdata(), shown.dose_gy, atol=DOSE_STEP_GY / 2 + 1e-6)
    np.testing.assert_allclose(volumes["lesion"].get_fdata(), shown.known_masks["lesion"], atol=1e-3)
    event = volumes["event"].get_fdata()
    assert event[~inside].max() < event[inside].min()  # around the brain is black, not the brain's mean


def test_maps_keep_a_four_thousandth_of_their_strongest_change() -> None:
    change = case().maps["dose"]
    found = decoded(embedded_map(change, GRID)).get_fdata()
    assert np.abs(found - change).max() <= np.abs(change).max() / 8000 + 1e-9
    assert not decoded(embedded_map(np.zeros((20, 20, 20), np.float32), GRID)).get_fdata().any()


def test_grids_that_do_not_lie_along_the_world_are_refused() -> None:
    turned = GRID.affine.copy()
    turned[0, 0] *= -1
    with pytest.raises(ValueError, match="along the world axes only"):
        embed(np.zeros((20, 20, 20), np.float32), 1.0, Grid(GRID.shape, turned))


def test_the_viewer_begins_where_the_map_is_strongest() -> None:
    description = viewer_description(case())
    assert description["start"] == list(STRONGEST)
    assert [m["name"] for m in description["maps"]] == [TOGETHER, "event", "dose"]
    assert description["maps"][0]["limit"] == pytest.approx(float(np.abs(case().maps[TOGETHER]).max()))
    assert description["places"]["lesion"] == list(STRONGEST)
    # the brain is 16 voxels of 8 mm wide, the cube 20; 6 mm are left free on either side
    assert description["zoom"] == pytest.approx(160 / 140)


def test_isodoses_are_drawn_where_the_dose_reaches_them() -> None:
    names = [line["name"] for line in lines(anatomy(highest_gy=45.0))]
    assert names == ["isodose-20", "isodose-40", "brain", "cavity", "lesion"]
    assert "The dose does not reach 50 Gy, 60 Gy." in said(case_page(case(anatomy(highest_gy=45.0))))
    assert "does not reach" not in said(plain())


@pytest.mark.parametrize(("limit", "decimals"), [(0.0, 3), (0.9, 3), (0.05, 4), (2e-6, 8), (1e-30, 9)])
def test_changes_are_written_with_three_digits(limit: float, decimals: int) -> None:
    assert decimals_for(limit) == decimals


def test_colours_start_at_no_change_which_hides_nothing() -> None:
    tables = map_colours()
    assert all(table["A"][0] == 0 and set(table["A"][1:]) == {255} for table in tables.values())
    assert all(table["I"][0] == 0 and table["I"][-1] == 255 for table in tables.values())
    ends = {name: [table[channel][-1] for channel in "RGB"] for name, table in tables.items()}
    assert ends["lowers"][0] > 200 > ends["lowers"][2]  # yellow speaks for rice
    assert ends["raises"][2] > 200 > ends["raises"][0]  # blue for recurrence
    assert css_gradient().startswith("rgb({} {} {})".format(*ends["raises"]))


def test_maps_are_named_by_what_is_hidden() -> None:
    assert map_title(TOGETHER, "post_op+event+dose", PAPER_VOLUMES) == "all volumes"
    assert map_title(TOGETHER, "event", PAPER_VOLUMES) == "event T1ce"
    assert map_title("post_op", "post_op+dose", PAPER_VOLUMES) == "post-op T1ce alone"


# --- charts


def test_the_histogram_is_cumulative_and_weighs_masks_by_their_share() -> None:
    brain = StructureDose(np.array([30.0, 0.0]), np.array([700.0, 700.0]))
    lesion = StructureDose(np.array([30.0, 0.0]), np.array([0.128, 0.384]))
    drawn = dose_volume({"brain": brain, "lesion": lesion})
    assert drawn is not None
    curves = {line.name.split(",")[0]: line for line in drawn.lines}
    assert curves["lesion"].name == "lesion, 1 ml"
    ticks = {tick.text: tick.at for tick in drawn.y_ticks}
    at_30 = {tick.text: tick.at for tick in drawn.x_ticks}["30"]
    for name, share in (("brain", "50"), ("lesion", "25")):
        points = [tuple(map(float, point.split(","))) for point in curves[name].points.split()]
        assert points[0][1] == pytest.approx(ticks["100"], abs=0.1)
        assert all(y == pytest.approx(ticks[share], abs=0.1) for x, y in points[1:] if x <= at_30)
        assert all(y == pytest.approx(ticks["0"], abs=0.1) for x, y in points if x > at_30)
    assert [rule.text for rule in drawn.rules] == ["20"]


def test_votes_lie_on_an_axis_from_0_to_1() -> None:
    drawn = vote_positions(case(interval=(0.25, 0.5)).explanation)
    zero, quarter, half = (tick.at for tick in drawn["ticks"][:3])
    assert drawn["interval"] == (quarter, half) and drawn["middle"] == half
    assert [x for _, x, _ in drawn["folds"]] == pytest.approx(
        [zero + p * (half - zero) * 2 for p in (0.71, 0.32, 0.64)], abs=0.01
    )
    heights = [y for *_, y in drawn["folds"]]
    assert heights == sorted(set(heights))


# --- thumbnail and gallery


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)


def test_a_thumbnail_shows_where_the_map_is_strongest_over_event_and_dose() -> None:
    pixels = pixels_of(thumbnail(case()))
    assert pixels.shape == (SIDE_PIXELS, 2 * SIDE_PIXELS + 2, 3)
    warmth = pixels[..., 0] - pixels[..., 2]
    for half in (warmth[:, :SIDE_PIXELS], warmth[:, SIDE_PIXELS + 2 :]):
        rows, columns = np.nonzero(half > 0.7 * half.max())
        # the lesion lies on the patient's right and to the front
        assert columns.mean() < 0.4 * SIDE_PIXELS and rows.mean() < 0.45 * SIDE_PIXELS
    assert thumbnail(case()) == thumbnail(case())


def test_a_thumbnail_of_no_change_is_grey() -> None:
    nothing = case(maps={TOGETHER: np.zeros((20, 20, 20), np.float32)})
    over_dose = pixels_of(thumbnail(nothing))[:, SIDE_PIXELS + 2 :]
    assert np.ptp(over_dose, axis=2).max() == 0 and over_dose.max() > 200


def test_without_a_dose_a_thumbnail_shows_the_last_mri_alone() -> None:
    shown = case(anatomy(declared=OTHER_VOLUMES), {TOGETHER: blob((6, 8, 9), 2.0)}, modality_set="flair")
    assert pixels_of(thumbnail(shown)).shape == (SIDE_PIXELS, SIDE_PIXELS, 3)


def tile(subject: str, p_rice: float, label: str = "rice") -> Tile:
    predicted = "rice" if p_rice >= 0.5 else "recurrence"
    said_of_it = {"participant_id": subject, "p_rice": p_rice, "label": label, "predicted": predicted}
    return Tile(Explanation(**(vars(case().explanation) | said_of_it)), b"png")


def gallery(*tiles: Tile, failed: dict[str, str] | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {"labels": {"sub-009": "rice"}, "title": "post-op + dose", "synthetic": False}
    return gallery_page(in_order(tiles), failed or {}, **(values | changes))


def test_the_gallery_is_sorted_by_p_rice_and_marks_the_wrong() -> None:
    page = gallery(tile("sub-002", 0.2), tile("sub-001", 0.9), tile("sub-003", 0.6, "recurrence"))
    names = re.findall(r'<span class="name">(.*?)</span>', page)
    assert names == ["sub-001", "sub-003", "sub-002"]
    assert re.findall(r'<li data-label="(.*?)"( class="wrong" data-wrong)?>', page) == [
        ("rice", ""),
        ("recurrence", ' class="wrong" data-wrong'),
        ("rice", ' class="wrong" data-wrong'),
    ]
    assert "3 explained 2 wrong" in said(page)
    assert 'href="sub-003/index.html"' in page
    assert "known not known" not in said(page)


def test_subjects_without_a_map_are_listed_with_the_reason() -> None:
    page = gallery(tile("sub-001", 0.9, "n/a"), failed={"sub-009": "no <volumes>"}, synthetic=True)
    text = said(page)
    assert "Without a map subject known why sub-009 rice no <volumes>" in text
    assert "1 explained 0 wrong 1 without a map" in text
    assert "SYNTHETIC PHANTOM" in text and "Occlusion maps: post-op + dose" in text
    assert '<option value="n/a">not known</option>' in page
    assert "Inside MLflow's frame links do not work" in text


def test_an_empty_gallery_says_so() -> None:
    assert "No subject is explained yet." in said(gallery())


def test_the_gallery_loads_nothing_and_escapes() -> None:
    hostile = '"><script>1</script>'
    page = gallery(tile(hostile, 0.4))
    assert len(re.findall("<script", page)) == 1
    hrefs = [value for tag, name, value in Reader(page).attributes if name == "href"]
    assert hrefs == ["data:,", f"{hostile}/index.html"]
    assert unescape(page).count(hostile) == 2
