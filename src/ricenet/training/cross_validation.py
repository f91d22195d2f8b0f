"""All folds of all modality sets: what has to be trained, training it, laying out the results."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ricenet.cohort.splits import Splits
from ricenet.config.params import ExecutionParams, PreprocessingParams
from ricenet.config.training import AugmentationParams, NetworkParams, TrainingParams
from ricenet.config.tuned import Tuned
from ricenet.runtime.errors import ScanError, TrainingError
from ricenet.runtime.execution import Outcome, run_tasks
from ricenet.runtime.files import atomic_folder, content_digest, read_json, source_digest, write_json
from ricenet.training.concurrency import packing_of
from ricenet.training.ensemble import Provenance, write_ensemble
from ricenet.training.history import EpochObserver, FoldIdentity, NullObserver, read_history
from ricenet.training.task import HISTORY, PREDICTIONS, RECORD, WEIGHTS, FoldTask
from ricenet.training.travel import staged_fold
from ricenet.vocabulary import channels

logger = logging.getLogger(__name__)


def plan_folds(
    modality_sets: Sequence[str],
    splits: Splits,
    subject_keys: Mapping[str, str],
    seed: int,
    preprocessing: PreprocessingParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    network: NetworkParams,
    preprocessed: Path,
    store: Path,
    tuned: Tuned | None = None,
) -> list[FoldTask]:
    """Every fold of every set, in this order, with the settings of its set.

    subject_keys: content addresses of preprocessed subjects. tuned: settings that take the place of others.
    Raises ScanError: a subject of the splits that is not preprocessed. ParamsError: a setting that is
    both tuned and in `training.overrides` of its set.
    """
    for subject in splits.development:
        if subject not in subject_keys:
            raise ScanError(subject, "volumes", "not preprocessed", "Run `dvc repro preprocess`")
    tuned, code = tuned or Tuned(), _code_digest()
    tuned.refuse_overridden(training.overrides, modality_sets)
    return [
        FoldTask(
            modality_set=modality_set,
            fold=fold,
            seed=seed,
            training=settings[0],
            augmentation=settings[1],
            network=network,
            cube_voxels=preprocessing.cube_voxels,
            spacing_mm=preprocessing.spacing_mm,
            labels={subject: splits.labels[subject] for subject in splits.development},
            training_subjects=splits.training_subjects(fold),
            validation_subjects=splits.validation_subjects(fold),
            subject_keys={subject: subject_keys[subject] for subject in splits.development},
            code=code,
            preprocessed=preprocessed.absolute(),
            store=store.absolute(),
            own_settings=tuned.differing(modality_set),
        )
        for modality_set in modality_sets
        for fold in range(len(splits.folds))
        for settings in [tuned.settings(modality_set, fold, training.of_set(modality_set), augmentation)]
    ]


def train_folds(
    tasks: Sequence[FoldTask], execution: ExecutionParams, observer: EpochObserver | None = None
) -> None:
    """Train what is not in the store yet.

    Raises TrainingError: one or more folds failed, all of them listed; the others are kept.
    """
    unfinished = [task for task in tasks if not task.is_finished]
    logger.info("%d of %d folds are trained already", len(tasks) - len(unfinished), len(tasks))
    if not unfinished:
        return
    from ricenet.training.fold import train_fold

    observer, packing = observer or NullObserver(), _packing(unfinished, execution)
    outcomes: list[Outcome[FoldTask, FoldIdentity]] = run_tasks(
        partial(train_fold, observer=observer),
        unfinished,
        execution.backend,
        packing.workers,
        packing.threads_per_worker,
        "training folds",
        gpus_per_worker=execution.gpus_per_worker,
        staging=staged_fold,
    )
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    if failures:
        observer.on_failed([failure.task.identity for failure in failures])
        kept = len(tasks) - len(failures)
        lines = "\n".join(f"  - {_located(failure)}" for failure in failures)
        raise TrainingError(f"{len(failures)} of {len(tasks)} folds failed ({kept} are kept):\n{lines}")


def _packing(tasks: Sequence[FoldTask], execution: ExecutionParams) -> ExecutionParams:
    """What is "auto" settled by measuring, where folds train side by side on this machine."""
    if execution.backend != "processes" or "auto" not in (execution.workers, execution.threads_per_worker):
        return execution
    # the one with most channels takes the most
    largest = max(tasks, key=lambda task: len(channels(task.modality_set)))
    found = packing_of(largest, execution)
    return execution.model_copy(update={"workers": found.workers, "threads_per_worker": found.threads})


def lay_out_training(tasks: Sequence[FoldTask], folder: Path) -> None:
    """Copy history, predictions and record of every fold to <folder>/<set>/fold-<k>, and nothing else.

    The record says besides from what the fold was trained.
    """
    with atomic_folder(folder) as temporary:
        for task in tasks:
            target = temporary / task.modality_set / f"fold-{task.fold}"
            target.mkdir(parents=True)
            for name in (HISTORY, PREDICTIONS):
                shutil.copyfile(task.folder / name, target / name)
            write_json(target / RECORD, {**read_json(task.folder / RECORD), **task.provenance})


def lay_out_ensembles(
    tasks: Sequence[FoldTask],
    folder: Path,
    data_digest: str,
    preprocessing_digest: str,
    splits_digest: str,
    preprocessing: Mapping[str, Any],
) -> None:
    """Write the ensemble of every set to <folder>/<set>; sets that are no longer trained disappear."""
    with atomic_folder(folder) as temporary:
        for modality_set in dict.fromkeys(task.modality_set for task in tasks):
            folds = [task for task in tasks if task.modality_set == modality_set]
            provenance = Provenance(
                tuple(task.key for task in folds),
                data_digest,
                preprocessing_digest,
                splits_digest,
                preprocessing,
            )
            weights = [task.folder / WEIGHTS for task in folds]
            write_ensemble(temporary / modality_set, modality_set, weights, folds[0].network, provenance)


def summary(tasks: Sequence[FoldTask]) -> str:
    """One line: each set with the mean over folds of the last epoch's validation macro-F1."""
    parts = []
    for modality_set in dict.fromkeys(task.modality_set for task in tasks):
        folds = [task for task in tasks if task.modality_set == modality_set]
        last = [read_history(task.folder / HISTORY)[-1].validation_macro_f1 for task in folds]
        parts.append(f"{modality_set} {np.mean(last):.2f}")
    return f"validation macro-F1: {', '.join(parts)}"


def _located(outcome: Outcome[FoldTask, FoldIdentity]) -> str:
    where = str(outcome.task.identity)
    error = outcome.error or ""
    return error if error.startswith(where) else f"{where}: {error}"


def _code_digest() -> str:
    from ricenet import vocabulary as modalities
    from ricenet.preprocessing import network_input
    from ricenet.runtime import randomness
    from ricenet.training import (
        arrangement,
        augmentation,
        checkpoint,
        compilation,
        fold,
        hardware,
        optimisation,
        predictions,
        volumes,
    )
    from ricenet.training import networks as network
    from ricenet.training import (
        sampler as sampling,
    )

    basics = (augmentation, modalities, network, network_input, randomness)
    engine = (arrangement, checkpoint, compilation, fold, hardware, optimisation, volumes)
    versions = {name: version(name) for name in ("numpy", "torch", "monai")}
    source = source_digest(*basics, *engine, predictions, sampling)
    return content_digest({"source": source, "versions": versions})
