"""Burdenko-GBM-Progression: who is imported with which label, from which images, and who is not."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cohorts import read_table
from collection_trees import IMPORT, a_series, burdenko_row, write_burdenko_patient, write_clinical_table
from typer.testing import CliRunner

from ricenet.cohort.checks import check_cohort
from ricenet.importing.collections.burdenko import BURDENKO, burdenko_candidates
from ricenet.importing.collections.burdenko_events import FirstEvent, LabelRules, first_event
from ricenet.importing.collections.burdenko_scans import choose_scans
from ricenet.importing.collections.burdenko_table import ClinicalRow, parse_date, read_clinical_table
from ricenet.importing.collections.collection import Exclusion, Where, require_two_visits
from ricenet.importing.dicom.instances import DicomTree, Series
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

PROJECT = Path(__file__).parents[1]
SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))
EXCERPT = SAMPLES / "burdenko" / "Burdenko-GBM-clinical-data.excerpt.csv"
needs_excerpt = pytest.mark.skipif(not EXCERPT.is_file(), reason=f"RICENET_SAMPLES: no {EXCERPT.name}")

DAYS = ["5/10/04", "7/10/04", "9/10/04", "11/10/04"]
"""Of follow-ups; radiotherapy ends on 4/14/04."""

FIRST = "the first event (follow-up"

TAKE_ALL = LabelRules(include_distant=True, include_low_confidence=True)


def row_of(
    tmp_path: Path, responses: Sequence[str], dates: Sequence[str] = DAYS, **cells: str
) -> ClinicalRow:
    path = write_clinical_table(tmp_path / "table.csv", [burdenko_row("P", responses, dates, **cells)])
    return read_clinical_table(path)[0]


def event_of(row: ClinicalRow, rules: LabelRules = LabelRules()) -> FirstEvent:  # noqa: B008
    return first_event(row, rules)


def excluded(call: Callable[[], object]) -> str:
    with pytest.raises(Exclusion) as exclusion:
        call()
    return str(exclusion.value)


def reason_of(row: ClinicalRow, rules: LabelRules = LabelRules()) -> str:  # noqa: B008
    return excluded(lambda: first_event(row, rules))


# --- labels


@pytest.mark.parametrize(
    ("responses", "label", "follow_up"),
    [
        (["pseudo progression"], "rice", 1),
        (["progression"], "recurrence", 1),
        (["response", "stable", "progression"], "recurrence", 3),
        (["pseudo progression", "stable", "progression"], "rice", 1),
        (["progression", "pseudo progression"], "recurrence", 1),
        (["stable", "", "progression"], "recurrence", 3),
        (["", "pseudo progression"], "rice", 2),
        ([" Pseudo  Progression "], "rice", 1),
    ],
)
def test_the_first_event_is_the_label(
    tmp_path: Path, responses: list[str], label: str, follow_up: int
) -> None:
    event = event_of(row_of(tmp_path, responses))
    assert (event.meaning.label, event.follow_up) == (label, follow_up)
    assert (event.meaning.confidence, event.meaning.distant) == ("high", False)
    assert event.on == parse_date(DAYS[follow_up - 1])


NOT_A_WORD = "has a response that is not of the known words"
NO_LABEL = "is a combination without a label:"


@pytest.mark.parametrize(
    ("responses", "dates", "reason"),
    [
        (["response", "stable", ""], DAYS, "no event in 2 follow-up visit(s) with a response"),
        (["stable"], DAYS, "no event in 1 follow-up visit(s) with a response"),
        ([], DAYS, "no follow-up with a response"),
        ([], [], "no follow-up with a response"),
        (["progression"], [], f"{FIRST} 1) has no date"),
        (["swelling"], DAYS, f"{FIRST} 1) {NOT_A_WORD}"),
        (["progression, swelling"], DAYS, f"{FIRST} 1) {NOT_A_WORD}"),
        (
            ["stable", "stable, distant progression"], DAYS,
            f"{FIRST} 2) {NO_LABEL} distant progression, stable",
        ),
        (["progression, pseudo progression"], DAYS, f"{FIRST} 1) {NO_LABEL} progression, pseudo progression"),
    ],
)  # fmt: skip
def test_a_patient_without_a_usable_event_is_excluded_with_the_reason(
    tmp_path: Path, responses: list[str], dates: list[str], reason: str
) -> None:
    assert reason_of(row_of(tmp_path, responses, dates), TAKE_ALL) == reason


def test_distant_progression_is_recurrence_only_where_it_is_asked_for(tmp_path: Path) -> None:
    row = row_of(tmp_path, ["stable", "distant progression"])
    assert reason_of(row).startswith("the first event (follow-up 2) is a distant progression")
    meaning = event_of(row, LabelRules(include_distant=True)).meaning
    assert (meaning.label, meaning.distant) == ("recurrence", True)


@pytest.mark.parametrize("words", ["response, pseudo progression", "pseudo progression,response"])
def test_a_response_with_pseudo_progression_is_rice_of_low_confidence(tmp_path: Path, words: str) -> None:
    row = row_of(tmp_path, [words])
    assert reason_of(row).endswith("--include-low-confidence takes it as rice")
    meaning = event_of(row, LabelRules(include_low_confidence=True)).meaning
    assert (meaning.label, meaning.confidence) == ("rice", "low")


def test_events_can_be_restricted_to_one_follow_up(tmp_path: Path) -> None:
    first, second = row_of(tmp_path, ["progression"]), row_of(tmp_path, ["stable", "progression"])
    rules = LabelRules(follow_up=1)
    assert event_of(first, rules).follow_up == 1
    assert reason_of(second, rules) == "the first event is at follow-up 2, not 1"


# --- dates


def test_dates_are_month_day_and_a_year_of_the_2000s() -> None:
    assert parse_date("9/29/00") == date(2000, 9, 29)
    assert parse_date(" 12/1/99 ") == date(2099, 12, 1)
    assert parse_date(" ") is None


@pytest.mark.parametrize("cell", ["2004-05-06", "5/6/2004", "13/1/04", "2/30/04", "soon"])
def test_another_date_is_refused_and_excludes_its_patient(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=r"M/D/YY|day|month"):
        parse_date(cell)
    row = row_of(tmp_path, ["progression"], [cell])
    assert reason_of(row) == "not a date (M/D/YY) in the clinical table: Anonym1st_fup"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            {"topometric": "11/18/04"},
            "the topometric MRI is dated 260 day(s) after the start of radiotherapy",
        ),
        ({"topometric": "1/30/04"}, "the topometric MRI is dated 2 day(s) before the surgery"),
        ({"rt_end": "5/11/04"}, "the first event is dated 1 day(s) before the end of radiotherapy"),
        ({"rt_end": "3/1/04"}, "radiotherapy ends 2 day(s) before it starts"),
        ({"rt_end": " "}, "no date for the start or the end of radiotherapy"),
        ({"rt_start": ""}, "no date for the start or the end of radiotherapy"),
    ],
)
def test_dates_that_contradict_each_other_exclude_their_patient(
    tmp_path: Path, cells: dict[str, str], reason: str
) -> None:
    assert reason_of(row_of(tmp_path, ["progression"], **cells)) == reason


def test_an_event_on_the_last_day_and_a_scan_on_the_first_day_of_radiotherapy_are_in_time(
    tmp_path: Path,
) -> None:
    row = row_of(tmp_path, ["progression"], ["4/14/04"], topometric="3/3/04")
    assert event_of(row).on == event_of(row).rt_end


def test_an_event_of_a_later_visit_may_not_be_dated_before_the_first_event(tmp_path: Path) -> None:
    row = row_of(tmp_path, ["pseudo progression", "stable", "progression"], ["5/10/04", "7/10/04", "5/3/04"])
    assert reason_of(row) == "a later follow-up's event is dated 7 day(s) before the first one"


# --- the table


def test_cells_that_are_no_knowledge_are_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        burdenko_row("A", MGMT="?", **{"IDH1/2": "negative"}),
        burdenko_row("B", MGMT="maybe", Sex="", AgeAtStudyDate="x"),
    ]
    with caplog.at_level("WARNING"):
        first, second = read_clinical_table(write_clinical_table(tmp_path / "table.csv", rows))
    assert first.columns == {"age_years": "51", "sex": "F", "mgmt": "n/a", "idh": "negative"}
    assert second.columns == {"age_years": "n/a", "sex": "n/a", "mgmt": "n/a", "idh": "n/a"}
    assert [record.getMessage().split(":")[1] for record in caplog.records] == [
        " 1 cell(s) of AgeAtStudyDate are taken as n/a",
        " 1 cell(s) of MGMT are taken as n/a",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("MGMT", "mgmt"), r"lacks the column\(s\) MGMT; give the table"),
        (
            lambda text: text.replace("Response_2nd_fup", "Second"),
            "Response_1st_fup, Anonym1st_fup and so on",
        ),
        (lambda text: text.replace("AnonymDeath", "MGMT"), r"1 column\(s\) twice"),
        (lambda text: "", r"lacks the column\(s\) AnonymPatientID"),
        (lambda text: text.splitlines()[0] + "\n", "lists no patient"),
        (lambda text: text + "Secret,1\n", r"line\(s\) 3: not one cell under each column"),
        (lambda text: text.replace("\nSecret,", "\n ,"), "no AnonymPatientID on lines 2"),
        (lambda text: text + text.splitlines()[1] + "\n", r"lists a patient twice \(lines 2, 3\)"),
        (lambda text: text + '"open', r"cannot be read as comma-separated UTF-8 text \(Error\)"),
        (None, r"cannot be read .* \(FileNotFoundError\)"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_line_and_not_by_name(
    tmp_path: Path, change: Callable[[str], str] | None, words: str
) -> None:
    table = write_clinical_table(tmp_path / "table.csv", [burdenko_row("Secret")])
    if change is None:
        table.unlink()
    else:
        table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CohortError, match=words) as refused:
        read_clinical_table(table)
    assert "Secret" not in str(refused.value)


def test_blank_lines_at_the_end_are_no_patients(tmp_path: Path) -> None:
    table = write_clinical_table(tmp_path / "table.csv", [burdenko_row("A")])
    table.write_text(table.read_text(encoding="utf-8") + "\n,, ,\n", encoding="utf-8-sig")
    assert [row.patient_id for row in read_clinical_table(table)] == ["A"]


@needs_excerpt
def test_the_real_rows_become_what_the_rules_say() -> None:
    found: dict[str, object] = {}
    for row in read_clinical_table(EXCERPT):
        try:
            event = first_event(row, LabelRules())
        except Exclusion as exclusion:
            found[row.patient_id[-3:]] = str(exclusion)
        else:
            days = (event.on - event.rt_end).days
            found[row.patient_id[-3:]] = (event.meaning.label, event.follow_up, days)
    assert found == {
        "001": "no event in 5 follow-up visit(s) with a response",
        "003": ("recurrence", 1, 29),
        "004": ("recurrence", 2, 110),
        "007": "the first event is dated 1 day(s) before the end of radiotherapy",
        "009": ("rice", 1, 18),
        "010": "no event in 1 follow-up visit(s) with a response",
        "020": ("rice", 1, 13),
        "030": f"{FIRST} 3) is a combination without a label: distant progression, stable",
        "033": f"{FIRST} 2) is a distant progression; --include-distant takes it as recurrence",
        "045": "no follow-up with a response",
        "079": ("rice", 2, 51),
        "117": f"{FIRST} 2) is pseudo progression, response; --include-low-confidence takes it as rice",
        "123": ("rice", 1, 14),
        "140": ("recurrence", 1, 25),
        "147": "the topometric MRI is dated 139 day(s) after the start of radiotherapy",
        "149": f"{FIRST} 1) is a combination without a label: distant progression, response",
        "166": ("recurrence", 1, 76),
    }


@needs_excerpt
def test_the_written_out_tables_have_the_real_columns(tmp_path: Path) -> None:
    written = write_clinical_table(tmp_path / "table.csv", [burdenko_row("A")])
    headers = [next(csv.reader(path.open(encoding="utf-8"))) for path in (EXCERPT, written)]
    assert headers[0] == headers[1]


# --- visits

PLANNING, EVENT = date(2004, 3, 1), date(2004, 5, 10)


def the_series() -> list[Series]:
    """A complete patient: the planning study with its MRI, and a control visit."""
    return [
        a_series("CT", "plan", PLANNING),
        a_series("RTDOSE", "plan", PLANNING),
        a_series("RTPLAN", "plan", PLANNING),
        a_series("RTSTRUCT", "plan", PLANNING),
        a_series("RTSTRUCT", "control", EVENT),
        a_series("MR", "plan", PLANNING, "MR0T1CET1"),
        a_series("MR", "plan", PLANNING, "MR0T2FLAIR", slices=20),
        a_series("MR", "control", EVENT, "MR0t1cet1"),
        a_series("MR", "control", EVENT, "MR0T2FLAIR", slices=20),
    ]


FIVE = Volumes(
    [
        *PAPER_VOLUMES,
        *(
            VolumeSpec(name=name, kind="mri", session=session, suffix="FLAIR", title="FLAIR", required=False)
            for name, session in (("post_op_flair", "postop"), ("event_flair", "event"))
        ),
    ]
)


def chosen(
    tmp_path: Path,
    series: Sequence[Series],
    tolerance_days: int = 0,
    volumes: Volumes = PAPER_VOLUMES,
    dates: Sequence[str] = DAYS,
    **cells: str,
) -> PatientSource:
    row = row_of(tmp_path, ["progression"], dates, **cells)
    return choose_scans(series, row, event_of(row), volumes, tolerance_days)


def without(*descriptions: tuple[str, str]) -> list[Series]:
    return [
        one for one in the_series() if (one.first.study_uid, one.first.series_description) not in descriptions
    ]


def test_a_complete_patient_has_the_planning_and_the_follow_up_scan_and_all_of_radiotherapy(
    tmp_path: Path,
) -> None:
    source = chosen(tmp_path, [*the_series(), a_series("RTDOSE", "plan", PLANNING, number=2)])
    described = {
        name: (one.first.study_uid, one.first.series_description) for name, one in source.images.items()
    }
    assert described == {"post_op": ("plan", "MR0T1CET1"), "event": ("control", "MR0t1cet1")}
    objects = (source.doses, source.plans, source.structures, source.planning_cts)
    assert [len(found) for found in objects] == [2, 1, 2, 1]


def test_without_a_t1ce_in_the_planning_study_the_topometric_mri_counts(tmp_path: Path) -> None:
    topometric = a_series("MR", "topometry", date(2004, 2, 27), "CET1")
    series = [*without(("plan", "MR0T1CET1")), topometric]
    assert chosen(tmp_path, series, topometric="2/27/04").images["post_op"] == topometric


def test_a_declared_flair_is_the_only_one_of_its_visits_study(tmp_path: Path) -> None:
    source = chosen(tmp_path, the_series(), volumes=FIVE)
    flairs = {name: one.first.study_uid for name, one in source.images.items() if name.endswith("flair")}
    assert flairs == {"post_op_flair": "plan", "event_flair": "control"}
    second = a_series("MR", "control", EVENT, "MR1T2FLAIR", number=2, slices=20)
    # which of two it is, is not guessed: the patient is without it
    assert "event_flair" not in chosen(tmp_path, [*the_series(), second], volumes=FIVE).images
    needed = Volumes([spec.model_copy(update={"required": True}) for spec in FIVE])
    reason = excluded(lambda: chosen(tmp_path, [*the_series(), second], volumes=needed))
    assert reason == "2 series for event_flair (FLAIR) in the visit's study"


def test_volumes_of_one_visit_or_three_are_refused(tmp_path: Path) -> None:
    third = VolumeSpec(name="late", kind="mri", session="late", suffix="ce-gadolinium_T1w", title="late")
    one_visit = Volumes([PAPER_VOLUMES["post_op"], PAPER_VOLUMES["dose"]])
    for volumes, words in ((Volumes([*PAPER_VOLUMES, third]), "3 session"), (one_visit, "1 session")):
        with pytest.raises(CohortError, match=words):
            require_two_visits(volumes)


def mr(study: str, day: date | None, description: str = "CET1") -> Series:
    return a_series("MR", study, day, description)


UNPLANNED = without(("plan", "MR0T1CET1"))
UNFOLLOWED = without(("control", "MR0t1cet1"))
TOPOMETRIC = "at the topometric MRI (the planning study has none)"
CHOICES_AND_GAPS: dict[str, list[Series]] = {
    "no images: the folder holds no DICOM file of this patient": [],
    "no RTDOSE": [one for one in the_series() if one.kind != "RTDOSE"],
    "ambiguous: RTDOSE objects in 2 studies": [*the_series(), a_series("RTDOSE", "second plan", PLANNING)],
    "ambiguous: 2 CET1 series in the planning study": [*the_series(), mr("plan", PLANNING, "CET1 sag")],
    f"no CET1 series {TOPOMETRIC}; the nearest is 70 day(s) away": UNPLANNED,
    f"ambiguous: 3 CET1 series {TOPOMETRIC}": [*UNPLANNED, *(mr(f"mri {n}", PLANNING) for n in range(3))],
    "ambiguous: 2 CET1 series at follow-up 1": [*the_series(), mr("control 2", EVENT)],
    "no CET1 series at follow-up 1; the nearest is 7 day(s) away": [
        *UNFOLLOWED, mr("late", date(2004, 5, 17)),
    ],
    "no CET1 series at follow-up 1; there is none at all": UNFOLLOWED,
    "the planning study has no date": [*UNPLANNED, mr("plan", None)],
    "the planning study's MRI was taken 10 day(s) before the surgery": [
        *UNPLANNED, mr("plan", date(2004, 1, 22)),
    ],
    "the planning study's MRI was taken 10 day(s) after the start of radiotherapy": [
        *UNPLANNED, mr("plan", date(2004, 3, 13)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "series"), CHOICES_AND_GAPS.items(), ids=range(len(CHOICES_AND_GAPS)))
def test_images_that_leave_a_choice_or_a_gap_exclude_their_patient(
    tmp_path: Path, reason: str, series: list[Series]
) -> None:
    assert excluded(lambda: chosen(tmp_path, series)) == reason


def test_studies_whose_uid_was_lost_are_not_one_study(tmp_path: Path) -> None:
    lost = [one for one in the_series() if one.first.study_uid == "plan"]
    lost = [Series(tuple(replace(i, study_uid="") for i in one.instances)) for one in lost]
    other = a_series("MR", "", date(2003, 1, 1), "CET1")
    series = [*lost, other, *(one for one in the_series() if one.first.study_uid == "control")]
    assert chosen(tmp_path, series).images["post_op"].first.date == PLANNING


def test_a_missing_topometric_date_leaves_nothing_to_fall_back_on(tmp_path: Path) -> None:
    reason = "no CET1 series in the planning study, and no date of a topometric MRI"
    assert excluded(lambda: chosen(tmp_path, without(("plan", "MR0T1CET1")), topometric=" ")) == reason


def test_a_tolerance_takes_the_scan_nearby_only_where_the_date_has_none(tmp_path: Path) -> None:
    near = a_series("MR", "late", date(2004, 5, 13), "CET1")
    also = a_series("MR", "early", date(2004, 5, 8), "CET1")
    gap = without(("control", "MR0t1cet1"))
    assert chosen(tmp_path, [*the_series(), near], 3).images["event"].first.date == EVENT
    assert chosen(tmp_path, [*gap, near], 3).images["event"] == near
    reasons = [
        excluded(lambda: chosen(tmp_path, [*gap, near], 2)),
        excluded(lambda: chosen(tmp_path, [*gap, near, also], 3)),
    ]
    assert reasons == [
        "no CET1 series at follow-up 1; the nearest is 3 day(s) away",
        "ambiguous: 2 CET1 series at follow-up 1",
    ]


def test_a_tolerance_reaches_no_scan_during_radiotherapy(tmp_path: Path) -> None:
    series = [*without(("control", "MR0t1cet1")), a_series("MR", "early", date(2004, 4, 10), "CET1")]
    reason = "the event's MRI was taken 4 day(s) before the end of radiotherapy"
    assert excluded(lambda: chosen(tmp_path, series, 7, dates=["4/15/04"])) == reason


# --- candidates


def test_every_patient_of_table_or_images_is_a_candidate_or_excluded(tmp_path: Path) -> None:
    table = write_clinical_table(
        tmp_path / "table.csv",
        [
            burdenko_row("B", ["progression"], DAYS, MGMT="positive"),
            burdenko_row("C", ["progression"], DAYS),
            burdenko_row("D", ["stable"], DAYS),
        ],
    )
    of_b = [
        a_series(one.kind, one.first.study_uid, one.first.date, one.first.series_description, "B")
        for one in the_series()
    ]
    series = (a_series("MR", "x", EVENT, "CET1", "A"), *of_b)
    tree = DicomTree(tmp_path, series, ())
    found = burdenko_candidates(read_clinical_table(table), tree, LabelRules(), 0, PAPER_VOLUMES, seed=1)
    assert {one.patient_id: one.exclusion for one in found} == {
        "A": "images, but no row in the clinical table",
        "B": None,
        "C": "no images: the folder holds no DICOM file of this patient",
        "D": "no event in 1 follow-up visit(s) with a response",
    }
    imported = found[0]
    assert imported.columns == {
        "label": "recurrence",
        "label_source": "follow_up",
        "subset": "n/a",
        "site": "Burdenko",
        "age_years": "51",
        "sex": "F",
        "mgmt": "positive",
        "idh": "n/a",
        "days_post_op_to_event": "n/a",
        "days_planning_to_event": "n/a",
        "days_rt_end_to_event": "n/a",
        "follow_up": "1",
        "label_confidence": "high",
        "distant": "no",
        "rt_modality": "n/a",
    }
    assert imported.write is not None
    assert all(list(one.columns) == list(BURDENKO.columns) for one in found)


# --- the whole


def write_collection(folder: Path) -> tuple[Path, Path]:
    """Four patients with images, and a table that knows three of them and one more."""
    for patient_id, day in (("Burdenko-GBM-901", 10), ("Burdenko-GBM-902", 10), ("Burdenko-GBM-903", 11)):
        write_burdenko_patient(folder / "images", patient_id, PLANNING, date(2004, 5, day))
    write_burdenko_patient(folder / "images", "Burdenko-GBM-904", PLANNING, EVENT, in_planning_study=False)
    rows = [
        burdenko_row("Burdenko-GBM-901", ["pseudo progression"], ["5/10/04"]),
        burdenko_row("Burdenko-GBM-903", ["progression"], ["5/10/04"]),
        burdenko_row("Burdenko-GBM-904", ["progression"], ["5/10/04"]),
        burdenko_row("Burdenko-GBM-905", ["progression"], ["5/10/04"]),
    ]
    return folder / "images", write_clinical_table(folder / "table.csv", rows)


def test_a_collection_becomes_a_cohort_that_passes_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    images, table = write_collection(tmp_path)
    result = CliRunner().invoke(IMPORT, ["burdenko", str(images), str(table), "cohort"])
    assert result.exit_code == 0, result.output
    report = check_cohort(Path("cohort"))
    assert report.problems == ()
    rows = read_table(Path("cohort"))
    assert [
        (row["label"], row["days_rt_end_to_event"], row["days_post_op_to_event"], row["follow_up"])
        for row in rows
    ] == [("rice", "26", "70", "1"), ("recurrence", "26", "70", "1")]
    outcomes = Path("cohort/import.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[1:] for line in outcomes.splitlines()[1:]] == [
        ["imported", "n/a"],
        ["excluded", "images, but no row in the clinical table"],
        ["excluded", "no CET1 series at follow-up 1; the nearest is 1 day(s) away"],
        ["imported", "n/a"],
        ["excluded", "no images: the folder holds no DICOM file of this patient"],
    ]
    description = json.loads(Path("cohort/dataset_description.json").read_text(encoding="utf-8"))
    assert description["TimeOnlyAUC"]["follow_up"]["AUC"] == 0.5
    assert "follow_up: AUC 0.50" in result.stdout
    assert "Burdenko-GBM-904,sub-004" in Path("cohort.key.csv").read_text(encoding="utf-8")


def test_a_tolerance_takes_the_scan_of_the_next_day_and_nothing_but_numbers_reaches_the_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    images, table = write_collection(tmp_path)
    command = ["burdenko", str(images), str(table), "cohort", "--date-tolerance", "1"]
    result = CliRunner().invoke(IMPORT, [*command, "--key", "who.csv"])
    assert result.exit_code == 0, result.output
    assert Path("who.csv").is_file() and not Path("cohort.key.csv").exists()
    by_subject = {row["participant_id"]: row for row in read_table(Path("cohort"))}
    assert by_subject["sub-003"]["days_rt_end_to_event"] == "27"
    written = b""
    for path in sorted(Path("cohort").rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        written += path.name.encode() + (gzip.decompress(content) if path.name.endswith(".gz") else content)
    for identifier in (b"Burdenko-GBM-9", b"Sibylle", b"19570917", b"2004", b"/04", b"2.25.", b"MR1T1CET1"):
        assert identifier not in written, identifier


def test_a_cohort_inside_the_collection_is_refused(tmp_path: Path) -> None:
    for output in (tmp_path / "images" / "cohort", tmp_path):
        with pytest.raises(CohortError, match="lie one inside the other"):
            Where(tmp_path / "images", output, tmp_path / "key.csv").check()
