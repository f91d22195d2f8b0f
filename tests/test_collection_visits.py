"""Public collections with all follow-ups: what becomes a visit, with which label and days, and what not."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
from cohorts import read_table
from collection_trees import (
    IMPORT,
    burdenko_row,
    cfb_patient,
    write_burdenko_patient,
    write_cfb_patient,
    write_cfb_tables,
    write_clinical_table,
)
from dicom_trees import edit
from typer.testing import CliRunner

from ricenet.cohort.checks import admit, check_cohort
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

PLANNING, EVENT, RT_END = date(2004, 3, 1), date(2004, 5, 10), date(2004, 4, 14)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)


def imported(*words: str) -> str:
    result = CliRunner().invoke(IMPORT, [*words])
    assert result.exit_code == 0, result.output
    return result.stdout


def visits_of(subject: str) -> list[str]:
    text = Path("cohort", subject, f"{subject}_sessions.tsv").read_text(encoding="utf-8")
    return text.splitlines()[1:]


def write_follow_ups(patient_id: str, days: list[date]) -> None:
    """A patient whose event scan is followed, or preceded, by copies of it in studies of their own."""
    export = write_burdenko_patient(Path("images"), patient_id, PLANNING, EVENT)
    for number, day in enumerate(days):
        for path in export.event_files:
            copy = path.with_name(f"further-{number}-{path.name}")
            shutil.copy(path, copy)
            written = f"{day:%Y%m%d}"
            edit(
                copy,
                StudyDate=written,
                SeriesDate=written,
                AcquisitionDate=written,
                ContentDate=written,
                StudyInstanceUID=export.patient.uid(f"further-{number}"),
                SeriesInstanceUID=export.patient.uid(f"further-{number}-series"),
                SOPInstanceUID=export.patient.uid(f"further-{number}-{path.name}"),
            )


def burdenko(responses: list[str], days: list[date], *options: str) -> str:
    cells = [f"{day.month}/{day.day}/{day:%y}" for day in days]
    table = write_clinical_table(Path("table.csv"), [burdenko_row("Burdenko-GBM-901", responses, cells)])
    return imported("burdenko", "images", str(table), "cohort", *options)


def test_follow_ups_before_and_after_the_first_event_are_visits_with_their_days_and_labels() -> None:
    early, late = RT_END + timedelta(days=6), EVENT + timedelta(days=31)
    write_follow_ups("Burdenko-GBM-901", [early, late])
    without_scan = late + timedelta(days=30)
    responses = ["stable", "pseudo progression", "progression", "progression"]
    burdenko(responses, [early, EVENT, late, without_scan], "--all-visits")
    assert visits_of("sub-001") == [
        "ses-postop\tn/a\tn/a\tn/a",
        "ses-event\t6\tn/a\tn/a",
        "ses-event2\t26\trice\tfollow_up",
        "ses-event3\t57\trecurrence\tfollow_up",
    ]
    (row,) = read_table(Path("cohort"))
    assert (row["label"], row["days_rt_end_to_event"], row["follow_up"]) == ("rice", "26", "2")
    # the fourth follow-up has no scan: counted, and no reason to leave the patient out
    assert row["follow_ups_left_out"] == "1"
    found = admit(check_cohort(Path("cohort")), exclude_faulty=False)
    assert {s.participant_id: s.label for s in found.subjects} == {
        "sub-001": None,
        "sub-001v2": "rice",
        "sub-001v3": "recurrence",
    }


def test_without_the_option_the_first_event_alone_is_imported() -> None:
    late = EVENT + timedelta(days=31)
    write_follow_ups("Burdenko-GBM-901", [late])
    burdenko(["pseudo progression", "progression"], [EVENT, late])
    assert not list(Path("cohort").glob("sub-001/*_sessions.*"))
    assert [path.name for path in sorted(Path("cohort/sub-001").glob("ses-*"))] == ["ses-event", "ses-postop"]
    assert "follow_ups_left_out" not in read_table(Path("cohort"))[0]


def test_follow_ups_out_of_order_and_labels_that_the_rules_exclude() -> None:
    late, later = EVENT + timedelta(days=31), EVENT + timedelta(days=62)
    write_follow_ups("Burdenko-GBM-901", [late, later])
    # the third is dated before the second; only one of them can be right, and the first that fits stays
    responses = ["pseudo progression", "distant progression", "progression"]
    burdenko(responses, [EVENT, later, late], "--all-visits")
    assert visits_of("sub-001")[1:] == ["ses-event\t26\trice\tfollow_up", "ses-event2\t88\tn/a\tn/a"]
    assert read_table(Path("cohort"))[0]["follow_ups_left_out"] == "1"


def test_t2_of_cfb_gbm_is_a_second_visit_without_days_and_may_be_the_previous_ones_next() -> None:
    scans = (("t0", 0), ("t1", 12), ("t2", 20))
    tables = [cfb_patient(2, rano=("PD", "SD"), scans=scans), cfb_patient(3, rano=("PD", "PD"), scans=scans)]
    write_cfb_tables(Path("tables"), tables)
    for number in (2, 3):
        write_cfb_patient(Path("images"), number)
    at_t2 = Path("images/002/t2/2_t2_t1gd.nii.gz")
    at_t2.parent.mkdir()
    shutil.copy(Path("images/003/t1/3_t1_t1gd.nii.gz"), at_t2)
    imported("cfb-gbm", "images", "tables", "cohort", "--all-visits", "--weak-labels")
    assert visits_of("sub-001")[1:] == ["ses-event\tn/a\trice\tfollow_up", "ses-event2\tn/a\tn/a\tn/a"]
    # the tables promise a t2 of which there is no file
    assert visits_of("sub-002")[1:] == ["ses-event\tn/a\trecurrence\tfollow_up"]
    assert [row["follow_ups_left_out"] for row in read_table(Path("cohort"))] == ["0", "1"]
    before = VolumeSpec(
        name="before", kind="mri", session="previous", suffix="ce-gadolinium_T1w", title="x", required=False
    )
    report = check_cohort(Path("cohort"), Volumes([*PAPER_VOLUMES, before]))
    assert report.problems == ()
    assert [s.participant_id for s in report.subjects if "before" in s.scans] == ["sub-001v2"]
