"""What is to be searched: one study a modality set, or one for each fold of it where nested.

Source: Varma and Simon 2006 (nested cross-validation); the paper of RICE-NET does not tune.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ricenet.cohort.dealing import as_folds, deal_folds
from ricenet.cohort.splits import Splits
from ricenet.config.params import PARAMS_FILE, ExecutionParams
from ricenet.config.training import TrainingOverride
from ricenet.config.tuned import Tuned, Values, refuse_overridden, with_values
from ricenet.config.tuning import SEARCHED, TuningParams
from ricenet.runtime.errors import ParamsError, SplitError
from ricenet.runtime.files import content_digest
from ricenet.runtime.randomness import seed_for
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import FoldTask
from ricenet.training.tuning.trial_records import StudyRecord
from ricenet.vocabulary import LABELS

SQLITE = "sqlite:///"
STORAGE = f"{SQLITE}work/store/tuning.db"
"""The searches' database where the parameter file names none; never that of MLflow."""

HEARTBEAT_S = 30
GRACE = 3
"""Heartbeats that a trial may miss before its process counts as dead."""

OBJECTIVE = "mean macro-F1, ties by mean log-loss"


@dataclass(frozen=True)
class Search:
    """One study: a modality set, the folds on which a trial is judged, and how far it may look.

    tasks: the folds with the settings of the parameter file. storage: address of the database.
    keeps_folds: whether the best trial's folds are those that training will ask for.
    """

    modality_set: str
    outer_fold: int | None
    tasks: tuple[FoldTask, ...]
    ranges: Mapping[str, tuple[float, float]]
    trials: int
    pruner: str
    storage: str = STORAGE
    keeps_folds: bool = True
    heartbeat_s: int = HEARTBEAT_S

    @cached_property
    def study(self) -> StudyRecord:
        """The study as it is recorded. Its key holds what determines a trial's score.

        So it holds neither the number of trials nor the pruner, which may change while a search goes on,
        nor what the parameter file says of settings that are searched.
        """
        lowest = {name: as_value(name, low) for name, (low, _) in self.ranges.items()}
        folds = [task.key for task in self.with_values(lowest)]
        ranges = {name: list(pair) for name, pair in self.ranges.items()}
        return StudyRecord(
            content_digest({"folds": folds, "ranges": ranges, "objective": OBJECTIVE}),
            self.modality_set,
            self.outer_fold,
            len(self.tasks),
            self.tasks[0].epochs,
            self.pruner,
            self.ranges,
        )

    @property
    def store(self) -> Path:
        """Where folds are kept."""
        return self.tasks[0].store

    @property
    def folder(self) -> Path:
        """Where the results are laid out, below that of all searches."""
        name = "" if self.outer_fold is None else f"fold-{self.outer_fold}"
        return Path(self.modality_set) / name

    @property
    def settings_of_params(self) -> dict[str, float | int]:
        """What the parameter file says of the settings that are searched."""
        return {name: self.tasks[0].parameters[name] for name in self.ranges}

    @property
    def costliest_fold(self) -> FoldTask:
        """A fold with the highest value of everything, such as the largest batch that may be drawn."""
        return self.with_values({name: as_value(name, high) for name, (_, high) in self.ranges.items()})[0]

    def with_values(self, values: Values) -> tuple[FoldTask, ...]:
        """The folds with some settings replaced."""
        return tuple(_with_values(task, values) for task in self.tasks)


def as_value(name: str, number: float) -> float | int:
    """A number as the setting of this name takes it."""
    return int(number) if SEARCHED[name] == "whole" else float(number)


def _with_values(task: FoldTask, values: Values) -> FoldTask:
    training, augmentation = with_values(values, task.training, task.augmentation)
    return replace(task, training=training, augmentation=augmentation)


def plan_searches(tuning: TuningParams, setup: TrainingSetup) -> list[Search]:
    """The searches of every set to be tuned, over folds of the development set; test subjects have no part.

    Raises ParamsError: a setting is both searched and set for its set. ScanError: a subject is not
    preprocessed. SplitError: too few subjects for inner folds.
    """
    refuse_overridden(
        dict.fromkeys(tuning.modality_sets, tuning.ranges), setup.recipes[""].training.overrides
    )
    outer: list[int | None] = [*range(len(setup.splits.folds))] if tuning.nested else [None]
    return [_search(tuning, setup, name, fold) for name in tuning.modality_sets for fold in outer]


def _search(tuning: TuningParams, setup: TrainingSetup, modality_set: str, fold: int | None) -> Search:
    splits = setup.splits if fold is None else inner_splits(setup.splits, fold, setup.seed)
    tasks = plan_folds(replace(setup, splits=splits, tuned=Tuned()), [modality_set])
    epochs = tuning.epochs or tasks[0].epochs
    shortened = tasks[0].training
    if tuning.epochs is not None:
        shortened = shortened.changed_by(TrainingOverride(epochs=epochs))
    return Search(
        modality_set,
        fold,
        tuple(replace(task, training=shortened) for task in tasks),
        tuning.ranges,
        tuning.trials,
        tuning.pruner,
        tuning.storage or STORAGE,
        keeps_folds=fold is None and epochs == tasks[0].epochs,
    )


def inner_splits(splits: Splits, fold: int, seed: int) -> Splits:
    """As many stratified folds as there are outer ones, of an outer fold's training subjects alone.

    The result holds no one else: neither the fold's validation subjects nor the test set.
    Raises SplitError: too few training subjects of a label.
    """
    # first events alone: later visits go with their patients
    subjects = [subject for subject in splits.training_subjects(fold) if subject in splits.labels]
    labels = {subject: splits.labels[subject] for subject in subjects}
    count, found = len(splits.folds), Counter(labels.values())
    if min(found[label] for label in LABELS) < count:
        counts = " and ".join(f"{found[label]} {label}" for label in LABELS)
        raise SplitError(
            f"tuning.nested: {count} inner folds need at least {count} training subjects of each label in "
            f"fold {fold}, found {counts}; add subjects, lower split.folds, or set tuning.nested to false"
        )
    dealt = deal_folds(labels, count, seed_for("inner folds", seed, fold))
    later = {event: visits for event, visits in splits.later.items() if event in labels}
    return Splits(labels, as_folds(dealt, count), (), later)


def refuse_sqlite_on_a_cluster(tuning: TuningParams, execution: ExecutionParams) -> None:
    """Make sure that trials on several machines have a database that all of them reach.

    Raises ParamsError.
    """
    if execution.backend == "ray" and (tuning.storage or STORAGE).startswith(SQLITE):
        problem = (
            "tuning.storage: a sqlite file is not reached from the nodes of a Ray cluster "
            "(execution.backend ray); name a database as postgresql://host/database"
        )
        raise ParamsError(PARAMS_FILE.name, [problem])
