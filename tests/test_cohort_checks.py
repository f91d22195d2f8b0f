"""The check of a raw cohort: what is refused, how it is reported, and what is admitted."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
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
    write_tiny_subject,
)

from ricenet.cohort.checked import read_checked_cohort, write_checked_cohort
from ricenet.cohort.checks import admit, check_cohort, write_problems
from ricenet.cohort.layout import RawSubject
from ricenet.runtime.errors import CohortError, ResultError


@pytest.fixture
def cohort(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def test_a_valid_cohort_has_no_problem(tiny: Path) -> None:
    report = check_cohort(tiny)
    assert report.problems == ()
    checked = admit(report, exclude_faulty=False)
    assert [(s.participant_id, s.label, s.subset) for s in checked.subjects] == [
        ("sub-001", "recurrence", "train"),
        ("sub-002", "rice", "train"),
        ("sub-003", "recurrence", "test"),
        ("sub-004", "rice", "test"),
    ]
    assert checked.summary() == (
        "4 subjects: 2 recurrence, 2 rice, 0 unlabelled; 2 train, 2 test, 0 in no subset; 0 excluded"
    )


# --- what is refused ---


def repeat_a_row(cohort: Path, **cells: str) -> None:
    rows = read_table(cohort)
    write_participants(cohort, [*rows, rows[0] | cells])


def event_before_radiotherapy(cohort: Path) -> None:
    dates = {"rt_end_date": "2020-01-31", "event_date": "2020-02-01"}
    write_participants(cohort, [row | dates for row in read_table(cohort)])
    change_cell(cohort, "sub-003", event_date="2020-01-01")


def reference_standard(**cells: str) -> Callable[[Path], object]:
    """The columns of the reference standard for everyone, with these cells of sub-003."""
    sound = {
        "reference_reader": "A",
        "reference_days_after_event": "90",
        "label_certainty": "definite",
        "label_second_reader": "rice",
    }

    def write(cohort: Path) -> None:
        write_participants(cohort, [row | sound for row in read_table(cohort)])
        change_cell(cohort, "sub-003", **cells)

    return write


def described_as(content: bytes) -> Callable[[Path], object]:
    return lambda cohort: (cohort / "dataset_description.json").write_bytes(content)


def table_of(text: str) -> Callable[[Path], object]:
    return lambda cohort: (cohort / "participants.tsv").write_text(text)


TABLE, DESCRIPTION = "participants.tsv", "dataset_description.json"

FAULTS_OF_SUBJECTS: list[tuple[Callable[[Path], object], str, str, str]] = [
    (lambda c: change_cell(c, "sub-003", label="x"), "sub-003", TABLE, "label is none of"),
    (lambda c: change_cell(c, "sub-003", subset="both"), "sub-003", TABLE, "subset is none of"),
    (reference_standard(reference_reader="Mueller"), "sub-003", TABLE, "is no reader's code: a capital"),
    (reference_standard(reference_days_after_event="soon"), "sub-003", TABLE, "no whole number of days"),
    (reference_standard(label_certainty="sure"), "sub-003", TABLE, "is none of definite, probable, poss"),
    (reference_standard(label_second_reader="yes"), "sub-003", TABLE, "second_reader is none of recurr"),
    (event_before_radiotherapy, "sub-003", TABLE, r"30 day\(s\) before"),
    (repeat_a_row, "sub-001", TABLE, "lines 2, 6"),
    (lambda c: shutil.rmtree(c / "sub-001"), "sub-001", "sub-001", "without a folder"),
    (lambda c: write_tiny_subject(c, "sub-099"), "sub-099", TABLE, "but no row"),
]


@pytest.mark.parametrize(("spoil", "subject", "file", "words"), FAULTS_OF_SUBJECTS)
def test_a_fault_of_a_subject_is_named_with_its_file(
    cohort: Path, spoil: Callable[[Path], object], subject: str, file: str, words: str
) -> None:
    spoil(cohort)
    text = refusal(cohort)
    assert re.search(rf"^tiny: 1 problem\(s\)\n{subject}\n  - {re.escape(file)}: .*{words}", text)
    assert "2020" not in text
    assert subject not in {
        s.participant_id for s in admit(check_cohort(cohort), exclude_faulty=True).subjects
    }


def test_a_pseudonym_that_lost_its_zeros_is_named_beside_its_folder(cohort: Path) -> None:
    change_cell(cohort, "sub-003", participant_id="sub-3")
    text = refusal(cohort)
    assert "sub-3: in the table, but without a folder (sub-003 is alike)" in text
    assert "participants.tsv: has a folder, but no row (sub-3 is alike)" in text


FAULTS_OF_THE_WHOLE: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda c: (c / TABLE).unlink(), TABLE, "not found"),
    (table_of("participant_id\tlabel\tsubset\n"), TABLE, "column label_source is missing"),
    (table_of("participant_id\tlabel\tlabel_source\tsubset\n"), TABLE, "no row under"),
    (lambda c: repeat_a_row(c, participant_id="Jane Doe"), TABLE, "line 6: participant_id"),
    (lambda c: write_tiny_subject(c, "sub-Hans_Mueller_1951"), "sub-*", "1 folder whose name is"),
    (lambda c: [write_tiny_subject(c, f"sub-Jane {n}") for n in "AB"], "sub-*", "2 folders whose names"),
    (described_as(b"{'Name': 1}"), DESCRIPTION, r"not well-formed JSON \(line 1\)"),
    (described_as(b'{"Name": "a",\n"Name": "b"}'), DESCRIPTION, r"key twice .* \(lines 1, 2\)"),
    (lambda c: (c / DESCRIPTION).symlink_to("nowhere"), DESCRIPTION, "link that leads nowhere"),
    (described_as(b"[]"), DESCRIPTION, "not a JSON object"),
    (described_as(b"\xff"), DESCRIPTION, "not text in UTF-8"),
    (lambda c: (c / "IMPORTING").touch(), "IMPORTING", "import unfinished"),
    (shutil.rmtree, ".", "folder is missing"),
]


@pytest.mark.parametrize("exclude_faulty", [False, True])
@pytest.mark.parametrize(("spoil", "file", "words"), FAULTS_OF_THE_WHOLE)
def test_a_fault_of_the_whole_is_never_excluded_away(
    cohort: Path, spoil: Callable[[Path], object], file: str, words: str, exclude_faulty: bool
) -> None:
    spoil(cohort)
    expected = rf"^tiny: 1 problem\(s\)\nthe cohort as a whole\n  - {re.escape(file)}: .*{words}"
    with pytest.raises(CohortError, match=expected) as refused:
        admit(check_cohort(cohort), exclude_faulty)
    assert not re.search("Hans|Mueller|1951|Jane", str(refused.value))


def test_a_sound_reference_standard_is_accepted(cohort: Path) -> None:
    reference_standard(label_certainty="n/a")(cohort)
    assert check_cohort(cohort).problems == ()


def test_a_sound_description_is_accepted(cohort: Path) -> None:
    described_as(b'{"Name": "tiny"}')(cohort)
    assert check_cohort(cohort).problems == ()


def test_no_text_of_a_table_or_sidecar_reaches_what_is_logged_or_written(
    cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_cell(cohort, "sub-001", label="Hans Mueller")
    write_participants(cohort, [row | {"event_date": "n/a", "sex": "n/a"} for row in read_table(cohort)])
    change_cell(cohort, "sub-002", event_date="03.02.1951", site="")
    (cohort / SIDECAR_FILE).write_text('{"DoseUnits": "Mueller", "DoseSummationType": ["Hans"]}')
    report = check_cohort(cohort)
    write_problems(report, tmp_path / "problems.json")
    with caplog.at_level(logging.INFO, logger="ricenet"):
        checked = admit(report, exclude_faulty=True)
    write_checked_cohort(checked, tmp_path / "cohort.json")
    assert len(report.problems) == 5
    shown = report.text() + caplog.text + "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert not re.search(r"Hans|Mueller|1951", shown)


# --- the report and the decision ---


def spoil_in_several_places(cohort: Path) -> None:
    change_cell(cohort, "sub-001", label="?")
    (cohort / SIDECAR_FILE).write_text("{")
    change_voxels(cohort / FILES["dose"], one_voxel(-1))
    change_cell(cohort, "sub-004", subset="?")
    shutil.rmtree(cohort / "sub-004")


def test_all_problems_appear_together_grouped_by_subject_and_for_machines(
    cohort: Path, tmp_path: Path
) -> None:
    spoil_in_several_places(cohort)
    report = check_cohort(cohort)
    expected = {
        ("sub-001", TABLE),
        ("sub-002", SIDECAR_FILE),
        ("sub-002", FILES["dose"]),
        ("sub-004", TABLE),
        ("sub-004", "sub-004"),
    }
    assert {(problem.subject, problem.file) for problem in report.problems} == expected
    text = refusal(cohort)
    assert all(str(problem) in text for problem in report.problems)
    headings = [line for line in text.splitlines() if not line.startswith("  - ")]
    assert headings == ["tiny: 5 problem(s)", "sub-001", "sub-002", "sub-004"]
    write_problems(report, tmp_path / "problems.json")
    written = json.loads((tmp_path / "problems.json").read_text())["problems"]
    assert {(problem["subject"], problem["file"]) for problem in written} == expected


def test_faulty_subjects_are_excluded_on_demand_and_listed_with_the_reason(
    cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_in_several_places(cohort)
    with caplog.at_level(logging.WARNING, logger="ricenet"):
        checked = admit(check_cohort(cohort), exclude_faulty=True)
    assert [s.participant_id for s in checked.subjects] == ["sub-003"]
    excluded = {subject.participant_id: subject.problems for subject in checked.excluded}
    assert excluded["sub-001"] == ("participants.tsv: label is none of recurrence, rice, n/a (line 2)",)
    assert {name: len(problems) for name, problems in excluded.items()} == {
        **{"sub-001": 1, "sub-002": 2, "sub-004": 2}
    }
    logged = [record.getMessage().split(":")[0] for record in caplog.records]
    assert logged == [f"{subject} is excluded" for subject in excluded]


def test_excluding_everybody_is_an_error(cohort: Path) -> None:
    for row in read_table(cohort):
        change_cell(cohort, row["participant_id"], label="?")
    with pytest.raises(CohortError, match="no subject is left"):
        admit(check_cohort(cohort), exclude_faulty=True)


# --- the digest and the file ---


def digest(cohort: Path) -> str:
    return admit(check_cohort(cohort), exclude_faulty=True).digest


def test_the_digest_changes_with_a_voxel_a_sidecar_a_label_or_the_planning_ct(cohort: Path) -> None:
    digests = [digest(cohort)]
    change_voxels(cohort / FILES["event"], one_voxel(1.25))
    digests.append(digest(cohort))
    sidecar = cohort / SIDECAR_FILE
    sidecar.write_text(sidecar.read_text().replace("30", "31"))
    digests.append(digest(cohort))
    change_cell(cohort, "sub-002", label="recurrence")
    digests.append(digest(cohort))
    ct = RawSubject(cohort, "sub-002").planning_ct
    shutil.copy(cohort / FILES["post_op"], ct)
    digests.append(digest(cohort))
    assert len(set(digests)) == 5
    ct.unlink()
    assert digest(cohort) == digests[3]


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


@pytest.mark.parametrize(("content", "words"), [(None, "missing"), ("{}", "not of this version")])
def test_a_missing_or_foreign_checked_cohort_is_refused(
    tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "cohort.json").write_text(content)
    with pytest.raises(ResultError, match=rf"cohort\.json is {words}\..*check_cohort"):
        read_checked_cohort(tmp_path / "cohort.json")


def test_a_planning_ct_without_a_head_or_unreadable_is_refused(cohort: Path) -> None:
    ct = RawSubject(cohort, "sub-002").planning_ct
    shutil.copy(cohort / FILES["post_op"], ct)
    change_voxels(ct, lambda voxels: np.full_like(voxels, -1000.0))
    assert "sub-002_ses-postop_ct.nii.gz: every voxel is -1000" in refusal(cohort)
    ct.write_bytes(b"")
    assert "sub-002_ses-postop_ct.nii.gz: cannot be read" in refusal(cohort)
