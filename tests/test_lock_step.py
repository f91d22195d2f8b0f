"""Modality sets that train in step: which may, and that nobody learns anything else for the company."""

from __future__ import annotations

import dataclasses
import errno
import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_folds import (
    AUGMENTATION,
    TRAINING,
    InterruptAfter,
    Interrupted,
    Recorder,
    elsewhere,
    plan,
    results,
    write_subjects,
)

from ricenet.cohort.splits import Splits
from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import TrainingError
from ricenet.training import cross_validation, fold
from ricenet.training.cross_validation import train_folds
from ricenet.training.fold import train_fold, train_together
from ricenet.training.lock_step import groups_in_step
from ricenet.training.one_training import OneTraining
from ricenet.training.task import CHECKPOINT, FoldTask

SETS = ("post_op", "dose", "event+dose")


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return write_subjects(tmp_path / "preprocessed")


@pytest.fixture
def first_folds(tmp_path: Path, splits: Splits) -> list[FoldTask]:
    return [task for task in plan(tmp_path, splits, SETS) if task.fold == 0]


def names(groups: list[tuple[FoldTask, ...]]) -> list[list[str]]:
    return [[f"{task.modality_set} {task.fold}" for task in group] for group in groups]


# ---- who trains in step


def test_the_sets_of_a_fold_train_in_step(tmp_path: Path, splits: Splits) -> None:
    tasks = plan(tmp_path, splits, SETS)
    assert names(groups_in_step(tasks, 10)) == [
        ["post_op 0", "dose 0", "event+dose 0"],
        ["post_op 1", "dose 1", "event+dose 1"],
    ]
    assert names(groups_in_step(tasks, 2)) == [
        ["post_op 0", "dose 0"],
        ["event+dose 0"],
        ["post_op 1", "dose 1"],
        ["event+dose 1"],
    ]


def test_who_sees_others_or_sees_them_otherwise_trains_apart(first_folds: list[FoldTask]) -> None:
    task = first_folds[0]
    others = [
        dataclasses.replace(task, seed=1),
        dataclasses.replace(task, training_subjects=task.training_subjects[:-1]),
        dataclasses.replace(task, grid=dataclasses.replace(task.grid, spacing_mm=1.0)),
        dataclasses.replace(task, augmentation=AUGMENTATION.model_copy(update={"mirroring": 0.5})),
        *(
            dataclasses.replace(task, training=TRAINING.model_copy(update=changes))
            for changes in ({"batch_size": 2}, {"epochs": 5}, {"precision": "bfloat16"})
        ),
    ]
    assert [len(group) for group in groups_in_step([task, *others], 10)] == [1] * (1 + len(others))
    quicker = dataclasses.replace(task, training=TRAINING.model_copy(update={"learning_rate": 0.1}))
    assert len(groups_in_step([task, quicker], 10)) == 1


# ---- that it changes nothing


def test_in_step_each_ends_with_the_bits_that_it_has_alone(first_folds: list[FoldTask]) -> None:
    alone = [elsewhere(task, "alone") for task in first_folds]
    for task in alone:
        train_fold(task)
    recorder = Recorder()
    assert train_together(first_folds, recorder) == [None] * 3
    assert [results(task) for task in first_folds] == [results(task) for task in alone]
    assert [(where, epoch) for where, epoch, _ in recorder.seen] == [
        (f"{name}, fold 0", epoch) for epoch in (1, 2, 3, 4) for name in SETS
    ]


def test_alone_or_not_sets_see_the_same_subjects_with_the_same_dose(
    first_folds: list[FoldTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[tuple[str, ...], torch.Tensor]]] = {name: [] for name in SETS}
    learn = OneTraining.learn

    def watch(one: OneTraining, batch, augmented: torch.Tensor, *rest) -> None:  # type: ignore[no-untyped-def]
        seen[one.task.modality_set].append((batch.subjects, augmented[:, -1].clone()))
        learn(one, batch, augmented, *rest)

    monkeypatch.setattr(OneTraining, "learn", watch)
    for task in first_folds:
        train_fold(task)
    # five of a batch each epoch: a fifth alone would have no variance
    assert len(seen["dose"]) == 4
    for (subjects, dose), (others, same_dose), (as_well, post_op) in zip(
        seen["dose"], seen["event+dose"], seen["post_op"], strict=True
    ):
        assert subjects == others == as_well
        assert torch.equal(dose, same_dose) and not torch.equal(dose, post_op)


