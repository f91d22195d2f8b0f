"""The quarantine list: who is on it is left out with a reason, and nothing else about them matters."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cohorts import FILES, change_cell, change_voxels, one_voxel, refusal, write_tiny_cohort

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.quarantine import REASONS, quarantined_because
from ricenet.cohort.summary import summarise_cohort, summary_table
from ricenet.runtime.errors import CohortError

SECRET = "Erika Mustermann"


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_tiny_cohort(tmp_path / "mine")


def exclude(cohort: Path, *rows: str, header: str = "participant_id\treason\tcomment") -> Path:
    (cohort / "exclude.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return cohort


def admitted(cohort: Path) -> CheckedCohort:
    return admit(check_cohort(cohort), exclude_faulty=False)


def names(cohort: CheckedCohort) -> list[str]:
    return [subject.participant_id for subject in cohort.subjects]


@pytest.mark.parametrize("reason", REASONS)
def test_a_listed_subject_is_left_out_and_told_like_an_excluded_one(cohort: Path, reason: str) -> None:
    checked = admitted(exclude(cohort, f"sub-002\t{reason}\tsee page 3"))
    assert names(checked) == ["sub-001", "sub-003", "sub-004"]
    (left_out,) = checked.excluded
    assert left_out.participant_id == "sub-002"
    assert left_out.problems == (f"quarantined ({reason}), as exclude.tsv says",)


def test_without_a_list_or_with_a_list_of_nobody_everybody_stays(cohort: Path) -> None:
    before = admitted(cohort)
    assert admitted(exclude(cohort)) == before
    assert len(before.subjects) == 4 and before.excluded == ()


def test_the_digest_is_that_of_the_subjects_who_stay(cohort: Path, tmp_path: Path) -> None:
    smaller = write_tiny_cohort(tmp_path / "smaller", subjects=4)
    before = admitted(smaller).digest
    exclude(cohort, "sub-003\tdose")
    assert admitted(cohort).digest != before
    (cohort / "exclude.tsv").unlink()
    assert admitted(cohort).digest == before


def test_a_quarantined_subjects_files_row_and_folder_need_not_be_faultless(cohort: Path) -> None:
    change_voxels(cohort / FILES["event"], one_voxel(float("nan")))
    change_cell(cohort, "sub-002", label="necrosis")
    assert "sub-002" in refusal(cohort)
    assert names(admitted(exclude(cohort, "sub-002\timage_quality"))) == ["sub-001", "sub-003", "sub-004"]
    for path in sorted((cohort / "sub-002").rglob("*.*")):
        path.unlink()
    assert "sub-002" not in names(admitted(cohort))


def test_a_fault_of_another_subject_still_stops_the_pipeline(cohort: Path) -> None:
    change_voxels(cohort / FILES["event"], one_voxel(float("nan")))
    told = refusal(exclude(cohort, "sub-003\tdose"))
    assert "sub-002" in told and "sub-003" not in told
    checked = admit(check_cohort(cohort), exclude_faulty=True)
    assert [s.participant_id for s in checked.excluded] == ["sub-002", "sub-003"]
    assert "NaN" in checked.excluded[0].problems[0] and "quarantined" in checked.excluded[1].problems[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["sub-009\tdose"], r"exclude.tsv: sub-009 is no subject of this cohort \(line 2\). Correct its"),
        (["sub-002\tdose", "", "sub-002\tdose"], r"duplicate subject sub-002 \(line 4\). Keep one row"),
        (["sub-002\tunclear"], "reason of sub-002 is none of registration, brain_mask, dose, image_quality,"),
        (["sub-002\tDose"], "reason of sub-002 is none of"),
        (["sub-002"], r"reason of sub-002 is none of .* \(line 2\)"),
        (["Erika Mustermann\tdose"], r"participant_id is not sub- followed by letters and digits \(line 2\)"),
    ],
)
def test_a_faulty_row_is_a_problem_of_the_cohort(cohort: Path, rows: list[str], message: str) -> None:
    exclude(cohort, *rows)
    with pytest.raises(CohortError, match=message) as refused:
        # excluding faulty subjects does not mend a list that cannot be understood
        admit(check_cohort(cohort), exclude_faulty=True)
    assert "the cohort as a whole" in str(refused.value) and SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "exclude.tsv: is empty. Write a tab-separated table with the columns participant_id, reason"),
        ("\n\n", "exclude.tsv: is empty"),
        ("participant_id\nsub-002\n", "column reason is missing or occurs twice in its first line"),
        ("sub-002\tdose\n", "column participant_id, reason is missing or occurs twice"),
        ("participant_id\treason\treason\nsub-002\tdose\tdose\n", "column reason is missing or occurs twice"),
    ],
)
def test_a_list_that_is_no_table_is_a_problem_of_the_cohort(cohort: Path, content: str, message: str) -> None:
    (cohort / "exclude.tsv").write_text(content, encoding="utf-8")
    assert message in refusal(cohort)


def test_a_list_that_is_no_text_is_a_problem_of_the_cohort(cohort: Path) -> None:
    (cohort / "exclude.tsv").write_bytes(b"participant_id\treason\nsub-002\t\xff\n")
    assert "exclude.tsv: cannot be read as UTF-8 text (UnicodeDecodeError)" in refusal(cohort)


def test_a_table_saved_by_a_spreadsheet_is_read(cohort: Path) -> None:
    (cohort / "exclude.tsv").write_bytes("\ufeffparticipant_id\treason\r\nsub-002\tother\r\n".encode())
    assert names(admitted(cohort)) == ["sub-001", "sub-003", "sub-004"]


def test_a_comment_is_never_repeated(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    checked = admitted(exclude(cohort, f"sub-002\tother\t{SECRET}"))
    assert "sub-002 is excluded: quarantined (other)" in caplog.text
    assert SECRET not in caplog.text and SECRET not in checked.model_dump_json()
    exclude(cohort, f"sub-002\tother\t{SECRET}", f"sub-002\t{SECRET}\t{SECRET}", f"{SECRET}\tother")
    assert SECRET not in refusal(cohort)


def test_nobody_left_is_refused(cohort: Path) -> None:
    exclude(cohort, *(f"sub-00{i}\tother" for i in range(1, 5)))
    assert "no subject is left once the faulty and the quarantined ones are excluded" in refusal(cohort)


def test_beside_a_broken_participants_table_only_the_table_is_blamed(cohort: Path) -> None:
    (cohort / "participants.tsv").write_text("broken\n")
    told = refusal(exclude(cohort, "sub-009\tdose"))
    assert "column participant_id is missing" in told and "sub-009" not in told


def test_the_summary_says_how_many_are_quarantined_and_counts_them(cohort: Path) -> None:
    assert "quarantined" not in summary_table(summarise_cohort(cohort))
    summary = summarise_cohort(exclude(cohort, "sub-002\tdose", f"sub-003\tother\t{SECRET}"))
    assert summary.quarantined == 2 and summary.groups["all"].subjects == 4
    table = summary_table(summary)
    assert "2 of them are quarantined: exclude.tsv excludes them." in table and SECRET not in table


def test_the_reason_is_worded_once() -> None:
    assert quarantined_because("wrong_patient") == "quarantined (wrong_patient), as exclude.tsv says"
