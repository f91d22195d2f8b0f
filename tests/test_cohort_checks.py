from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cohorts import (
    FILES,
    SIDECAR_FILE,
    change_cell,
    change_voxels,
    one_voxel,
    read_table,
    refusal,
    write_participants,
    write_tiny_cohort,
    write_tiny_subject,
)

from ricenet.cohort.checked import read_checked_cohort, write_checked_cohort
from ricenet.cohort.checks import admit, check_cohort, write_problems
from ricenet.cohort.layout import RawSubject
from ricenet.runtime.errors import CohortError, ResultError


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_tiny_cohort(tmp_path / "tiny")


def test_a_valid_cohort_has_no_problem(cohort: Path) -> None:
    report = check_cohort(cohort)
    assert report.problems == ()
    checked = admit(report, exclude_faulty=False)
    assert [s.participant_id for s in checked.subjects] == ["sub-001", "sub-002", "sub-003", "sub-004"]
    assert [(s.label, s.subset) for s in checked.subjects] == [
        ("recurrence", "train"),
        ("rice", "train"),
        ("recurrence", "test"),
        ("rice", "test"),
    ]
    assert checked.summary() == (
        "4 subjects: 2 recurrence, 2 rice, 0 unlabelled; 2 train, 2 test, 0 in no subset; 0 excluded"
    )


# --- table and folders ---


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"label": "progression"}, "label is none of recurrence, rice, n/a (line 4). Write one of them"),
        ({"subset": "both"}, "subset is none of train, test, n/a (line 4). Write one of them"),
    ],
)
def test_a_refused_cell_is_named_by_subject(cohort: Path, cells: dict[str, str], message: str) -> None:
    change_cell(cohort, "sub-003", **cells)
    assert f"sub-003\n  - participants.tsv: {message}" in refusal(cohort)


def test_an_event_before_the_end_of_radiotherapy_is_refused(cohort: Path) -> None:
    dates = {"rt_end_date": "2020-01-31", "event_date": "2020-02-01"}
    write_participants(cohort, [row | dates for row in read_table(cohort)])
    change_cell(cohort, "sub-003", event_date="2020-01-01")
    text = refusal(cohort)
    assert "sub-003\n  - participants.tsv: event_date lies 30 day(s) before rt_end_date" in text
    assert "2020" not in text


def test_a_subject_listed_twice_is_refused(cohort: Path) -> None:
    rows = read_table(cohort)
    write_participants(cohort, [*rows, rows[0]])
    assert "sub-001\n  - participants.tsv: duplicate subject: listed on lines 2, 6" in refusal(cohort)


def test_a_subject_without_a_folder_and_a_folder_without_a_row_are_refused(cohort: Path) -> None:
    shutil.rmtree(cohort / "sub-001")
    write_tiny_subject(cohort, "sub-099")
    text = refusal(cohort)
    assert "sub-001\n  - sub-001: in the table, but without a folder" in text
    assert "sub-099\n  - participants.tsv: has a folder, but no row" in text
    assert text.startswith("tiny: 2 problem(s)\n")


@pytest.mark.parametrize("exclude_faulty", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "participants.tsv: not found"),
        ("participant_id\tlabel\tsubset\n", "participants.tsv: column label_source is missing"),
        ("participant_id\tlabel\tlabel_source\tsubset\n", "participants.tsv: no row under the header"),
    ],
)
def test_a_broken_table_is_never_excluded_away(
    cohort: Path, text: str | None, message: str, exclude_faulty: bool
) -> None:
    table = cohort / "participants.tsv"
    table.unlink()
    if text is not None:
        table.write_text(text)
    # one problem: nobody can say that a folder lacks its row
    with pytest.raises(CohortError, match=rf"tiny: 1 problem\(s\)\nthe cohort as a whole\n  - {message}"):
        admit(check_cohort(cohort), exclude_faulty)


def test_a_row_that_names_no_subject_is_never_excluded_away(cohort: Path) -> None:
    rows = read_table(cohort)
    write_participants(cohort, [*rows, rows[0] | {"participant_id": "Jane Doe"}])
    with pytest.raises(
        CohortError, match=r"the cohort as a whole\n  - participants\.tsv: line 6: participant_id"
    ):
        admit(check_cohort(cohort), exclude_faulty=True)


@pytest.mark.parametrize("exclude_faulty", [False, True])
def test_folders_that_may_be_called_after_patients_are_counted_and_not_named(
    cohort: Path, exclude_faulty: bool
) -> None:
    message = r"the cohort as a whole\n  - sub-\*: {} not sub-<letters and digits>\. Rename to a pseudonym"
    write_tiny_subject(cohort, "sub-Hans_Mueller_1951")
    with pytest.raises(CohortError, match=message.format("1 folder whose name is")):
        admit(check_cohort(cohort), exclude_faulty)
    write_tiny_subject(cohort, "sub-Jane Doe")
    with pytest.raises(CohortError, match=message.format("2 folders whose names are")) as refused:
        admit(check_cohort(cohort), exclude_faulty)
    assert not {"Mueller", "1951", "Jane"} & set(re.findall(r"[A-Za-z]+|\d+", str(refused.value)))
    assert str(refused.value).startswith("tiny: 1 problem(s)\n")


