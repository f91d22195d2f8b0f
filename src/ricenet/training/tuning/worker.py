"""A worker takes trials of searches one after another; on a cluster it brings its volumes along."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ricenet.preprocessing.network_input import VOLUMES_FILE
from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import locked
from ricenet.runtime.ray.staging import StagedTask
from ricenet.runtime.store import LOCKS
from ricenet.training.task import FoldTask
from ricenet.training.tuning.records import TrialObserver
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.storage import database_errors
from ricenet.training.tuning.study import open_study, progress
from ricenet.training.tuning.trial import ScoreFold, run_trial


@dataclass(frozen=True)
class Worker:
    """Takes trials of searches, the first search first, until all of them have enough."""

    number: int
    searches: Sequence[Search]
    score_fold: ScoreFold
    observer: TrialObserver


def work(worker: Worker) -> None:
    """Take trials as long as there are open ones.

    Raises TrainingError: the database cannot be used. StoreError: the disk is full. And whatever else
    interrupts a trial.
    """
    try:
        for search in worker.searches:
            while _take_trial(worker, search):
                pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            "the disk is full: make room (`ricenet store gc`, once no stage runs), then run again"
        ) from None


def open_trials(search: Search) -> int:
    """How many trials a study lacks that nobody is at; none where as many as are asked for have failed."""
    with database_errors(search.storage):
        state = progress(open_study(search), search)
    return 0 if state.failed >= search.trials else max(0, search.trials - state.finished - state.running)


def _take_trial(worker: Worker, search: Search) -> bool:
    """Run one more trial; False where none is open. Two workers of one machine never both take the last."""
    lock = search.tasks[0].store / LOCKS / search.study.key
    with database_errors(search.storage), ExitStack() as claim:
        claim.enter_context(locked(lock))
        if open_trials(search) == 0:
            return False
        run_trial(open_study(search), search, worker.score_fold, worker.observer, begun=claim.close)
        return True


def staged_worker(worker: Worker) -> StagedTask[Worker]:
    """The volumes of everyone who takes part. Folds stay where they are trained: their scores are enough."""
    inputs = {
        _input_key(task, subject): task.preprocessed / subject / VOLUMES_FILE
        for search in worker.searches
        for task in search.tasks
        for subject in task.labels
    }
    # nothing is written into it
    folder = worker.searches[0].tasks[0].store / f"tuning-worker-{worker.number}"
    return StagedTask(inputs, folder, partial(_elsewhere, worker), last="ended")


def _elsewhere(worker: Worker, inputs: Mapping[str, Path], folder: Path) -> Worker:
    """The same worker with its volumes, and room for folds, where it lies there."""
    preprocessed, store = folder.parent / "preprocessed", folder.parent / "folds"
    searches = []
    for search in worker.searches:
        tasks = [replace(task, preprocessed=preprocessed, store=store) for task in search.tasks]
        searches.append(replace(search, tasks=tuple(tasks)))
        for subject in tasks[0].labels:
            link = preprocessed / subject / VOLUMES_FILE
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(inputs[_input_key(tasks[0], subject)])
    return replace(worker, searches=searches)


def _input_key(task: FoldTask, subject: str) -> str:
    return f"{subject} {task.subject_keys[subject]}"
