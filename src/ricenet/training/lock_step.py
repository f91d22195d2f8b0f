"""Which folds may train in step: those that see the same subjects, in the same order and varied alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ricenet.training.task import FoldTask

_SHARED_SETTINGS = ("batch_size", "memory", "precision", "deterministic", "samples_at_once")
"""Of training: what decides on batches and on how a process computes."""


def groups_in_step(tasks: Sequence[FoldTask], most: int) -> list[tuple[FoldTask, ...]]:
    """Tasks in groups of at most so many, by place of the first; they change nothing in what is learned."""
    alike: dict[Hashable, list[FoldTask]] = {}
    for task in tasks:
        alike.setdefault(_kind(task), []).append(task)
    return [
        tuple(group[first : first + most]) for group in alike.values() for first in range(0, len(group), most)
    ]


def _kind(task: FoldTask) -> Hashable:
    settings: list[Any] = [getattr(task.training, name) for name in _SHARED_SETTINGS]
    return (
        (task.preprocessed, task.grid, task.volumes, task.seed, task.fold, task.epochs),
        (task.training_subjects, task.validation_subjects),
        (task.augmentation.model_dump_json(), *settings),
    )