def test_no_text_of_a_table_or_sidecar_reaches_what_is_logged_or_written(
    cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_cell(cohort, "sub-001", label="Hans Mueller")
    rows = [row | {"event_date": "n/a", "sex": "n/a"} for row in read_table(cohort)]
    write_participants(cohort, rows)
    change_cell(cohort, "sub-002", event_date="03.02.1951", site="")
    (cohort / SIDECAR_FILE).write_text('{"DoseUnits": "Mueller", "DoseSummationType": ["Hans"]}')
    report = check_cohort(cohort)
    write_problems(report, tmp_path / "problems.json")
    with caplog.at_level(logging.INFO, logger="ricenet"):
        checked = admit(report, exclude_faulty=True)
    write_checked_cohort(checked, tmp_path / "cohort.json")
    assert len(report.problems) == 5
    told = report.text() + caplog.text + "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert not re.search(r"Hans|Mueller|1951", told)


# --- the description ---


@pytest.mark.parametrize("exclude_faulty", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'Name': 1}", r"is not readable JSON \(JSONDecodeError\)\. Write one JSON object"),
        ("", r"is not readable JSON \(JSONDecodeError\)"),
        ("[]", r"is not a JSON object\. Write one JSON object in UTF-8, or leave the file out"),
        ("null", r"is not a JSON object"),
        (b"\xff", r"is not readable JSON \(UnicodeDecodeError\)"),
    ],
)
def test_a_malformed_description_is_a_problem_of_the_cohort(
    cohort: Path, text: str | bytes, message: str, exclude_faulty: bool
) -> None:
    (cohort / "dataset_description.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        CohortError, match=rf"the cohort as a whole\n  - dataset_description\.json: {message}"
    ):
        admit(check_cohort(cohort), exclude_faulty)


def test_a_sound_description_is_accepted(cohort: Path) -> None:
    (cohort / "dataset_description.json").write_text('{"Name": "tiny"}')
    assert check_cohort(cohort).problems == ()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "the cohort's folder is missing" in refusal(tmp_path / "absent")


# --- the report and the decision ---


def spoil_in_several_places(cohort: Path) -> None:
    change_cell(cohort, "sub-001", label="?")
    (cohort / SIDECAR_FILE).write_text("{")
    change_voxels(cohort / FILES["dose"], one_voxel(-1))
    change_cell(cohort, "sub-004", subset="?")
    shutil.rmtree(cohort / "sub-004")


def test_all_problems_of_all_subjects_appear_together(cohort: Path) -> None:
    spoil_in_several_places(cohort)
    assert refusal(cohort).splitlines()[0] == "tiny: 5 problem(s)"
    report = check_cohort(cohort)
    assert [(p.subject, p.file) for p in report.problems] == [
        ("sub-001", "participants.tsv"),
        ("sub-004", "participants.tsv"),
        ("sub-004", "sub-004"),
        ("sub-002", SIDECAR_FILE),
        ("sub-002", FILES["dose"]),
    ]
    assert all(str(problem) in refusal(cohort) for problem in report.problems)


def test_the_report_groups_problems_by_subject(cohort: Path) -> None:
    spoil_in_several_places(cohort)
    headings = [line for line in refusal(cohort).splitlines()[1:] if not line.startswith("  - ")]
    assert headings == ["sub-001", "sub-002", "sub-004"]


def test_faulty_subjects_are_left_out_on_demand_and_listed_with_the_reason(
    cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_in_several_places(cohort)
    with caplog.at_level(logging.WARNING, logger="ricenet"):
        checked = admit(check_cohort(cohort), exclude_faulty=True)
    assert [s.participant_id for s in checked.subjects] == ["sub-003"]
    assert {s.participant_id: s.problems for s in checked.excluded} == {
        "sub-001": ("participants.tsv: label is none of recurrence, rice, n/a (line 2)",),
        "sub-002": (
            f"{SIDECAR_FILE}: is not readable JSON (JSONDecodeError)",
            f"{FILES['dose']}: 1 voxel(s) of negative dose, down to -1 Gy",
        ),
        "sub-004": (
            "participants.tsv: subset is none of train, test, n/a (line 5)",
            "sub-004: in the table, but without a folder",
        ),
    }
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "sub-001 is excluded",
        "sub-002 is excluded",
        "sub-004 is excluded",
    ]


