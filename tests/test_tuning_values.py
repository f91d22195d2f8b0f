"""best.json: what tuning found joins the settings of the folds it was found for, and of no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_folds import AUGMENTATION, TRAINING, plan, write_subjects

from ricenet.cohort.splits import Splits
from ricenet.config.training import TrainingOverride
from ricenet.config.tuned import Tuned, read_tuned
from ricenet.runtime.errors import ParamsError, TrainingError
from ricenet.training.task import FoldTask

FOUND: dict[str, Any] = {
    "dose": {
        "nested": False,
        "trials": [3],
        "folds": [{"training.learning_rate": 1e-3, "augmentation.probability.noise": 0.25}] * 2,
        "macro_f1": 0.7,
        "log_loss": 0.6,
    }
}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return write_subjects(tmp_path / "preprocessed")


def planned(splits: Splits, tuned: Tuned | None, **training: Any) -> list[FoldTask]:
    settings = TRAINING.model_copy(update=training)
    return plan(Path(), splits, ["dose", "event"], training=settings, tuned=tuned or Tuned())


def test_only_the_tuned_sets_folds_change(tmp_path: Path, splits: Splits) -> None:
    tuned = read_tuned(write(tmp_path / "best.json", FOUND))
    before, after = planned(splits, None), planned(splits, tuned)
    assert [task.key == old.key for task, old in zip(after, before, strict=True)] == [
        False,
        False,
        True,
        True,
    ]
    assert after[0].training.learning_rate == 1e-3
    assert after[0].augmentation.probability.noise == 0.25
    assert after[0].augmentation.probability.gamma == AUGMENTATION.probability.gamma
    assert after[0].training.batch_size == TRAINING.batch_size


def test_each_fold_has_its_own_values_where_searches_were_nested(splits: Splits) -> None:
    first, second = planned(
        splits, Tuned({"dose": [{"training.batch_size": 4}, {"training.batch_size": 6}]})
    )[:2]
    assert (first.training.batch_size, second.training.batch_size) == (4, 6)
    same = planned(splits, None)[0]
    assert first.key == same.key  # 4 is the parameter file's


def test_nothing_tuned_changes_nothing(tmp_path: Path, splits: Splits) -> None:
    tuned = read_tuned(write(tmp_path / "best.json", {}))
    assert [task.key for task in planned(splits, tuned)] == [task.key for task in planned(splits, None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "{",
            r"best.json is damaged: it is not well-formed JSON.*The stage `tune` makes it: delete it",
        ),
        ([], "should be an object"),
        ({"dose": {}}, "damaged: dose.folds: Field required"),
        ({"dose": {"folds": []}}, "damaged: dose.folds: List should have at least 1"),
        (
            {"dose": {"folds": [{"training.lr": 1}]}},
            "dose.folds.0.training.lr: .*no setting that can be tuned",
        ),
        ({"dose": {"folds": [{"training.learning_rate": "1"}]}}, "training.learning_rate.*valid"),
        ('{"dose": {"folds": [{"training.learning_rate": NaN}]}}', "training.learning_rate.* finite"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_tuned(write(tmp_path / "best.json", content))


def test_settings_of_an_undeclared_set_are_refused(splits: Splits) -> None:
    with pytest.raises(TrainingError, match="unknown modality set 'dosis'"):
        planned(splits, Tuned({"dosis": [{"training.learning_rate": 1e-3}] * 2}))


def test_a_missing_file_is_reported_with_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"best.json is missing. The stage `tune` makes it: run `dvc repro`"
    ):
        read_tuned(tmp_path / "best.json")


def test_values_that_a_setting_does_not_allow_are_refused(splits: Splits) -> None:
    with pytest.raises(TrainingError, match="dose: tuned settings: learning_rate: Input should be greater"):
        planned(splits, Tuned({"dose": [{"training.learning_rate": -1.0}] * 2}))


def test_values_for_too_few_folds_are_refused(splits: Splits) -> None:
    with pytest.raises(TrainingError, match="dose: settings were tuned for 1 folds only"):
        planned(splits, Tuned({"dose": [{"training.learning_rate": 1e-3}]}))


def test_a_setting_that_is_tuned_and_set_for_its_set_is_refused(tmp_path: Path, splits: Splits) -> None:
    tuned = read_tuned(write(tmp_path / "best.json", FOUND))
    both = {"dose": TrainingOverride(learning_rate=3e-4, epochs=5), "event": TrainingOverride(epochs=5)}
    with pytest.raises(
        ParamsError,
        match=r"training.overrides.dose.learning_rate: tuned for this set as well; remove it here, or "
        r"training.learning_rate from tuning.space, or dose from tuning.modality_sets",
    ) as refused:
        planned(splits, tuned, overrides=both)
    assert len(refused.value.problems) == 1
    planned(splits, tuned, overrides={"dose": TrainingOverride(epochs=5)})
