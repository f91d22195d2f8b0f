"""Searches whose folds are not trained: their scores follow from the settings, so that they take no time."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from ricenet.config.inputs import InputGrid
from ricenet.config.params import ExecutionParams, Params, read_params
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.store import seal
from ricenet.training.task import CodeState, FoldTask
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.study import open_study, record_of
from ricenet.training.tuning.trial_records import FoldScore, TrialRecord
from ricenet.vocabulary import Label

PARAMS: Params = read_params(Path(__file__).parents[1] / "params.yaml")
LEARNING_RATE = {"training.learning_rate": (1e-4, 1e-1)}
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
TWO = ExecutionParams(backend="processes", workers=2, threads_per_worker=1)


def small_search(
    folder: Path,
    trials: int = 4,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    folds: int = 4,
    pruner: str = "none",
    heartbeat_s: int = 1,
) -> Search:
    """A search for the learning rate on two subjects a fold, its database and store below `folder`."""
    subjects = [f"sub-{number:03d}" for number in range(2 * folds)]
    labels: dict[str, Label] = {s: "rice" if k % 2 else "recurrence" for k, s in enumerate(subjects)}
    tasks = tuple(
        FoldTask(
            modality_set="dose",
            fold=fold,
            seed=0,
            training=PARAMS.training,
            augmentation=PARAMS.augmentation,
            network=PARAMS.network,
            grid=InputGrid("head", 8, 20.0),
            labels=labels,
            training_subjects=tuple(s for k, s in enumerate(subjects) if k // 2 != fold),
            validation_subjects=tuple(subjects[2 * fold : 2 * fold + 2]),
            subject_keys={subject: f"volumes of {subject}" for subject in subjects},
            code="code",
            preprocessed=folder / "preprocessed",
            store=folder / "folds",
            code_state=CodeState(None, False),
        )
        for fold in range(folds)
    )
    storage = f"sqlite:///{folder / 'tuning.db'}"
    return Search(
        "dose", None, tasks, ranges or LEARNING_RATE, trials, pruner, storage, heartbeat_s=heartbeat_s
    )


@contextlib.contextmanager
def no_waiting_for_the_disk() -> Iterator[None]:
    """Spare sqlite the wait after every write; what a process writes is there for others without it."""

    def hurry(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)


def trials_of(search: Search) -> list[TrialRecord]:
    """Every trial of a search."""
    return [record_of(trial) for trial in open_study(search).get_trials()]


def states_of(search: Search) -> list[str]:
    """What became of every trial of a search."""
    return [trial.state for trial in trials_of(search)]


@dataclass(frozen=True)
class Scores:
    """Scores by the learning rate, best at 1e-2; folds differ in difficulty.

    calls: a file with a line a fold that was scored.
    """

    calls: Path

    def __call__(self, task: FoldTask) -> FoldScore:
        with self.calls.open("a") as stream:
            stream.write(f"{task.training.learning_rate!r} {task.fold}\n")
        leave_fold(task)
        return self.score(task)

    def score(self, task: FoldTask) -> FoldScore:
        distance = abs(math.log10(task.training.learning_rate) + 2)
        return FoldScore(0.9 - 0.2 * distance - 0.05 * task.fold, 0.3 + distance)

    @property
    def rates(self) -> list[float]:
        """The learning rates of the trials that were begun, in order."""
        return [float(line.split()[0]) for line in self.scored if line.endswith(" 0")]

    @property
    def scored(self) -> list[str]:
        """The folds that were scored, each with its learning rate."""
        return self.calls.read_text().splitlines() if self.calls.is_file() else []


def leave_fold(task: FoldTask) -> None:
    """What a trained fold leaves in the store."""
    task.folder.mkdir(parents=True, exist_ok=True)
    (task.folder / "fold.json").write_text("{}")
    seal(task.folder, ["fold.json"])


@dataclass(frozen=True)
class Ties(Scores):
    """Every trial has the same macro-F1; the log-loss is lowest at 1e-2."""

    def score(self, task: FoldTask) -> FoldScore:
        return FoldScore(0.5, super().score(task).log_loss)


@dataclass(frozen=True)
class NotFinite(Scores):
    """Rates above a limit cannot be trained."""

    limit: float = 1e-3

    def score(self, task: FoldTask) -> FoldScore:
        rate = task.training.learning_rate
        if rate > self.limit:
            raise TrainingError(f"dose, fold {task.fold}, epoch 3: the training loss is nan at {rate:g}")
        return super().score(task)


@dataclass(frozen=True)
class KilledOnce(Scores):
    """The process dies at one call, of those of all processes together."""

    at_call: int = 0

    def score(self, task: FoldTask) -> FoldScore:
        if len(self.scored) == self.at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(task)


@dataclass(frozen=True)
class InterruptedOnce(Scores):
    """Ctrl-C at one call."""

    at_call: int = 0

    def score(self, task: FoldTask) -> FoldScore:
        if len(self.scored) == self.at_call:
            raise KeyboardInterrupt
        return super().score(task)
