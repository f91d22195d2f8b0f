"""Guards of training: whom folds saw, on whom settings were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.splits import Splits
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.fold_guards import guards_of_training
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import Label

SETS = ["dose", "event+dose"]
LABELS: dict[str, Label] = {f"sub-{i}": ("rice" if i % 2 else "recurrence") for i in range(1, 8)}
SPLITS = Splits(LABELS, (("sub-1", "sub-2"), ("sub-3", "sub-4"), ("sub-5", "sub-6")), ("sub-7",))

ALL = {"post_op": "a", "event": "b", "dose": "c"}
COHORT = CheckedCohort.of(
    "data", [CheckedSubject(participant_id=s, label=label, scans=ALL) for s, label in LABELS.items()]
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


def guards(project: Path) -> Mapping[str, GuardResult]:
    found = guards_of_training(project / "training", SETS, SPLITS, COHORT, project / "tuning")
    return {result.name: result for result in found}


def test_folds_as_the_splits_have_them_pass(project: Path) -> None:
    found = guards(project)
    assert [*found] == ["trained_on_validation", "tuned_on_validation"]
    assert {result.outcome for result in found.values()} == {"passed"}


@pytest.mark.parametrize(
    ("trained", "validated", "told", "whom"),
    [
        (
            ["sub-1", "sub-2", "sub-3", "sub-5", "sub-6"],
            ["sub-3", "sub-4"],
            "1 subject(s) trained and validated on",
            ("sub-3",),
        ),
        (
            ["sub-1", "sub-2", "sub-3", "sub-5", "sub-6"],
            ["sub-4"],
            "1 subject(s) trained on, though the splits hold out",
            ("sub-3",),
        ),
        (
            ["sub-1", "sub-2", "sub-5", "sub-6", "sub-7"],
            ["sub-3", "sub-4"],
            "1 subject(s) of the test set, but trained or validated on",
            ("sub-7",),
        ),
        (
            ["sub-1", "sub-2", "sub-5"],
            ["sub-3", "sub-4"],
            "1 subject(s) not as the splits have it",
            ("sub-6",),
        ),
    ],
)
def test_a_fold_that_saw_others_than_the_splits_say_is_found(
    project: Path, trained: list[str], validated: list[str], told: str, whom: tuple[str, ...]
) -> None:
    change(project, 1, training=trained, validation=validated)
    result = guards(project)["trained_on_validation"]
    assert (result.outcome, result.subjects) == ("failed", whom)
    assert f"event+dose, fold 1: {told}" in result.found
    assert "dvc repro -f train" in result.remedy


def test_a_fold_that_recorded_nobody_is_a_warning(project: Path) -> None:
    write_json(record(project, "dose", 0), {"fold": 0})
    result = guards(project)["trained_on_validation"]
    assert result.outcome == "warning"
    assert "1 of 6 folds were trained by a version that did not record its subjects" in result.found


def test_a_leak_counts_more_than_a_silent_fold(project: Path) -> None:
    write_json(record(project, "dose", 0), {"fold": 0})
    change(project, 2, validation=["sub-5", "sub-6", "sub-7"])
    assert guards(project)["trained_on_validation"].outcome == "failed"


def test_a_missing_record_names_the_stage(project: Path) -> None:
    record(project, "dose", 2).unlink()
    with pytest.raises(ResultError, match="stage `train` makes it"):
        guards(project)


def test_settings_that_were_searched_on_the_judging_folds_are_a_warning(project: Path) -> None:
    tuned = {"dose": {"nested": False, "folds": []}, "event": {"nested": False, "folds": []}}
    write_json(project / "tuning/best.json", tuned)
    result = guards(project)["tuned_on_validation"]
    assert result.outcome == "warning"
    # event is not among the sets that are reported
    assert result.found.startswith("settings of dose were searched on the folds that judge them")
    assert "tuning.nested to true" in result.remedy


def test_nested_searches_pass(project: Path) -> None:
    write_json(project / "tuning/best.json", {"dose": {"nested": True, "folds": []}})
    result = guards(project)["tuned_on_validation"]
    assert (result.outcome, result.remedy) == ("passed", "")
    assert "without the fold's validation subjects" in result.found


def test_a_missing_record_of_tuning_names_the_stage(project: Path) -> None:
    (project / "tuning/best.json").unlink()
    with pytest.raises(ResultError, match="stage `tune` makes it"):
        guards(project)
