"""How a fold goes to a machine that shares no files with this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ricenet.preprocessing.network_input import VOLUMES_FILE
from ricenet.runtime.ray.staging import StagedTask
from ricenet.training.task import RECORD, FoldTask


def staged_fold(task: FoldTask) -> StagedTask[FoldTask]:
    """What a fold needs there, and its own folder: checkpoint and results."""
    inputs = {
        _input_key(task, subject): task.preprocessed / subject / VOLUMES_FILE for subject in _subjects(task)
    }
    return StagedTask(inputs, task.folder, partial(_elsewhere, task), last=RECORD)


def _elsewhere(task: FoldTask, inputs: Mapping[str, Path], folder: Path) -> FoldTask:
    """The same fold with its files where they lie there; the folder's parent is for this task alone."""
    preprocessed = folder.parent / "preprocessed"
    for subject in _subjects(task):
        link = preprocessed / subject / VOLUMES_FILE
        link.parent.mkdir(parents=True)
        link.symlink_to(inputs[_input_key(task, subject)])
    return replace(task, preprocessed=preprocessed, store=folder.parent)


def _subjects(task: FoldTask) -> tuple[str, ...]:
    return (*task.training_subjects, *task.validation_subjects)


def _input_key(task: FoldTask, subject: str) -> str:
    return f"{subject} {task.subject_keys[subject]}"