def test_members_go_on_from_where_each_was_interrupted(first_folds: list[FoldTask]) -> None:
    whole = [elsewhere(task, "whole") for task in first_folds]
    train_together(whole)
    for task, epoch in zip(first_folds[:2], (1, 3), strict=True):
        with pytest.raises(Interrupted):
            train_fold(task, InterruptAfter(epoch))
    recorder = Recorder()
    assert train_together(first_folds, recorder) == [None] * 3
    assert [results(task) for task in first_folds] == [results(task) for task in whole]
    assert [epoch for where, epoch, _ in recorder.seen if where == "dose, fold 0"] == [4]


def test_members_that_began_with_other_threads_go_on_with_theirs(first_folds: list[FoldTask]) -> None:
    task, other = first_folds[1:]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(Interrupted):
            train_fold(task, InterruptAfter(2))
        whole = elsewhere(task, "whole")
        train_fold(whole)
    finally:
        torch.set_num_threads(threads)
    assert train_together([task, other]) == [None, None]
    assert results(task) == results(whole)
    assert torch.get_num_threads() == threads


def test_one_whose_loss_is_not_finite_ends_alone(first_folds: list[FoldTask]) -> None:
    wild = dataclasses.replace(
        first_folds[0], training=TRAINING.model_copy(update={"learning_rate": 1e30, "weight_decay": 0.0})
    )
    failure, *others = train_together([wild, *first_folds[1:]])
    assert failure is not None and failure.startswith("post_op, fold 0, epoch ") and "loss is nan" in failure
    assert others == [None, None]
    assert [task.is_finished for task in (wild, *first_folds[1:])] == [False, True, True]


def test_finished_ones_are_kept(first_folds: list[FoldTask]) -> None:
    train_fold(first_folds[0])
    recorder = Recorder()
    assert train_together(first_folds, recorder) == [None] * 3
    assert {where for where, _, _ in recorder.seen} == {"dose, fold 0", "event+dose, fold 0"}


def test_the_number_of_workers_changes_nothing(tmp_path: Path, splits: Splits) -> None:
    short = TRAINING.model_copy(update={"epochs": 1})
    tasks = plan(tmp_path, splits, SETS, training=short)
    for workers in (1, 2):
        execution = ExecutionParams(backend="processes", workers=workers, threads_per_worker=1)
        train_folds([elsewhere(task, str(workers)) for task in tasks], execution)
    for task in tasks:
        assert results(elsewhere(task, "1")) == results(elsewhere(task, "2"))


# ---- when states are saved


@pytest.mark.parametrize(("pause_s", "saved"), [(0.0, True), (3600.0, False)])
def test_no_checkpoint_follows_within_the_pause(
    pause_s: float, saved: bool, first_folds: list[FoldTask]
) -> None:
    settings = TRAINING.model_copy(update={"checkpoint_pause_s": pause_s})
    task = dataclasses.replace(first_folds[0], training=settings)
    assert task.key == first_folds[0].key
    with pytest.raises(Interrupted):
        train_fold(task, InterruptAfter(2))
    assert (task.folder / CHECKPOINT).is_file() == saved


def test_a_full_disk_ends_the_fold_that_meets_it_and_no_other(
    first_folds: list[FoldTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = OneTraining.keep

    def full(one: OneTraining, *arguments: Any) -> None:
        if one.task.modality_set == "dose":
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(one, *arguments)

    monkeypatch.setattr(OneTraining, "keep", full)
    failure, *others = train_together([first_folds[1], first_folds[0], first_folds[2]])
    assert failure is not None and "the disk is full" in failure and "Make room" in failure
    assert others == [None, None]


def test_an_error_of_what_is_shared_lets_each_answer_for_itself_once_its_memory_is_free(
    first_folds: list[FoldTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    companies: list[weakref.ref[Any]] = []
    train, alive = fold._Company.train, []

    def out_of_memory(company: Any, observer: Any) -> None:
        gc.collect()
        alive.append(sum(known() is not None for known in companies))
        companies.append(weakref.ref(company))
        if len(companies) == 1:
            raise MemoryError
        train(company, observer)

    monkeypatch.setattr(fold._Company, "train", out_of_memory)
    assert train_together(first_folds) == [None] * 3
    assert alive == [0] * 4
    assert all(task.is_finished for task in first_folds)


def test_what_was_finished_before_a_whole_group_ended_is_not_reported_as_failed(
    first_folds: list[FoldTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(tasks: Sequence[FoldTask], observer: Any = None) -> list[str | None]:
        train_fold(tasks[0])
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(fold, "train_together", ends)
    monkeypatch.setattr(cross_validation, "_GROUPS_PER_WORKER", 1)
    with pytest.raises(TrainingError) as raised:
        train_folds(first_folds, ExecutionParams(backend="serial", workers=1, threads_per_worker=1))
    failed = [line for line in str(raised.value).splitlines() if line.startswith("  - ")]
    assert [task.is_finished for task in first_folds] == [True, False, False] and len(failed) == 2
