"""All folds of all modality sets: training what is planned, and laying out the results."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ricenet.config.params import ExecutionParams
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.runtime.machine import gpu_names, shares
from ricenet.training.concurrency import sized
from ricenet.training.ensemble_record import EnsembleRecord, write_ensemble
from ricenet.training.fusion import Fusion, fuse, inner_tasks
from ricenet.training.history import EpochObserver, FoldIdentity, read_history
from ricenet.training.lock_step import groups_in_step
from ricenet.training.predictions import write_predictions
from ricenet.training.staged_folds import staged_fold
from ricenet.training.task import HISTORY, RECORD, WEIGHTS, FoldTask

logger = logging.getLogger(__name__)

_GROUPS_PER_WORKER = 2


def train_folds(
    tasks: Sequence[FoldTask], execution: ExecutionParams, observer: EpochObserver | None = None
) -> None:
    """Train what is not in the store yet.

    Raises TrainingError: one or more folds failed, all of them listed; the others are kept.
    """
    unfinished = [task for task in tasks if not task.is_finished]
    for task in unfinished:
        # here, so that a worker elsewhere is not sent them
        task.discard_damaged()
    logger.info("%d of %d folds are trained already", len(tasks) - len(unfinished), len(tasks))
    if not unfinished:
        return
    observer = observer or EpochObserver()
    failures = {task.identity: error for task, error in _trained(unfinished, execution, observer) if error}
    if failures:
        observer.on_failed([*failures])
        kept = len(tasks) - len(failures)
        lines = "\n".join(f"  - {_located(identity, error)}" for identity, error in failures.items())
        raise TrainingError(f"{len(failures)} of {len(tasks)} folds failed ({kept} are kept):\n{lines}")


def _trained(
    tasks: Sequence[FoldTask], execution: ExecutionParams, observer: EpochObserver
) -> list[tuple[FoldTask, str | None]]:
    """Train folds, in step where one process trains several; with each what ended it early."""
    from ricenet.training.fold import train_fold, train_together

    # the one with most channels takes the most
    largest = max(tasks, key=lambda task: len(task.members))
    # a GPU augments in no time, and the machines of a cluster get a fold each
    together = execution.backend != "ray" and not gpu_names()
    sizing = sized(execution, largest, groups_in_step(tasks, len(tasks)) if together else ())
    description = "training folds"
    if not together:
        alone = run_tasks(
            partial(train_fold, observer=observer),
            tasks,
            sizing.backend,
            sizing.workers,
            sizing.threads_per_worker,
            description,
            gpus_per_worker=sizing.gpus_per_worker,
            staging=staged_fold,
        )
        return [(outcome.task, outcome.error) for outcome in alone]
    workers, threads = shares(sizing.backend, sizing.workers, sizing.threads_per_worker)
    # not so few groups that workers wait for the last one
    groups = groups_in_step(tasks, max(1, len(tasks) // (_GROUPS_PER_WORKER * workers)))
    outcomes = run_tasks(
        partial(train_together, observer=observer), groups, sizing.backend, workers, threads, description
    )
    return [
        # where a whole group ended, some of it may have been finished
        (task, outcome.result[place] if outcome.result else None if task.is_finished else outcome.error)
        for outcome in outcomes
        for place, task in enumerate(outcome.task)
    ]


def _located(identity: FoldIdentity, error: str) -> str:
    return error if error.startswith(str(identity)) else f"{identity}: {error}"


def train_and_fuse(
    tasks: Sequence[FoldTask], execution: ExecutionParams, observer: EpochObserver | None = None
) -> dict[str, Fusion]:
    """Train what is not in the store yet, of one division into folds, and fit fusions.

    Raises TrainingError: as `train_folds`, or a data leak. SplitError: too few subjects for fusion.
    """
    inner = inner_tasks(tasks)
    train_folds(tasks, execution, observer)
    if inner:
        logger.info("fusion: %d trainings leave out two folds each", len(inner))
        train_folds(inner, execution)
    return fuse(tasks)


def lay_out_training(
    tasks: Sequence[FoldTask], folder: Path, fusions: Mapping[str, Fusion] | None = None
) -> None:
    """Write history, predictions and record of every fold to <folder>/<set>/fold-<k>, and nothing else.

    The record says besides from what the fold was trained. fusions: by set; their predictions take the place
    of the networks'.
    """
    with atomic_folder(folder) as temporary:
        for task in tasks:
            target = temporary / task.modality_set / f"fold-{task.fold}"
            target.mkdir(parents=True)
            for name in (HISTORY, *task.prediction_files):
                shutil.copyfile(task.folder / name, target / name)
            record = {**task.record, **task.provenance}
            if fusion := (fusions or {}).get(task.modality_set):
                for file, subset in task.prediction_files.items():
                    write_predictions(
                        fusion.subsets.get(subset, fusion).predictions[task.fold], target / file
                    )
                record["fusion_weights"] = fusion.folds[task.fold].weights
            write_json(target / RECORD, record)


def lay_out_ensembles(
    tasks: Sequence[FoldTask],
    folder: Path,
    data_digest: str,
    preprocessing_digest: str,
    splits_digest: str,
    preprocessing: PreprocessingParams,
    fusions: Mapping[str, Fusion] | None = None,
) -> None:
    """Write the ensemble of every set to <folder>/<set>; sets that are no longer trained disappear."""
    fused = {name: fusion.folds for name, fusion in (fusions or {}).items()}
    subsets = {
        name: {subset: of_subset.folds for subset, of_subset in fusion.subsets.items()}
        for name, fusion in (fusions or {}).items()
    }
    with atomic_folder(folder) as temporary:
        for modality_set, folds in _by_set(tasks).items():
            record = EnsembleRecord(
                modality_set=modality_set,
                folds=len(folds),
                network=folds[0].network,
                input=folds[0].grid.name,
                box=folds[0].grid.box,
                volumes=folds[0].volumes,
                variables=folds[0].variable_specs,
                encoders=tuple(task.encoder for task in folds),
                fold_keys=tuple(task.key for task in folds),
                data_digest=data_digest,
                preprocessing_digest=preprocessing_digest,
                splits_digest=splits_digest,
                preprocessing=preprocessing.model_dump(),
                fused=fused.get(modality_set, ()),
                fused_subsets=subsets.get(modality_set, {}),
                label_names=folds[0].label_names,
            )
            write_ensemble(temporary / modality_set, record, [task.folder / WEIGHTS for task in folds])


def summary(tasks: Sequence[FoldTask]) -> str:
    """One line: each set with the mean over folds of the last epoch's validation macro-F1."""
    last = {
        name: np.mean([read_history(task.folder / HISTORY)[-1].validation_macro_f1 for task in folds])
        for name, folds in _by_set(tasks).items()
    }
    return f"validation macro-F1: {', '.join(f'{name} {score:.2f}' for name, score in last.items())}"


def _by_set(tasks: Sequence[FoldTask]) -> dict[str, list[FoldTask]]:
    found: dict[str, list[FoldTask]] = {}
    for task in tasks:
        found.setdefault(task.modality_set, []).append(task)
    return found