def test_excluding_everybody_is_an_error(cohort: Path) -> None:
    for row in read_table(cohort):
        change_cell(cohort, row["participant_id"], label="?")
    with pytest.raises(CohortError, match="no subject is left"):
        admit(check_cohort(cohort), exclude_faulty=True)


def test_problems_are_written_for_machines_too(cohort: Path, tmp_path: Path) -> None:
    (cohort / SIDECAR_FILE).unlink()
    write_problems(check_cohort(cohort), tmp_path / "problems.json")
    (problem,) = json.loads((tmp_path / "problems.json").read_text())["problems"]
    assert (problem["subject"], problem["file"], problem["found"]) == (
        "sub-002",
        SIDECAR_FILE,
        "file is missing",
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"garbage", "cannot be read"), (b"", "cannot be read")],
)
def test_a_copy_of_the_planning_ct_that_cannot_be_read_is_refused(
    cohort: Path, content: bytes, found: str
) -> None:
    RawSubject(cohort, "sub-002").planning_ct.write_bytes(content)
    assert f"sub-002\n  - sub-002/ses-postop/rt/sub-002_ses-postop_ct.nii.gz: {found}" in refusal(cohort)


def test_a_copy_of_the_planning_ct_without_a_voxel_of_a_head_is_refused(cohort: Path) -> None:
    ct = RawSubject(cohort, "sub-002").planning_ct
    shutil.copy(cohort / FILES["post_op"], ct)
    change_voxels(ct, lambda voxels: np.full_like(voxels, -1000.0))
    assert "sub-002_ses-postop_ct.nii.gz: every voxel is -1000" in refusal(cohort)


def test_a_cohort_whose_import_was_killed_is_refused_as_a_whole(cohort: Path) -> None:
    (cohort / "IMPORTING").touch()
    assert (
        "the cohort as a whole\n  - IMPORTING: import unfinished: it was killed, or is still under way. "
        "Give the same ricenet import command again"
    ) in refusal(cohort)


# --- the digest and the file ---


def digest(cohort: Path) -> str:
    return admit(check_cohort(cohort), exclude_faulty=True).digest


def test_the_digest_changes_when_a_voxel_a_sidecar_or_a_label_changes(cohort: Path) -> None:
    digests = [digest(cohort)]
    change_voxels(cohort / FILES["event"], one_voxel(1.25))
    digests.append(digest(cohort))
    sidecar = cohort / SIDECAR_FILE
    sidecar.write_text(sidecar.read_text().replace("30", "31"))
    digests.append(digest(cohort))
    change_cell(cohort, "sub-002", label="recurrence")
    digests.append(digest(cohort))
    assert len(set(digests)) == 4


def test_the_digest_changes_with_the_copy_of_the_planning_ct_alone_where_there_is_one(cohort: Path) -> None:
    without = digest(cohort)
    ct = RawSubject(cohort, "sub-002").planning_ct
    shutil.copy(cohort / FILES["post_op"], ct)
    first = digest(cohort)
    change_voxels(ct, one_voxel(900.0))
    assert len({without, first, digest(cohort)}) == 3
    ct.unlink()
    assert digest(cohort) == without
    subject = admit(check_cohort(cohort), exclude_faulty=False).subjects[0]
    assert set(subject.scans) == {"post_op", "event", "dose", "dose_sidecar"}


def test_the_digest_depends_neither_on_the_place_nor_on_the_order_of_rows(
    cohort: Path, tmp_path: Path
) -> None:
    before = digest(cohort)
    moved = cohort.rename(tmp_path / "elsewhere")
    write_participants(moved, read_table(moved)[::-1])
    assert digest(moved) == before


def test_the_digest_of_those_used_is_that_of_a_cohort_without_the_excluded(cohort: Path) -> None:
    (cohort / SIDECAR_FILE).unlink()
    excluding = digest(cohort)
    shutil.rmtree(cohort / "sub-002")
    write_participants(cohort, [row for row in read_table(cohort) if row["participant_id"] != "sub-002"])
    assert digest(cohort) == excluding


def test_a_checked_cohort_is_read_as_it_was_written(cohort: Path, tmp_path: Path) -> None:
    (cohort / SIDECAR_FILE).unlink()
    checked = admit(check_cohort(cohort), exclude_faulty=True)
    write_checked_cohort(checked, tmp_path / "cohort.json")
    assert read_checked_cohort(tmp_path / "cohort.json") == checked


def test_a_missing_or_foreign_checked_cohort_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cohort.json"
    with pytest.raises(ResultError, match=r"cohort\.json is missing\. The stage `check_cohort`"):
        read_checked_cohort(path)
    path.write_text("{}")
    with pytest.raises(ResultError, match=r"cohort\.json is not of this version\. .*-f check_cohort"):
        read_checked_cohort(path)
