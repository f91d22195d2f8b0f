"""Folds of tiny volumes, quick to train, and observers that watch or interrupt them."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from preprocessed_subjects import save_summary

from ricenet.cohort.checked import CheckedCohort, CheckedSubject, write_checked_cohort, write_excluded
from ricenet.cohort.splits import Splits
from ricenet.config.network_params import ResNetParams
from ricenet.config.params import AugmentationParams, ExecutionParams, TrainingParams, read_params
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe
from ricenet.preprocessing.network_input import write_volume
from ricenet.runtime.files import write_json
from ricenet.training.history import EpochMetrics, EpochObserver, EpochSpeed, FoldIdentity
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import HISTORY, PREDICTIONS, WEIGHTS, FoldTask
from ricenet.vocabulary import PAPER_VOLUMES, Label

PROJECT = Path(__file__).parents[1]
CUBE = 8
PREPROCESSING = PreprocessingParams.model_validate(
    {
        "cube_voxels": CUBE,
        "spacing_mm": 20.0,
        "interpolation": "linear",
        "dose_unit_gy": 60.0,
        "registration": {"spacing_mm": 2.0, "metric": "mattes"},
        "brain": {"mode": "fast", "mirroring": False, "precision": "auto"},
    }
)
TRAINING = TrainingParams(
    epochs=4,
    batch_size=4,
    learning_rate=1e-2,
    weight_decay=1e-4,
    checkpoint_every_epochs=1,
    overrides={},
)
AUGMENTATION = AugmentationParams(
    rotation_degrees=15.0,
    scaling=0.1,
    elastic_mm=6.0,
    noise_sd=0.1,
    brightness=0.1,
    gamma=0.2,
    probability=0.5,
)
NETWORK = ResNetParams(widen_factor=0.05, stem_stride=2)
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


def write_volumes(folder: Path, volumes: Mapping[str, NDArray[Any]]) -> None:
    """A preprocessed subject; the folder bears its name."""
    for name, values in volumes.items():
        write_volume(values, folder, folder.name, name)


def write_subjects(folder: Path, count: int = 10, cube: int = CUBE) -> Splits:
    """Random volumes, in which RICE has the higher dose; two folds."""
    noise = np.random.default_rng(0)
    labels: dict[str, Label] = {}
    for number in range(count):
        subject = f"sub-{number:03d}"
        labels[subject] = "rice" if number % 2 else "recurrence"
        values = noise.normal(size=(len(PAPER_VOLUMES), *(cube,) * 3)).astype(np.float16)
        values[-1] = number % 2 + 0.1 * values[-1]
        write_volumes(folder / subject, dict(zip(PAPER_VOLUMES.names, values, strict=True)))
    subjects = tuple(labels)
    return Splits(labels, (subjects[: count // 2], subjects[count // 2 :]), ())


def setup_of(folder: Path, splits: Splits, **changes: Any) -> TrainingSetup:
    """The setup of subjects below folder/preprocessed. changes: of its fields, or of its main recipe's."""
    keys = {subject: f"volumes of {subject}" for subject in splits.development}
    parts = {"input": "head", "network": NETWORK, "training": TRAINING, "augmentation": AUGMENTATION}
    main = Recipe(**{name: changes.pop(name, part) for name, part in parts.items()})
    setup = TrainingSetup(
        splits, keys, 0, PREPROCESSING, {"": main}, folder / "preprocessed", folder / "store"
    )
    return dataclasses.replace(setup, **changes)


def plan(
    folder: Path, splits: Splits, modality_sets: Sequence[str] = ("dose",), **changes: Any
) -> list[FoldTask]:
    return plan_folds(setup_of(folder, splits, **changes), modality_sets)


def write_project(project: Path, **sections: Any) -> CheckedCohort:
    """What the stages before `split` leave of twelve subjects, of whom the set dose is to be trained.

    sections: of params.yaml, each joined with what it holds.
    """
    labels = write_subjects(project / "work/preprocessed", 12).labels
    scans = {"post_op": "a", "event": "b", "dose": "c"}
    subjects = [CheckedSubject(participant_id=s, label=label, scans=scans) for s, label in labels.items()]
    cohort = CheckedCohort.of("data/demo", subjects)
    write_checked_cohort(cohort, project / "work/cohort/cohort.json")
    write_excluded([], project / "work/cohort/excluded.json")
    save_summary(project / "work/preprocessed", "volumes", dict.fromkeys(labels, "key"))
    params = read_params(PROJECT / "params.yaml").model_dump()
    params["preprocessing"] |= {"cube_voxels": CUBE}
    params["explain"] |= {"cube_voxels": 4, "stride_voxels": 2, "modality_sets": ["dose"]}
    params |= {"modality_sets": ["dose"], "variables": [], "network": NETWORK.model_dump()}
    params |= {"training": TRAINING.model_dump() | {"epochs": 1}, "execution": SERIAL.model_dump()}
    for name, changes in sections.items():
        params[name] |= changes
    write_json(project / "params.yaml", params)
    return cohort


def run_stage(name: str) -> None:
    runpy.run_path(str(PROJECT / "src/stages" / f"{name}.py"), run_name="__main__")


class Interrupted(Exception):
    """Stands for a kill."""


@dataclasses.dataclass
class InterruptAfter(EpochObserver):
    epoch: int

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        if epoch == self.epoch:
            raise Interrupted


@dataclasses.dataclass
class Recorder(EpochObserver):
    seen: list[tuple[str, int, EpochMetrics]] = dataclasses.field(default_factory=list)
    finished: list[Sequence[EpochMetrics]] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        self.seen.append((str(fold), epoch, metrics))

    def on_finished(self, fold: FoldIdentity, history: Sequence[EpochMetrics]) -> None:
        self.finished.append(history)

    def on_failed(self, folds: Sequence[FoldIdentity]) -> None:
        self.failed += [str(fold) for fold in folds]


def results(task: FoldTask) -> dict[str, bytes]:
    return {name: (task.folder / name).read_bytes() for name in (WEIGHTS, HISTORY, PREDICTIONS)}


def elsewhere(task: FoldTask, name: str) -> FoldTask:
    return dataclasses.replace(task, store=task.store / name)
