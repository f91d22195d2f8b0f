"""Guards of folds: which subjects a fold saw, and on which its settings were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.splits import Splits
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.fold_guards import guards_of_training, subject_in_two_places
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import Label

SETS = ["dose", "event+dose"]
LABELS: dict[str, Label] = {f"sub-{i}": ("rice" if i % 2 else "recurrence") for i in range(1, 8)}
SPLITS = Splits(LABELS, (("sub-1", "sub-2"), ("sub-3", "sub-4"), ("sub-5", "sub-6")), ("sub-7",))


def cohort(without_event: str = "") -> CheckedCohort:
    scans = {"post_op": "a", "event": "b", "dose": "c"}
    lacking = {name: digest for name, digest in scans.items() if name != "event"}
    return CheckedCohort.of(
        "data",
        [
            CheckedSubject(participant_id=s, label=label, scans=lacking if s == without_event else scans)
            for s, label in LABELS.items()
        ],
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Every fold as the splits have it, nothing tuned."""
    for name in SETS:
        for fold in range(3):
            subjects = {
                "training": SPLITS.training_subjects(fold),
                "validation": SPLITS.validation_subjects(fold),
            }
            write_json(record(tmp_path, name, fold), {"fold": fold, "subjects": subjects})
    write_json(tmp_path / "tuning/best.json", {})
    return tmp_path


def record(project: Path, name: str, fold: int) -> Path:
    return project / "training" / name / f"fold-{fold}" / "fold.json"


def change(project: Path, fold: int, **subjects: list[str]) -> None:
    path = record(project, "event+dose", fold)
    content = read_json(path)
    write_json(path, content | {"subjects": content["subjects"] | subjects})


def guards(project: Path, used: CheckedCohort | None = None) -> Mapping[str, GuardResult]:
    found = guards_of_training(project / "training", SETS, SPLITS, used or cohort(), project / "tuning")
    return {result.name: result for result in found}


def test_folds_as_the_splits_have_them_pass(project: Path) -> None:
    found = guards(project)
    assert [*found] == ["trained_on_validation", "tuned_on_validation"]
    assert {result.outcome for result in found.values()} == {"passed"}


VALIDATED = ["sub-3", "sub-4"]
OTHERS = ["sub-1", "sub-2", "sub-5", "sub-6"]


@pytest.mark.parametrize(
    ("trained", "validated", "words", "subject"),
    [
        ([*OTHERS, "sub-3"], VALIDATED, "trained and validated on", "sub-3"),
        ([*OTHERS, "sub-3"], ["sub-4"], "trained on, though the splits hold out", "sub-3"),
        ([*OTHERS, "sub-7"], VALIDATED, "of the test set, but trained or validated on", "sub-7"),
        (OTHERS[:-1], VALIDATED, "not as the splits have it", "sub-6"),
    ],
)
def test_a_fold_that_saw_others_than_the_splits_say_is_found(
    project: Path, trained: list[str], validated: list[str], words: str, subject: str
) -> None:
    change(project, 1, training=trained, validation=validated)
    result = guards(project)["trained_on_validation"]
    assert (result.outcome, result.subjects) == ("failed", (subject,))
    assert f"event+dose, fold 1: 1 subject(s) {words}" in result.found
    assert "dvc repro -f train" in result.remedy


def test_a_subject_that_lacks_a_volume_belongs_in_no_fold_of_a_set_with_it(project: Path) -> None:
    lacking = cohort(without_event="sub-6")
    assert guards(project, lacking)["trained_on_validation"].subjects == ("sub-6",)
    for fold in (0, 1):
        change(project, fold, training=[s for s in SPLITS.training_subjects(fold) if s != "sub-6"])
    change(project, 2, validation=["sub-5"])
    assert guards(project, lacking)["trained_on_validation"].outcome == "passed"


def test_a_fold_that_recorded_nobody_is_a_warning_unless_another_leaks(project: Path) -> None:
    write_json(record(project, "dose", 0), {"fold": 0})
    result = guards(project)["trained_on_validation"]
    assert result.outcome == "warning"
    assert "1 of 6 folds were trained by a version that did not record its subjects" in result.found
    change(project, 2, validation=["sub-5", "sub-6", "sub-7"])
    assert guards(project)["trained_on_validation"].outcome == "failed"


@pytest.mark.parametrize(
    ("tuned", "outcome", "words"),
    [
        # event is not among the sets that are reported
        ({"dose": False, "event": False}, "warning", "settings of dose were searched on the folds that"),
        ({"dose": True}, "passed", "without the fold's validation subjects"),
        ({}, "passed", "no settings were searched"),
    ],
)
def test_settings_that_were_searched_on_the_judging_folds_are_a_warning(
    project: Path, tuned: dict[str, bool], outcome: str, words: str
) -> None:
    write_json(project / "tuning/best.json", {name: {"nested": nested} for name, nested in tuned.items()})
    result = guards(project)["tuned_on_validation"]
    assert result.outcome == outcome and words in result.found
    assert ("tuning.nested to true" in result.remedy) == (outcome == "warning")


@pytest.mark.parametrize(
    ("file", "stage"), [("training/dose/fold-2/fold.json", "train"), ("tuning/best.json", "tune")]
)
def test_a_missing_record_names_the_stage(project: Path, file: str, stage: str) -> None:
    (project / file).unlink()
    with pytest.raises(ResultError, match=f"stage `{stage}` makes it"):
        guards(project)


@pytest.mark.parametrize(
    ("folds", "test", "twice"),
    [
        ([["sub-001", "sub-002"], ["sub-002", "sub-003"]], [], ("sub-002",)),
        ([["sub-001"], ["sub-002"]], ["sub-001"], ("sub-001",)),
        ([["sub-001", "sub-001"], ["sub-002"]], ["sub-003", "sub-003"], ("sub-001", "sub-003")),
    ],
)
def test_a_subject_in_two_places_is_found(
    tmp_path: Path, folds: list[list[str]], test: list[str], twice: tuple[str, ...]
) -> None:
    write_json(tmp_path / "splits.json", {"folds": folds, "test": test, "labels": {}, "digest": ""})
    result = subject_in_two_places(tmp_path / "splits.json")
    assert (result.outcome, result.subjects) == ("failed", twice)
    assert "dvc repro -f split" in result.remedy
