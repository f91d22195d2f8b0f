"""The pages: what they show, whom they mark, and that they need nothing from elsewhere."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cohorts import read_table, write_participants, write_tiny_cohort
from small_quality import PARAMS, VALUES, checked, write_small_group

from ricenet.display.charts import ticks_between
from ricenet.runtime.files import read_json
from ricenet.screening.quality.measures import MEASURES, Limit, SubjectQuality, limits_of
from ricenet.screening.quality.strips import strip
from ricenet.screening.quality.subject_page import read_examination


class Page(HTMLParser):
    """Start tags with their attributes, and all text, of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny subjects; the table knows the interval of the first and of the last."""
    folder = write_tiny_cohort(tmp_path_factory.mktemp("cohort") / "mine", 3)
    days = ("200", "n/a", "90")
    rows = [row | {"days_rt_end_to_event": d} for row, d in zip(read_table(folder), days, strict=True)]
    write_participants(folder, rows)
    return folder


@pytest.fixture(scope="module")
def quality(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_group(tmp_path_factory.mktemp("group"), checked(cohort_folder))


def table(quality: Path) -> list[dict[str, str]]:
    with (quality / "measures.tsv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_there_is_a_page_a_subject_a_group_page_and_the_tables(quality: Path) -> None:
    names = {path.name for path in quality.iterdir()}
    assert names == {
        *("sub-001.html", "sub-002.html", "sub-003.html"),
        *("index.html", "measures.tsv", "marked.json", "summary.json"),
    }


def test_marked_subjects_are_listed_with_value_and_reason(quality: Path) -> None:
    marked = read_json(quality / "marked.json")
    assert sorted(marked) == ["sub-002", "sub-003"]
    assert [mark["measure"] for mark in marked["sub-002"]] == ["mutual_information", "brain_overlap"]
    assert marked["sub-002"][0]["value"] == 1.05
    assert marked["sub-003"] == [
        {"measure": "brain_overlap", "value": None, "reason": "Overlap of brains could not be measured"}
    ]


def test_the_table_holds_every_measure_of_every_subject(quality: Path) -> None:
    first, second, third = table(quality)
    assert list(first) == ["participant_id", *(measure.name for measure in MEASURES), "marks"]
    assert (first["rotation_deg"], first["brain_overlap"], first["marks"]) == ("20", "0.98", "n/a")
    assert (first["days_rt_end_to_event"], second["days_rt_end_to_event"]) == ("200", "n/a")
    assert third["brain_overlap"] == "n/a" and third["marks"] == "Overlap of brains could not be measured"


def test_the_summary_counts_and_takes_medians_of_what_there_is(quality: Path) -> None:
    summary = read_json(quality / "summary.json")
    assert (summary["subjects"], summary["marked"], summary["excluded"]) == (3, 2, 0)
    assert summary["medians"]["rotation_deg"] == 12.0
    assert summary["medians"]["brain_overlap"] == pytest.approx((0.98 + 0.7) / 2)
    assert summary["limits"] == PARAMS.model_dump(mode="json")


def test_other_limits_mark_others_without_another_examination(
    cohort_folder: Path, quality: Path, tmp_path: Path
) -> None:
    strict = PARAMS.model_copy(update={"most_rotation_deg": 15.0, "least_brain_overlap": 0.5})
    other = write_small_group(tmp_path, checked(cohort_folder), strict)
    assert {s: [m["measure"] for m in ms] for s, ms in read_json(other / "marked.json").items()} == {
        "sub-001": ["rotation_deg"],
        "sub-002": ["mutual_information"],
        "sub-003": ["brain_overlap"],
    }
    assert read_json(other / "summary.json")["digest"] != read_json(quality / "summary.json")["digest"]


def test_pages_repeat_byte_by_byte(cohort_folder: Path, quality: Path, tmp_path: Path) -> None:
    again = write_small_group(tmp_path, checked(cohort_folder))
    for path in quality.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("name", ["index.html", "sub-001.html", "sub-002.html"])
def test_a_page_loads_nothing_from_elsewhere(quality: Path, name: str) -> None:
    page = Page(quality / name)
    assert not re.search(r"https?://|//cdn|@import|url\(", page.source)
    for tag, attributes in page.tags:
        for attribute in ("src", "href"):
            target = attributes.get(attribute) or "#"
            assert re.match(r"#|data:|(index|sub-\d+)\.html$", target), (tag, target[:60])
    assert len(page.of("script")) == 1 and "src" not in page.of("script")[0]


@pytest.mark.parametrize("name", ["index.html", "sub-001.html"])
def test_every_page_says_what_it_may_not_be_used_for(quality: Path, name: str) -> None:
    text = Page(quality / name).text
    assert "Research use only" in text and "SYNTHETIC PHANTOM COHORT" in text


def test_a_subjects_page_shows_its_marks_and_how_to_exclude_it(quality: Path) -> None:
    page = Page(quality / "sub-002.html")
    assert "2 marks" in page.text and "Similarity 1.050, expected at least 1.12" in page.text
    assert "sub-002\N{EM SPACE}registration" in page.source or "sub-002&emsp;registration" in page.source
    beyond = re.findall(r'<tr class="beyond"><th scope="row">([^<]+)</th>', page.source)
    assert beyond == ["Similarity", "Overlap of brains"]
    assert "within all limits" in Page(quality / "sub-001.html").text


def test_a_subjects_page_does_not_tell_its_label(quality: Path) -> None:
    text = Page(quality / "sub-001.html").text
    assert "recurrence" not in text and "rice " not in text.replace("RICE-NET", "")


def test_pages_lead_to_their_neighbours(quality: Path) -> None:
    links = {
        name: [a["href"] for a in Page(quality / f"{name}.html").of("a")] for name in ("sub-001", "sub-002")
    }
    assert links["sub-001"] == ["index.html", "sub-002.html"]
    assert links["sub-002"] == ["index.html", "sub-001.html", "sub-003.html"]


def test_every_picture_and_outline_that_a_viewer_uses_is_in_the_page(quality: Path) -> None:
    page = Page(quality / "sub-001.html")
    known = {
        attributes["id"] for tag, attributes in page.tags if tag in ("image", "path") and "id" in attributes
    }
    used = {str(attributes["href"]).removeprefix("#") for attributes in page.of("use")}
    choices = {f"head-{a['value']}" for a in page.of("input") if a.get("type") == "radio"}
    assert used and choices == {"head-event", "head-event_before"}
    assert used | choices <= known


def test_the_planning_ct_is_shown_where_there_is_one(quality: Path) -> None:
    assert "Planning CT" in Page(quality / "sub-001.html").text
    assert "Planning CT" not in Page(quality / "sub-002.html").text


def test_the_dose_json_is_shown_as_it_is_nested(quality: Path) -> None:
    text = Page(quality / "sub-001.html").text
    assert "Decisions one plan fractions 30" in text and "Factor to the course's dose: 30." in text


def test_the_group_page_has_a_row_a_subject_with_values_to_sort_by(quality: Path) -> None:
    page = Page(quality / "index.html")
    rows = [a for a in page.of("tr") if "data-subject" in a]
    assert [row["data-subject"] for row in rows] == ["sub-001", "sub-002", "sub-003"]
    assert [row.get("class") for row in rows] == [None, "marked", "marked"]
    headers = [a for a in page.of("th") if a.get("scope") == "col" and "aria-sort" in a]
    assert len(headers) == 1
    # a value for every column of every row
    assert sum("data-value" in a for tag, a in page.tags if tag in ("td", "th")) == 3 * (2 + len(MEASURES))


def test_the_group_page_lists_excluded_subjects(cohort_folder: Path, tmp_path: Path) -> None:
    other = write_tiny_cohort(tmp_path / "mine", 4)
    (other / "exclude.tsv").write_text("participant_id\treason\tcomment\nsub-004\tdose\tErika Mustermann\n")
    text = Page(write_small_group(tmp_path, checked(other)) / "index.html").text
    assert "1 excluded" in text and "sub-004 quarantined (dose), as exclude.tsv says" in text
    assert "Mustermann" not in text


def subjects(*overlaps: float | None) -> list[SubjectQuality]:
    return [
        SubjectQuality(participant_id=f"sub-{i:03d}", measures=VALUES | {"brain_overlap": overlap})
        for i, overlap in enumerate(overlaps, start=1)
    ]


OVERLAP = next(measure for measure in MEASURES if measure.name == "brain_overlap")


def test_a_strip_orders_dots_as_their_values() -> None:
    drawn = strip(OVERLAP, subjects(0.9, 0.5, 0.7, None), Limit(low=0.8), ["sub-002", "sub-003"])
    assert drawn is not None
    x = {dot.subject: dot.x for dot in drawn.dots}
    assert x["sub-002"] < x["sub-003"] < x["sub-001"]
    assert [dot.subject for dot in drawn.dots] == ["sub-001", "sub-002", "sub-003"]
    assert [dot.marked for dot in drawn.dots] == [False, True, True]
    assert drawn.missing == 1 and drawn.median == "0.700" and drawn.limit == "at least 0.8"
    assert drawn.allowed is not None
    left, right = drawn.allowed
    assert x["sub-003"] < left < x["sub-001"] <= right


def test_a_strip_of_equal_values_and_of_none_can_be_drawn() -> None:
    equal = strip(OVERLAP, subjects(0.9, 0.9), limits_of(PARAMS)["brain_overlap"], [])
    assert equal is not None and len({dot.x for dot in equal.dots}) == 1
    assert strip(OVERLAP, subjects(None, None), None, []) is None


def test_a_far_limit_does_not_press_the_values_together() -> None:
    drawn = strip(MEASURES[3], subjects(0.9, 0.9), Limit(high=8000.0), [])
    assert drawn is not None and float(drawn.ticks[-1].text) < 100
    assert drawn.allowed is not None


def test_axes_span_their_values() -> None:
    for low, high in ((0.3, 9.7), (0.0, 0.0), (-4.0, 6.0), (1400.0, 1400.0)):
        ticks = ticks_between(low, high, 5)
        assert len(ticks) >= 2 and ticks[0] <= low and high <= ticks[-1]


def test_the_measures_of_a_page_are_those_of_its_record(quality: Path) -> None:
    record = read_examination(quality.parent / "store" / "sub-002")
    assert table(quality)[1]["mutual_information"] == f"{record['measures']['mutual_information']:g}"
    assert record["own_brain"] in Page(quality / "sub-002.html").text
