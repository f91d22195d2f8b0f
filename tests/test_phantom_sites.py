"""Sites of the phantom: scanners that differ, shares of RICE by site, and nothing changed without sites."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohorts import read_table

from ricenet.cohort.participants import read_participants
from ricenet.config.params import parse_params, read_yaml
from ricenet.phantom.anatomy import shared_template
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import SyntheticSubject, draw_cause, make_subject
from ricenet.phantom.scanners import NOMINAL, Scanner, SiteDesign
from ricenet.phantom.write_cohort import at_sites, draw_causes, with_rice_share, write_phantom
from ricenet.runtime.errors import ParamsError
from ricenet.runtime.files import read_json

PARAMS = Path(__file__).parents[1] / "params.yaml"
DESIGN = SiteDesign(3, 0.25, 2.0, 2.0, 3.0)
NONE = MECHANISMS["none"]


def test_any_two_scanners_differ_in_everything_and_stay_within_the_design() -> None:
    scanners = DESIGN.scanners(7)
    assert [s.site for s in scanners] == ["phantom-a", "phantom-b", "phantom-c"]
    for of, ends in {
        "contrast": (0.75, 1.25), "noise": (0.5, 2.0), "bias": (0.5, 2.0), "blur_mm": (0.0, 3.0)
    }.items():  # fmt: skip
        values = sorted(getattr(s, of) for s in scanners)
        assert (values[0], values[-1]) == pytest.approx(ends)
        assert len(set(values)) == 3
    assert DESIGN.scanners(7) == scanners != DESIGN.scanners(8)


def test_sites_hold_their_shares_to_the_nearest_subject() -> None:
    causes = draw_causes(60, 7, with_rice_share(NONE, 0.4, 60, 7))
    shares = replace(DESIGN, rice_shares=(0.1, 0.4, 0.7))
    placed = at_sites(causes, shares, 7)
    counts = Counter((c.scanner.site, c.label) for c in placed)
    assert [counts[f"phantom-{s}", "rice"] for s in "abc"] == [2, 8, 14]
    assert [counts[f"phantom-{s}", "recurrence"] for s in "abc"] == [18, 12, 6]
    assert [replace(c, scanner=NOMINAL) for c in placed] == causes, "labels and evidence stay"


def test_numbers_that_do_not_divide_are_placed_to_the_last_subject() -> None:
    is_rice = {f"sub-{i:03d}": i < 9 for i in range(20)}
    places = replace(DESIGN, rice_shares=(0.2, 0.45, 0.7)).placed(is_rice, 3)
    assert sorted(Counter(places.values()).values()) == [6, 7, 7]
    assert places.keys() == is_rice.keys()


def test_without_shares_the_label_has_no_part_in_the_site() -> None:
    names = [f"sub-{i:03d}" for i in range(30)]
    one, other = (dict.fromkeys(names, is_rice) for is_rice in (True, False))
    assert DESIGN.placed(one, 7) == DESIGN.placed(other, 7)
    assert len(set(DESIGN.placed(one, 7).values())) == 3


def scanned(scanner: Scanner) -> SyntheticSubject:
    cause = replace(draw_cause("sub-002", 7, NONE), scanner=scanner)
    return make_subject(shared_template(8.0), cause, 7)


@pytest.fixture(scope="module")
def plain() -> SyntheticSubject:
    return scanned(NOMINAL)


def test_a_scanner_changes_mris_and_neither_dose_nor_anatomy(plain: SyntheticSubject) -> None:
    other = scanned(Scanner("s", "S", contrast=1.2, noise=3.0, bias=2.0, blur_mm=6.0))
    assert np.array_equal(other.scans["dose"].data, plain.scans["dose"].data)
    assert np.array_equal(other.anatomy.brain, plain.anatomy.brain)
    for name in ("post_op", "event"):
        assert np.array_equal(other.scans[name].grid.affine, plain.scans[name].grid.affine)
        assert not np.array_equal(other.scans[name].data, plain.scans[name].data)


def test_each_property_of_a_scanner_does_what_its_name_says(plain: SyntheticSubject) -> None:
    def values(scanner: Scanner) -> np.ndarray:
        return scanned(scanner).scans["post_op"].data.astype(np.float64)

    given = plain.scans["post_op"].data.astype(np.float64)
    head = given > 150
    noise_only = values(Scanner(noise=4.0))
    assert np.abs(noise_only - given)[~head].mean() > 2 * given[~head].mean()
    contrast = values(Scanner(contrast=1.3))
    # fluid, of a third of white matter's signal, gets darker and white matter stays
    dark, bright = head & (given < 300), head & (given > 550) & (given < 620)
    assert (contrast[dark] / given[dark]).mean() < 0.9
    assert (contrast[bright] / given[bright]).mean() == pytest.approx(1, abs=0.05)
    blurred = values(Scanner(blur_mm=12.0))
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.8 * np.abs(np.diff(given, axis=0)).mean()
    biased = np.log(values(Scanner(bias=4.0))[head] / given[head])
    assert biased.std() > 0.15


def written(folder: Path, sites: SiteDesign | None) -> Path:
    write_phantom(
        folder, 4, 7, NONE, test_fraction=0.0, spacing_mm=8.0, single_fraction_share=0.0, sites=sites,
        backend="serial",
    )  # fmt: skip
    return folder


def test_site_and_scanner_are_columns_of_the_table_and_part_of_the_truth(tmp_path: Path) -> None:
    root = written(tmp_path / "sites", DESIGN)
    table = read_participants(root / "participants.tsv")
    assert not table.problems
    scanners = {s.site: s.name for s in DESIGN.scanners(7)}
    assert all(scanners[str(row.site)] == row.scanner for row in table.participants.values())
    assert set(table.columns) == read_json(root / "participants.json").keys()
    truth = read_json(root / "ground_truth" / "mechanism.json")
    assert [s["site"] for s in truth["scanners"]] == list(scanners)
    plain = read_table(written(tmp_path / "plain", None))
    assert "scanner" not in plain[0]
    without = [{k: v for k, v in row.items() if k not in ("site", "scanner")} for row in read_table(root)]
    assert without == [{k: v for k, v in row.items() if k != "site"} for row in plain]


@pytest.mark.parametrize(
    ("sites", "rice_share", "said"),
    [
        (
            {"count": 2, "rice_shares": [0.2, 0.4, 0.6]},
            0.4,
            "phantom.sites: rice_shares has 3 values for count 2",
        ),
        (
            {"count": 2, "rice_shares": [0.2, 0.8]},
            0.4,
            "the mean of sites.rice_shares is 0.5, and rice_share 0.4",
        ),
        ({"count": 2, "rice_shares": [0.2, 0.8]}, None, "set phantom.rice_share to 0.5"),
        ({"count": 1}, 0.4, "phantom.sites.count"),
        ({"count": 2, "vendor": "X"}, 0.4, "phantom.sites.vendor: unknown key"),
    ],
)
def test_sites_that_cannot_be_are_refused(
    sites: dict[str, object], rice_share: float | None, said: str
) -> None:
    content = read_yaml(PARAMS)
    content["phantom"] |= {"sites": sites, "rice_share": rice_share}
    with pytest.raises(ParamsError) as raised:
        parse_params(content, "params.yaml")
    assert said in str(raised.value)
