"""Who takes part in a search: never the test set, nor an outer fold's validation subjects where nested."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_folds import TRAINING, setup_of
from small_searches import PARAMS

from ricenet.cohort.splits import Splits
from ricenet.config.training import TrainingOverride
from ricenet.runtime.errors import ParamsError, SplitError
from ricenet.training.tuning.searches import Search, inner_splits, plan_searches
from ricenet.vocabulary import Label


def make_splits(count: int, folds: int) -> Splits:
    """Labels by turns; the last four subjects are the test set."""
    subjects = [f"sub-{number:03d}" for number in range(count + 4)]
    labels: dict[str, Label] = {s: "rice" if k % 2 else "recurrence" for k, s in enumerate(subjects)}
    pairs = [tuple(s for k, s in enumerate(subjects[:count]) if k // 2 % folds == f) for f in range(folds)]
    return Splits(labels, tuple(pairs), tuple(subjects[count:]))


def planned(splits: Splits, sets: list[str], training: Any = TRAINING, **tuning: Any) -> list[Search]:
    return plan_searches(
        PARAMS.tuning.model_copy(update={"modality_sets": sets, **tuning}),
        setup_of(Path(), splits, seed=7, training=training),
    )


@pytest.fixture
def splits() -> Splits:
    return make_splits(18, 3)


@pytest.mark.parametrize("nested", [False, True])
def test_test_subjects_have_no_part(splits: Splits, nested: bool) -> None:
    for search in planned(splits, ["dose", "event"], nested=nested):
        for task in search.tasks:
            seen = {*task.training_subjects, *task.validation_subjects, *task.labels, *task.subject_keys}
            assert not seen & set(splits.test)


def test_a_search_is_judged_by_the_folds_of_training(splits: Splits) -> None:
    (search,) = planned(splits, ["dose"])
    assert [task.validation_subjects for task in search.tasks] == list(splits.folds)
    assert search.keeps_folds


def test_a_nested_search_never_sees_its_outer_folds_validation_subjects(splits: Splits) -> None:
    searches = planned(splits, ["dose"], nested=True)
    assert [search.outer_fold for search in searches] == [0, 1, 2]
    for search in searches:
        held_out = set(splits.folds[search.outer_fold or 0])
        for task in search.tasks:
            seen = {*task.training_subjects, *task.validation_subjects, *task.labels, *task.subject_keys}
            assert not seen & held_out
            assert not set(task.training_subjects) & set(task.validation_subjects)
            assert {*task.training_subjects, *task.validation_subjects} == set(
                splits.training_subjects(search.outer_fold or 0)
            )
        assert not search.keeps_folds


def test_inner_folds_are_stratified_and_depend_on_the_seed_alone(splits: Splits) -> None:
    inner = inner_splits(splits, 0, seed=7)
    assert len(inner.folds) == 3
    for fold in inner.folds:
        assert set(Counter(inner.labels[subject] for subject in fold).values()) == {2}
    assert inner == inner_splits(splits, 0, seed=7)
    assert inner.folds != inner_splits(splits, 0, seed=8).folds


def test_too_few_subjects_for_inner_folds_are_reported() -> None:
    with pytest.raises(
        SplitError,
        match=r"3 inner folds need at least 3 training subjects of each label in fold 0, found 2 recurrence "
        r"and 2 rice; add subjects, lower split.folds, or set tuning.nested to false",
    ):
        inner_splits(make_splits(6, 3), 0, seed=7)


def test_studies_of_sets_and_folds_differ(splits: Splits) -> None:
    searches = planned(splits, ["dose", "event"], nested=True) + planned(splits, ["dose", "event"])
    assert len({search.study.name for search in searches}) == 8
    assert searches[1].study.name.startswith("dose fold 1 tuning ")


def test_a_trials_epochs_may_be_fewer_and_its_folds_are_then_no_use_to_training(splits: Splits) -> None:
    training = TRAINING.model_copy(update={"overrides": {"dose": TrainingOverride(epochs=9)}})
    (search,) = planned(splits, ["dose"], training, epochs=2)
    assert {task.training.epochs for task in search.tasks} == {2}
    assert not search.keeps_folds
    (search,) = planned(splits, ["dose"], training)
    assert {task.training.epochs for task in search.tasks} == {9}


def test_a_setting_that_the_set_has_of_its_own_is_refused_before_any_trial(splits: Splits) -> None:
    training = TRAINING.model_copy(update={"overrides": {"dose": TrainingOverride(batch_size=8)}})
    with pytest.raises(ParamsError, match=r"training.overrides.dose.batch_size: tuned for this set as well"):
        planned(splits, ["dose"], training)
    planned(splits, ["event"], training)
