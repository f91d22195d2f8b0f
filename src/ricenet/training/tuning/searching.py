"""Carrying out searches: several workers take trials of the same studies until there are enough."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import StoreError, TrainingError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.files import locked
from ricenet.runtime.ray.staging import StagedTask
from ricenet.runtime.store import LOCKS
from ricenet.training.concurrency import sized
from ricenet.training.staged_folds import staged_inputs, with_staged_inputs
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.storage import database_errors
from ricenet.training.tuning.study import Progress, best_trial, open_study, progress, record_of
from ricenet.training.tuning.trial import ScoreFold, discard_folds, run_trial, train_and_score
from ricenet.training.tuning.trial_records import TrialObserver

logger = logging.getLogger(__name__)

POLL_S = 10


@dataclass(frozen=True)
class Worker:
    """Takes trials of searches, the first search first, until all of them have enough."""

    number: int
    searches: Sequence[Search]
    score_fold: ScoreFold
    observer: TrialObserver


def search_settings(
    searches: Sequence[Search],
    execution: ExecutionParams,
    observer: TrialObserver | None = None,
    score_fold: ScoreFold = train_and_score,
) -> None:
    """Bring every study to its number of trials, complete or pruned; those of earlier runs count.

    observer: is called with every trial as it ends. score_fold: trains a fold and says how well it does.
    Raises TrainingError: no trial of a study could be trained, a worker failed, or the database cannot be
    used.
    """
    waiting = False
    while missing := [search for search in searches if not _is_over(search)]:
        if there_are := sum(open_trials(search) for search in missing):
            _share_out(missing, there_are, execution, score_fold, observer or TrialObserver())
        else:
            if not waiting:
                logger.info("tuning: waiting for trials of other workers, or of ones that died a moment ago")
            waiting = True
            time.sleep(min(POLL_S, missing[0].heartbeat_s))
    for search in searches:
        with database_errors(search.storage):
            _require_success(search)
            discard_folds(open_study(search), search.store, keep_best=search.keeps_folds)


def _share_out(
    searches: Sequence[Search],
    trials: int,
    execution: ExecutionParams,
    score_fold: ScoreFold,
    observer: TrialObserver,
) -> None:
    """Let as many workers as there is room for take the trials."""
    largest = max(searches, key=lambda search: len(search.tasks[0].members))
    sizing = sized(execution, largest.costliest_fold)
    workers = 1 if sizing.backend == "serial" else sizing.workers
    # a worker without a trial ends at once, and on a cluster nobody knows yet how many have room
    count = trials if workers == "auto" else min(trials, workers)
    outcomes = run_tasks(
        work,
        [Worker(number, searches, score_fold, observer) for number in range(count)],
        sizing.backend,
        workers,
        sizing.threads_per_worker,
        "tuning: workers",
        gpus_per_worker=sizing.gpus_per_worker,
        staging=staged_worker,
    )
    if errors := list(dict.fromkeys(outcome.error for outcome in outcomes if outcome.error is not None)):
        lines = "\n".join(f"  - {error}" for error in errors)
        raise TrainingError(
            f"tuning stopped (trials that have ended are kept, `dvc repro` goes on with the rest):\n{lines}"
        )


def _progress(search: Search) -> Progress:
    with database_errors(search.storage):
        return progress(open_study(search), search)


def _is_over(search: Search) -> bool:
    """Whether a study has its trials, or so many have failed that more are no use."""
    state = _progress(search)
    return state.finished >= search.trials or (state.failed >= search.trials and not state.running)


def open_trials(search: Search) -> int:
    """How many trials a study lacks that nobody is at; none where as many as are asked for have failed."""
    state = _progress(search)
    return 0 if state.failed >= search.trials else max(0, search.trials - state.finished - state.running)


def _require_success(search: Search) -> None:
    study = open_study(search)
    if best_trial(study) is not None:
        return
    reasons = [trial.reason for trial in map(record_of, study.get_trials()) if trial.reason]
    (commonest, times), *_ = Counter(map(_kind, reasons)).most_common(1)
    example = next(reason for reason in reasons if _kind(reason) == commonest)
    raise TrainingError(
        f"{study.study_name}: none of {len(reasons)} trials could be trained, {times} of them for such a "
        f"reason: {example}. Narrow tuning.space in params.yaml: another space begins another search"
    )


def _kind(reason: str) -> str:
    """A reason without its numbers: epochs and subjects differ from trial to trial."""
    return re.sub(r"\d[\w.+-]*", "#", reason)


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


def _take_trial(worker: Worker, search: Search) -> bool:
    """Run one more trial; False where none is open. Two workers of one machine never both take the last."""
    with database_errors(search.storage), ExitStack() as claim:
        claim.enter_context(locked(search.store / LOCKS / search.study.key))
        if open_trials(search) == 0:
            return False
        run_trial(open_study(search), search, worker.score_fold, worker.observer, begun=claim.close)
        return True


def staged_worker(worker: Worker) -> StagedTask[Worker]:
    """The volumes of everyone who takes part. Folds stay where they are trained: their scores are enough."""
    inputs: dict[str, Path] = {}
    for task in (task for search in worker.searches for task in search.tasks):
        inputs |= staged_inputs(task, task.subjects)
    # nothing is written into it
    folder = worker.searches[0].store / f"tuning-worker-{worker.number}"
    return StagedTask(inputs, folder, partial(_elsewhere, worker), last="ended")


def _elsewhere(worker: Worker, inputs: Mapping[str, Path], folder: Path) -> Worker:
    """The same worker with its volumes, and room for folds, where it lies there."""
    store = folder.parent / "folds"
    moved = [
        [with_staged_inputs(task, task.subjects, inputs, folder.parent, store) for task in search.tasks]
        for search in worker.searches
    ]
    searches = [replace(s, tasks=tuple(tasks)) for s, tasks in zip(worker.searches, moved, strict=True)]
    return replace(worker, searches=searches)
