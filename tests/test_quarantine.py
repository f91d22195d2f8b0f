"""The quarantine list: who is on it is excluded with a reason, and nothing else about them matters."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from cohorts import FILES, change_cell, change_voxels, one_voxel, refusal

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.quarantine import REASONS
from ricenet.cohort.summary import summarise_cohort, summary_table
from ricenet.runtime.errors import CohortError

SECRET = "Erika Mustermann"
HEADER = "participant_id\treason\tcomment"


@pytest.fixture
def cohort(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "mine"))


def exclude(cohort: Path, *rows: str) -> Path:
    (cohort / "exclude.tsv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return cohort


def admitted(cohort: Path) -> CheckedCohort:
    return admit(check_cohort(cohort), exclude_faulty=False)


def names(cohort: CheckedCohort) -> list[str]:
    return [subject.participant_id for subject in cohort.subjects]


OTHERS = ["sub-001", "sub-003", "sub-004"]


@pytest.mark.parametrize("reason", REASONS)
def test_a_listed_subject_is_excluded_with_the_reason(cohort: Path, reason: str) -> None:
    checked = admitted(exclude(cohort, f"sub-002\t{reason}\tsee page 3"))
    assert names(checked) == OTHERS
    (excluded,) = checked.excluded
    assert excluded.participant_id == "sub-002"
    assert excluded.problems == (f"quarantined ({reason}), as exclude.tsv says",)


def test_the_digest_is_that_of_the_subjects_who_stay(cohort: Path) -> None:
    before = admitted(cohort)
    assert admitted(exclude(cohort)) == before and before.excluded == ()
    assert admitted(exclude(cohort, "sub-003\tdose")).digest != before.digest
    (cohort / "exclude.tsv").unlink()
    assert admitted(cohort).digest == before.digest


def test_a_quarantined_subjects_files_row_and_folder_need_not_be_faultless(cohort: Path) -> None:
    change_voxels(cohort / FILES["event"], one_voxel(float("nan")))
    change_cell(cohort, "sub-002", label="necrosis")
    assert "sub-002" in refusal(cohort)
    assert names(admitted(exclude(cohort, "sub-002\timage_quality"))) == OTHERS
    for path in sorted((cohort / "sub-002").rglob("*.*")):
        path.unlink()
    assert names(admitted(cohort)) == OTHERS


def test_a_fault_of_another_subject_still_stops_the_pipeline(cohort: Path) -> None:
    change_voxels(cohort / FILES["event"], one_voxel(float("nan")))
    text = refusal(exclude(cohort, "sub-003\tdose"))
    assert "sub-002" in text and "sub-003" not in text
    checked = admit(check_cohort(cohort), exclude_faulty=True)
    assert [s.participant_id for s in checked.excluded] == ["sub-002", "sub-003"]
    assert "NaN" in checked.excluded[0].problems[0] and "quarantined" in checked.excluded[1].problems[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{HEADER}\nsub-009\tdose", r"sub-009 is no subject of this cohort \(line 2\)"),
        (f"{HEADER}\nsub-2\tdose", r"sub-2 is no subject of this cohort \(sub-002 is alike\) \(line 2\)"),
        (f"{HEADER}\nsub-002\tdose\n\nsub-002\tdose", r"duplicate subject sub-002 \(line 4\)"),
        (f"{HEADER}\nsub-002\tunclear", "reason of sub-002 is none of registration, brain_mask, dose,"),
        (f"{HEADER}\nsub-002\tDose", "reason of sub-002 is none of"),
        (f"{HEADER}\nsub-002", r"reason of sub-002 is none of .* \(line 2\)"),
        (f"{HEADER}\n{SECRET}\tdose", r"participant_id is not sub- followed by .* \(line 2\)"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("participant_id\nsub-002\n", "column reason is missing or occurs twice"),
        ("sub-002\tdose\n", "column participant_id, reason is missing or occurs twice"),
        ("participant_id\treason\treason\nsub-002\tdose\tdose\n", "column reason is missing or occurs"),
        (b"participant_id\treason\nsub-002\t\xff\n", "is not text in UTF-8"),
        (None, "is a link that leads nowhere"),
        (Path(), "is a folder"),
    ],
)
def test_a_faulty_list_is_a_problem_of_the_cohort(
    cohort: Path, content: str | bytes | Path | None, words: str
) -> None:
    path = cohort / "exclude.tsv"
    if isinstance(content, Path):
        path.mkdir()
    elif content is None:
        # a link whose content is missing would bring the excluded subjects back
        path.symlink_to("nowhere")
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    expected = rf"the cohort as a whole\n  - exclude\.tsv: .*{words}"
    with pytest.raises(CohortError, match=expected) as refused:
        # excluding faulty subjects does not correct a list that cannot be understood
        admit(check_cohort(cohort), exclude_faulty=True)
    assert SECRET not in str(refused.value)


def test_a_table_saved_by_a_spreadsheet_is_read(cohort: Path) -> None:
    (cohort / "exclude.tsv").write_bytes("\ufeffparticipant_id\treason\r\nsub-002\tother\r\n".encode())
    assert names(admitted(cohort)) == OTHERS


def test_blanks_around_names_of_columns_and_identifiers_are_read_past_and_noted(cohort: Path) -> None:
    (cohort / "exclude.tsv").write_text("participant_id \treason\n sub-002\tother \n")
    report = check_cohort(cohort)
    assert report.quarantined == {"sub-002": "other"}
    (note,) = report.notes
    assert (note.file, note.subject) == ("exclude.tsv", None) and "blanks around 3" in note.found


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
    text = refusal(exclude(cohort, "sub-009\tdose"))
    assert "column participant_id is missing" in text and "sub-009" not in text


def test_the_summary_says_how_many_are_quarantined_and_counts_them(cohort: Path) -> None:
    assert "quarantined" not in summary_table(summarise_cohort(cohort))
    summary = summarise_cohort(exclude(cohort, "sub-002\tdose", f"sub-003\tother\t{SECRET}"))
    assert summary.quarantined == 2 and summary.groups["all"].subjects == 4
    table = summary_table(summary)
    assert "2 of them are quarantined: exclude.tsv excludes them." in table and SECRET not in table
