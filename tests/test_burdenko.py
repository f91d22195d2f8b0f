"""Burdenko-GBM-Progression: who is imported with which label, from which images, and who is not."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cohorts import read_table
from collection_trees import IMPORT, a_series, burdenko_row, write_burdenko_patient, write_clinical_table
from typer.testing import CliRunner

from ricenet.cohort.checks import check_cohort
from ricenet.config.params import ExecutionParams
from ricenet.importing.collections.burdenko.candidates import COLUMNS, burdenko_candidates
from ricenet.importing.collections.burdenko.importer import import_burdenko
from ricenet.importing.collections.burdenko.labels import FirstEvent, LabelRules, first_event
from ricenet.importing.collections.burdenko.table import ClinicalRow, parse_date, read_clinical_table
from ricenet.importing.collections.burdenko.visits import choose_visits
from ricenet.importing.dicom.instances import DicomTree, Series
from ricenet.importing.dose.statement import NOTHING_STATED
from ricenet.importing.import_cohort import Exclusion
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import CohortError

PROJECT = Path(__file__).parents[1]
SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))
EXCERPT = SAMPLES / "burdenko" / "Burdenko-GBM-clinical-data.excerpt.csv"
needs_excerpt = pytest.mark.skipif(not EXCERPT.is_file(), reason=f"RICENET_SAMPLES: no {EXCERPT.name}")

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)

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
    event = first_event(row, rules)
    assert isinstance(event, FirstEvent), event
    return event


def reason_of(row: ClinicalRow, rules: LabelRules = LabelRules()) -> str:  # noqa: B008
    exclusion = first_event(row, rules)
    assert isinstance(exclusion, Exclusion), exclusion
    return exclusion.reason


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


@pytest.mark.parametrize(
    ("responses", "dates", "reason"),
    [
        (["response", "stable", ""], DAYS, "no event in 2 follow-up visit(s) with a response"),
        (["stable"], DAYS, "no event in 1 follow-up visit(s) with a response"),
        ([], DAYS, "no follow-up with a response"),
        ([], [], "no follow-up with a response"),
        (["progression"], [], "the first event (follow-up 1) has no date"),
        (["swelling"], DAYS, "the first event (follow-up 1) has a response that is not of the known words"),
        (
            ["stable", "stable, distant progression"],
            DAYS,
            "the first event (follow-up 2) is a combination without a label: distant progression, stable",
        ),
        (
            ["progression, pseudo progression"],
            DAYS,
            "the first event (follow-up 1) is a combination without a label: progression, pseudo progression",
        ),
        (
            ["progression, swelling"],
            DAYS,
            "the first event (follow-up 1) has a response that is not of the known words",
        ),
    ],
)
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


def test_a_patient_listed_twice_is_refused_by_line_and_not_by_name(tmp_path: Path) -> None:
    rows = [burdenko_row("Secret"), burdenko_row("Other"), burdenko_row("Secret ")]
    table = write_clinical_table(tmp_path / "table.csv", rows)
    with pytest.raises(CohortError, match=r"lists a patient twice \(lines 2, 4\)") as refused:
        read_clinical_table(table)
    assert "Secret" not in str(refused.value)


def test_a_table_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    table = write_clinical_table(tmp_path / "table.csv", [burdenko_row("A")])
    whole = table.read_text(encoding="utf-8")

    def refused(text: str, message: str) -> None:
        table.write_text(text, encoding="utf-8")
        with pytest.raises(CohortError, match=message):
            read_clinical_table(table)

    refused(whole.replace("MGMT", "mgmt"), "lacks columns: MGMT")
    refused(whole.replace("Response_2nd_fup", "Second"), "lacks columns: Response_1st_fup, Anonym1st_fup")
    refused(whole.replace("AnonymDeath", "MGMT"), r"1 column\(s\) twice")
    refused("", "lacks columns: AnonymPatientID")
    refused(whole.splitlines()[0] + "\n", "no line has a cell under every column")
    refused(whole + "Secret,1\n", "lines 3 have not a cell under every column")
    refused(whole.replace("\nA,", "\n ,"), "no AnonymPatientID on lines 2")
    refused(whole + '"open', r"cannot be read as comma-separated UTF-8 text \(Error\)")
    with pytest.raises(CohortError, match=r"cannot be read .* \(FileNotFoundError\)"):
        read_clinical_table(tmp_path / "absent.csv")


def test_blank_lines_at_the_end_are_no_patients(tmp_path: Path) -> None:
    table = write_clinical_table(tmp_path / "table.csv", [burdenko_row("A")])
    table.write_text(table.read_text(encoding="utf-8") + "\n,, ,\n", encoding="utf-8-sig")
    assert [row.patient_id for row in read_clinical_table(table)] == ["A"]


@needs_excerpt
def test_the_real_rows_become_what_the_rules_say() -> None:
    found = {}
    for row in read_clinical_table(EXCERPT):
        event = first_event(row, LabelRules())
        found[row.patient_id[-3:]] = (
            event.reason
            if isinstance(event, Exclusion)
            else (event.meaning.label, event.follow_up, (event.on - event.rt_end).days)
        )
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
        a_series("MR", "plan", PLANNING, "MR0T2FLAIR"),
        a_series("MR", "control", EVENT, "MR0t1cet1"),
        a_series("MR", "control", EVENT, "MR0T2FLAIR"),
    ]


def chosen(
    tmp_path: Path, series: Sequence[Series], tolerance_days: int = 0, **cells: str
) -> PatientSource | Exclusion:
    row = row_of(tmp_path, ["progression"], **cells)
    return choose_visits(series, row, event_of(row), tolerance_days)


def without(*descriptions: tuple[str, str]) -> list[Series]:
    return [
        one for one in the_series() if (one.first.study_uid, one.first.series_description) not in descriptions
    ]


def test_a_complete_patient_has_the_planning_and_the_follow_up_scan(tmp_path: Path) -> None:
    source = chosen(tmp_path, the_series())
    assert isinstance(source, PatientSource)
    assert (source.images["post_op"].first.study_uid, source.images["post_op"].first.series_description) == (
        "plan",
        "MR0T1CET1",
    )
    assert (source.images["event"].first.study_uid, source.images["event"].first.series_description) == (
        "control",
        "MR0t1cet1",
    )


def test_all_of_radiotherapy_is_handed_on_to_the_dose_gate(tmp_path: Path) -> None:
    source = chosen(tmp_path, [*the_series(), a_series("RTDOSE", "plan", PLANNING, number=2)])
    assert isinstance(source, PatientSource)
    assert (len(source.doses), len(source.plans), len(source.structures), len(source.planning_cts)) == (
        *(2, 1, 2, 1),
    )
    assert all(dose.stated == NOTHING_STATED for dose in source.doses)


def test_without_a_t1ce_in_the_planning_study_the_topometric_mri_counts(tmp_path: Path) -> None:
    topometric = a_series("MR", "topometry", date(2004, 2, 27), "CET1")
    series = [*without(("plan", "MR0T1CET1")), topometric]
    source = chosen(tmp_path, series, topometric="2/27/04")
    assert isinstance(source, PatientSource) and source.images["post_op"] == topometric


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ([], "no images: the folder holds no DICOM file of this patient"),
        ([one for one in the_series() if one.kind != "RTDOSE"], "no RTDOSE"),
        (
            [*the_series(), a_series("RTDOSE", "second plan", PLANNING)],
            "ambiguous: RTDOSE objects in 2 studies",
        ),
        (
            [*the_series(), a_series("MR", "plan", PLANNING, "CET1 sag")],
            "ambiguous: 2 CET1 series in the planning study",
        ),
        (
            without(("plan", "MR0T1CET1")),
            "no CET1 series at the topometric MRI (the planning study has none); "
            "the nearest is 70 day(s) away",
        ),
        (
            [
                *without(("plan", "MR0T1CET1")),
                *(a_series("MR", f"mri {n}", PLANNING, "CET1") for n in range(3)),
            ],
            "ambiguous: 3 CET1 series at the topometric MRI (the planning study has none)",
        ),
        (
            [*the_series(), a_series("MR", "control 2", EVENT, "CET1")],
            "ambiguous: 2 CET1 series at follow-up 1",
        ),
        (
            [*without(("control", "MR0t1cet1")), a_series("MR", "late", date(2004, 5, 17), "CET1")],
            "no CET1 series at follow-up 1; the nearest is 7 day(s) away",
        ),
        (without(("control", "MR0t1cet1")), "no CET1 series at follow-up 1; there is none at all"),
        (
            [
                *without(("plan", "MR0T1CET1")),
                a_series("MR", "plan", None, "CET1"),
            ],
            "the planning study has no date",
        ),
        (
            [*without(("plan", "MR0T1CET1")), a_series("MR", "plan", date(2004, 1, 22), "CET1")],
            "the planning study's MRI was taken 10 day(s) before the surgery",
        ),
        (
            [*without(("plan", "MR0T1CET1")), a_series("MR", "plan", date(2004, 3, 13), "CET1")],
            "the planning study's MRI was taken 10 day(s) after the start of radiotherapy",
        ),
    ],
)
def test_images_that_leave_a_choice_or_a_gap_exclude_their_patient(
    tmp_path: Path, series: list[Series], reason: str
) -> None:
    assert chosen(tmp_path, series) == Exclusion(reason)


def test_studies_whose_uid_was_lost_are_not_one_study(tmp_path: Path) -> None:
    lost = [one for one in the_series() if one.first.study_uid == "plan"]
    lost = [Series(tuple(replace(i, study_uid="") for i in one.instances)) for one in lost]
    other = a_series("MR", "", date(2003, 1, 1), "CET1")
    series = [*lost, other, *(one for one in the_series() if one.first.study_uid == "control")]
    source = chosen(tmp_path, series)
    assert isinstance(source, PatientSource) and source.images["post_op"].first.date == PLANNING


def test_a_missing_topometric_date_leaves_nothing_to_fall_back_on(tmp_path: Path) -> None:
    reason = "no CET1 series in the planning study, and no date of a topometric MRI"
    assert chosen(tmp_path, without(("plan", "MR0T1CET1")), topometric=" ") == Exclusion(reason)


def test_a_tolerance_takes_the_scan_nearby_only_where_the_date_has_none(tmp_path: Path) -> None:
    near = a_series("MR", "late", date(2004, 5, 13), "CET1")
    exact = chosen(tmp_path, [*the_series(), near], tolerance_days=3)
    assert isinstance(exact, PatientSource) and exact.images["event"].first.date == EVENT
    gap = without(("control", "MR0t1cet1"))
    shifted = chosen(tmp_path, [*gap, near], tolerance_days=3)
    assert isinstance(shifted, PatientSource) and shifted.images["event"] == near
    assert chosen(tmp_path, [*gap, near], tolerance_days=2) == Exclusion(
        "no CET1 series at follow-up 1; the nearest is 3 day(s) away"
    )
    also = a_series("MR", "early", date(2004, 5, 8), "CET1")
    assert chosen(tmp_path, [*gap, near, also], tolerance_days=3) == Exclusion(
        "ambiguous: 2 CET1 series at follow-up 1"
    )


def test_a_tolerance_reaches_no_scan_during_radiotherapy(tmp_path: Path) -> None:
    series = [*without(("control", "MR0t1cet1")), a_series("MR", "early", date(2004, 4, 10), "CET1")]
    row = row_of(tmp_path, ["progression"], ["4/15/04"])
    assert choose_visits(series, row, event_of(row), 7) == Exclusion(
        "the event's MRI was taken 4 day(s) before the end of radiotherapy"
    )


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
    found = burdenko_candidates(
        read_clinical_table(table), DicomTree(tmp_path, series, ()), LabelRules(), 0, seed=1
    )
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
    assert all(list(one.columns) == list(COLUMNS) for one in found)


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


def test_a_tolerance_on_the_command_line_takes_the_scan_of_the_next_day(
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


def test_nothing_of_the_source_but_numbers_reaches_the_cohort(tmp_path: Path) -> None:
    images, table = write_collection(tmp_path)
    output = tmp_path / "cohort"
    import_burdenko(images, table, output, tmp_path / "key.csv", LabelRules(), 0, 1, SERIAL)
    told = b""
    for path in sorted(output.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        told += path.name.encode() + (gzip.decompress(content) if path.name.endswith(".gz") else content)
    for identifier in (b"Burdenko-GBM-9", b"Sibylle", b"19570917", b"2004", b"/04", b"2.25.", b"MR1T1CET1"):
        assert identifier not in told, identifier


def test_a_cohort_inside_the_collection_is_refused(tmp_path: Path) -> None:
    images, table = tmp_path / "images", tmp_path / "table.csv"
    for output in (images / "cohort", tmp_path):
        with pytest.raises(CohortError, match="lie one inside the other"):
            import_burdenko(images, table, output, tmp_path / "key.csv", LabelRules(), 0, 1, SERIAL)
