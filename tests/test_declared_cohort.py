"""Volumes and variables as params.yaml declares them: their files, who lacks one, what a column holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cohorts import FILES, change_cell, change_voxels, one_voxel, read_table, write_participants
from preprocessed_subjects import MEASUREMENTS, save_measurements

from ricenet.cohort.checked import (
    CheckedCohort,
    CheckedSubject,
    having,
    read_checked_cohort,
    write_checked_cohort,
)
from ricenet.cohort.checks import HERE, CheckReport, admit, check_cohort, write_problems
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.raw_record import records_of
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.errors import CohortError, ParamsError, ResultError
from ricenet.runtime.store import Store
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec, VariableValue, Volumes, VolumeSpec

FLAIR = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR", required=False)
WITH_FLAIR = Volumes([*PAPER_VOLUMES, FLAIR])
MRI_ALONE = Volumes(PAPER_VOLUMES.mris)
LATER = Volumes(
    [
        VolumeSpec(name="t2", kind="mri", session="base", suffix="T2w", title="T2"),
        VolumeSpec(name="followup", kind="mri", session="late", suffix="T1w", title="T1"),
    ]
)


@pytest.fixture
def cohort(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def add_flair(cohort: Path, *subjects: str) -> None:
    for subject in subjects:
        raw = RawSubject(cohort, subject, WITH_FLAIR)
        shutil.copy(raw.scan("event"), raw.scan("flair"))
        change_voxels(raw.scan("flair"), one_voxel(99.0))


# --- volumes ---


def test_files_lie_where_session_kind_and_suffix_say() -> None:
    raw = RawSubject(Path("c"), "sub-1", WITH_FLAIR)
    postop, event = Path("c/sub-1/ses-postop"), Path("c/sub-1/ses-event")
    assert raw.scan("flair") == event / "anat/sub-1_ses-event_FLAIR.nii.gz"
    assert raw.scan("dose") == postop / "rt/sub-1_ses-postop_dose.nii.gz"
    assert raw.side_files == {
        "brain_mask": postop / "anat/sub-1_ses-postop_desc-brain_mask.nii.gz",
        "cavity_mask": postop / "anat/sub-1_ses-postop_label-cavity_mask.nii.gz",
        "lesion_mask": event / "anat/sub-1_ses-event_label-lesion_mask.nii.gz",
        "dose_sidecar": postop / "rt/sub-1_ses-postop_dose.json",
        "planning_ct": postop / "rt/sub-1_ses-postop_ct.nii.gz",
    }


def test_masks_follow_the_reference_of_the_first_and_the_last_session() -> None:
    raw = RawSubject(Path("c"), "sub-1", LATER)
    assert raw.brain_mask.parts[2] == raw.cavity_mask.parts[2] == "ses-base"
    assert raw.lesion_mask.parts[2] == "ses-late"
    assert "dose_sidecar" not in raw.side_files
    with pytest.raises(ValueError, match="no dose is declared"):
        raw.dose_sidecar  # noqa: B018


def test_without_a_declared_dose_neither_dose_nor_sidecar_is_asked_for(cohort: Path) -> None:
    shutil.rmtree(cohort / "sub-002/ses-postop/rt")
    checked = admit(check_cohort(cohort, MRI_ALONE), exclude_faulty=False)
    assert [*checked.subjects[1].scans] == ["post_op", "event"]


def test_who_lacks_an_optional_volume_is_noted_and_stays(cohort: Path, tmp_path: Path) -> None:
    add_flair(cohort, "sub-001", "sub-004")
    report = check_cohort(cohort, WITH_FLAIR)
    assert report.problems == ()
    write_problems(report, tmp_path / "problems.json")
    written = json.loads((tmp_path / "problems.json").read_text())
    assert written["problems"] == []
    assert [(note["subject"], note["file"]) for note in written["notes"]] == [
        ("sub-002", "sub-002/ses-event/anat/sub-002_ses-event_FLAIR.nii.gz"),
        ("sub-003", "sub-003/ses-event/anat/sub-003_ses-event_FLAIR.nii.gz"),
    ]
    checked = admit(report, exclude_faulty=False)
    assert len(checked.subjects) == 4 and checked.summary().endswith("; 2 without flair")
    assert having(checked, "event+flair") == ("sub-001", "sub-004")
    assert having(checked, "event") == ("sub-001", "sub-002", "sub-003", "sub-004")
    with pytest.raises(ValueError, match="adc is not declared"):
        having(checked, "event+adc")


def test_an_optional_volume_that_is_there_is_checked(cohort: Path) -> None:
    add_flair(cohort, "sub-001", "sub-002")
    change_voxels(RawSubject(cohort, "sub-002", WITH_FLAIR).scan("flair"), one_voxel(float("nan")))
    (problem,) = check_cohort(cohort, WITH_FLAIR).problems
    assert (problem.subject, problem.found) == ("sub-002", "1 NaN voxel(s)")


def test_a_session_that_no_file_has_is_one_problem_of_the_declaration(cohort: Path) -> None:
    report = check_cohort(cohort, LATER)
    assert [(problem.subject, problem.file) for problem in report.problems] == [
        (None, "ses-base"),
        (None, "ses-late"),
    ]
    assert "t2 (*_ses-base_T2w.nii.gz)" in report.problems[0].found
    with pytest.raises(CohortError, match="session or suffix under volumes"):
        admit(report, exclude_faulty=True)


def test_a_volume_may_not_have_the_name_of_a_side_file(cohort: Path) -> None:
    taken = FLAIR.model_copy(update={"name": "brain_mask"})
    problems = check_cohort(cohort, Volumes([*PAPER_VOLUMES, taken])).problems
    assert (None, "params.yaml") in {(problem.subject, problem.file) for problem in problems}


def test_the_declarations_travel_with_the_checked_cohort(cohort: Path, tmp_path: Path) -> None:
    add_flair(cohort, "sub-001")
    checked = admit(check_cohort(cohort, WITH_FLAIR, [AGE]), exclude_faulty=False)
    write_checked_cohort(checked, tmp_path / "cohort.json")
    read = read_checked_cohort(tmp_path / "cohort.json")
    assert (read.volumes, read.variables) == (WITH_FLAIR, (AGE,))
    assert read.raw("sub-001").scan("flair").is_file()


# --- variables ---

AGE = VariableSpec(name="age", kind="number", column="age_years")
DOSE = VariableSpec(name="dose_max_gy", kind="number", measured=True)
DAYS = VariableSpec(name="days_rt_end_to_event", kind="number")
BEAM = VariableSpec(name="rt_modality", kind="category", categories=("photon", "proton", "ion"))
MARKER = VariableSpec(name="marker", kind="category", categories=("low", "high"))
SCORE = VariableSpec(name="score", kind="number")


def with_columns(cohort: Path, **columns: str) -> Path:
    write_participants(cohort, [row | columns for row in read_table(cohort)])
    return cohort


def values(report: CheckReport, subject: str) -> dict[str, VariableValue]:
    checked = admit(report, exclude_faulty=False)
    return next(s.variables for s in checked.subjects if s.participant_id == subject)


def test_columns_become_the_declared_variables(cohort: Path) -> None:
    with_columns(cohort, age_years="61.5", rt_modality="proton", score="n/a", marker="low")
    report = check_cohort(cohort, variables=[AGE, BEAM, SCORE, MARKER, DOSE])
    assert values(report, "sub-003") == {
        **{"age": 61.5, "rt_modality": "proton", "score": None, "marker": "low"}
    }


def test_known_columns_that_the_table_lacks_are_empty(cohort: Path) -> None:
    report = check_cohort(cohort, variables=[AGE, BEAM, DAYS])
    assert values(report, "sub-001") == {"age": None, "rt_modality": None, "days_rt_end_to_event": None}


def test_two_dates_stand_for_the_column_of_days(cohort: Path) -> None:
    with_columns(cohort, rt_end_date="2020-01-31", event_date="2020-03-01")
    assert values(check_cohort(cohort, variables=[DAYS]), "sub-001") == {"days_rt_end_to_event": 30.0}


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("score", "Hans", "score is no number"),
        ("score", "1e999", "score is no number"),
        ("score", "nan", "score is no number"),
        ("marker", "Hans", "marker is none of low, high, n/a"),
        ("rt_modality", "Hans", "rt_modality is none of photon, proton, ion, n/a"),
    ],
)
def test_a_refused_value_is_named_by_column_and_never_repeated(
    cohort: Path, column: str, cell: str, words: str
) -> None:
    with_columns(cohort, score="1", marker="low", rt_modality="n/a")
    change_cell(cohort, "sub-002", **{column: cell})
    (problem,) = check_cohort(cohort, variables=[SCORE, MARKER, BEAM]).problems
    assert (problem.subject, problem.file) == ("sub-002", "participants.tsv")
    assert problem.found.startswith(words) and cell not in str(problem)


def test_a_declared_column_that_does_not_exist_is_a_problem_of_the_cohort(cohort: Path) -> None:
    (problem,) = check_cohort(cohort, variables=[SCORE]).problems
    assert problem.subject is None
    assert "column score is missing, from which params.yaml takes the variable score" in problem.found


# --- records, read once ---


def checked_with(cohort: Path, store: Store) -> CheckedCohort:
    return admit(check_cohort(cohort, store=store), exclude_faulty=False)


def test_what_was_read_is_not_read_again(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    checked = checked_with(cohort, store)
    decoded: list[str] = []
    from ricenet.cohort import raw_record

    examine = raw_record.examine
    monkeypatch.setattr(raw_record, "examine", lambda raw: decoded.append(raw.subject) or examine(raw))
    records = records_of(checked, HERE, store)
    assert checked_with(cohort, store) == checked and decoded == []
    assert [*records["sub-001"].voxels] == ["dose", "event", "post_op"]
    change_voxels(cohort / FILES["event"], one_voxel(1.25))
    checked_with(cohort, store)
    assert decoded == ["sub-002"]


def test_a_fault_is_found_again_and_what_has_become_faulty_is_refused(cohort: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    checked = checked_with(cohort, Store(tmp_path / "other"))
    (cohort / FILES["event"]).write_bytes(b"")
    for _ in range(2):
        assert [p.file for p in check_cohort(cohort, store=store).problems] == [FILES["event"]]
    with pytest.raises(CohortError, match=r"(?s)tiny: 1 problem.*sub-002.*cannot be read"):
        records_of(checked, HERE, store)


# --- measured variables ---


def checked_subject(name: str) -> CheckedCohort:
    subject = CheckedSubject(participant_id=name, label="rice", variables={"age": 61.0})
    return CheckedCohort.of("data", [subject], variables=[AGE, DOSE])


def test_measured_variables_join_those_of_the_table(tmp_path: Path) -> None:
    save_measurements(tmp_path / "sub-1")
    assert variables_of(checked_subject("sub-1"), tmp_path) == {"sub-1": {"age": 61.0, "dose_max_gy": 62.0}}
    save_measurements(tmp_path / "sub-1", MEASUREMENTS.model_copy(update={"dose": None}))
    assert variables_of(checked_subject("sub-1"), tmp_path)["sub-1"]["dose_max_gy"] is None


def test_what_nothing_measures_is_refused(tmp_path: Path) -> None:
    save_measurements(tmp_path / "sub-1")
    unknown = VariableSpec(name="brain_age", kind="number", measured=True)
    cohort = checked_subject("sub-1").model_copy(update={"variables": (unknown,)})
    with pytest.raises(ParamsError, match=r"brain_age is not among what preprocessing measures \(brain_ml,"):
        variables_of(cohort, tmp_path)
    with pytest.raises(ResultError, match="stage `preprocess`"):
        variables_of(checked_subject("sub-2"), tmp_path)
