"""How a fold's inputs are staged on a machine that shares no files with this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.ray.staging import StagedTask
from ricenet.runtime.store import CONTENTS
from ricenet.training.task import FoldTask


def staged_fold(task: FoldTask) -> StagedTask[FoldTask]:
    """What a fold needs there, and its own folder: checkpoint and results."""
    return StagedTask(
        staged_inputs(task, task.subjects), task.folder, partial(_elsewhere, task), last=CONTENTS
    )


def staged_inputs(task: FoldTask, subjects: Iterable[str]) -> dict[str, Path]:
    """Content key -> file: the subjects' volumes, and the weights to begin from."""
    inputs = {
        _key(task, subject, file): task.preprocessed / subject / file
        for subject in subjects
        for file in _volume_files(task)
    }
    if task.initial_weights is not None:
        inputs[task.initial_weights.digest] = task.initial_weights.path
    return inputs


def with_staged_inputs(
    task: FoldTask, subjects: Iterable[str], inputs: Mapping[str, Path], folder: Path, store: Path
) -> FoldTask:
    """The same fold with its files where they lie there: linked into a folder, results in a store."""
    preprocessed = folder / "preprocessed"
    for subject in subjects:
        (preprocessed / subject).mkdir(parents=True, exist_ok=True)
        for file in _volume_files(task):
            link = preprocessed / subject / file
            if not link.is_symlink():
                link.symlink_to(inputs[_key(task, subject, file)])
    weights = task.initial_weights
    if weights is not None:
        weights = replace(weights, path=inputs[weights.digest])
    return replace(task, preprocessed=preprocessed, store=store, initial_weights=weights)


def _elsewhere(task: FoldTask, inputs: Mapping[str, Path], folder: Path) -> FoldTask:
    """folder: the task's; its parent is for this task alone."""
    return with_staged_inputs(task, task.subjects, inputs, folder.parent, folder.parent)


def _volume_files(task: FoldTask) -> list[str]:
    """Of a subject: those of the grid that the fold sees, head or crop."""
    return [volume_file(spec.name, task.grid.suffix) for spec in task.members]


def _key(task: FoldTask, subject: str, file: str) -> str:
    return f"{subject} {file} {task.subject_keys[subject]}"
