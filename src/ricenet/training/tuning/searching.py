"""Carrying out searches: several workers take trials of the same studies until there are enough."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Sequence

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import run_tasks
from ricenet.training.concurrency import packing_of
from ricenet.training.tuning.folds_kept import discard_folds
from ricenet.training.tuning.records import NoObserver, TrialObserver
from ricenet.training.tuning.searches import Search, as_value
from ricenet.training.tuning.storage import database_errors
from ricenet.training.tuning.study import best_trial, open_study, progress, record_of
from ricenet.training.tuning.trial import ScoreFold, train_and_score
from ricenet.training.tuning.worker import Worker, open_trials, staged_worker, work
from ricenet.vocabulary import channels

logger = logging.getLogger(__name__)

POLL_S = 10


def search_settings(
    searches: Sequence[Search],
    execution: ExecutionParams,
    observer: TrialObserver | None = None,
    score_fold: ScoreFold = train_and_score,
) -> None:
    """Bring every study to its number of trials, complete or pruned; those of earlier runs count.

    observer: is told every trial as it ends. score_fold: trains a fold and says how well it does.
    Raises TrainingError: no trial of a study could be trained, a worker failed, or the database cannot be
    used.
    """
    waiting = False
    while missing := [search for search in searches if not _is_over(search)]:
        if there_are := sum(open_trials(search) for search in missing):
            _work(missing, there_are, execution, score_fold, observer or NoObserver())
        else:
            if not waiting:
                logger.info("tuning: waiting for trials of other workers, or of ones that died a moment ago")
            waiting = True
            time.sleep(min(POLL_S, missing[0].heartbeat_s))
    for search in searches:
        _require_success(search)
        _clear_away(search)


def _work(
    searches: Sequence[Search],
    trials: int,
    execution: ExecutionParams,
    score_fold: ScoreFold,
    observer: TrialObserver,
) -> None:
    packing = _packing(searches, execution)
    # a worker without a trial ends at once, and on a cluster nobody knows yet how many have room
    count = trials if packing.workers == "auto" else min(trials, packing.workers)
    workers = [Worker(number, searches, score_fold, observer) for number in range(count)]
    outcomes = run_tasks(
        work,
        workers,
        packing.backend,
        packing.workers,
        packing.threads_per_worker,
        "tuning: workers",
        gpus_per_worker=packing.gpus_per_worker,
        staging=staged_worker,
    )
    if errors := list(dict.fromkeys(outcome.error for outcome in outcomes if outcome.error is not None)):
        lines = "\n".join(f"  - {error}" for error in errors)
        raise TrainingError(
            f"tuning stopped (trials that have ended are kept, `dvc repro` goes on with the rest):\n{lines}"
        )


def _packing(searches: Sequence[Search], execution: ExecutionParams) -> ExecutionParams:
    """How many trials side by side; what is "auto" is measured, with the largest batch that may be drawn."""
    if execution.backend == "serial":
        return execution.model_copy(update={"workers": 1})
    if execution.backend == "ray" or "auto" not in (execution.workers, execution.threads_per_worker):
        return execution
    search = max(searches, key=lambda search: len(channels(search.modality_set)))
    highest = {name: as_value(name, high) for name, (_, high) in search.ranges.items()}
    packing = packing_of(search.with_values(highest)[0], execution)
    return execution.model_copy(update={"workers": packing.workers, "threads_per_worker": packing.threads})


def _is_over(search: Search) -> bool:
    """Whether a study has its trials, or so many have failed that more are no use."""
    with database_errors(search.storage):
        state = progress(open_study(search), search)
    return state.finished >= search.trials or (state.failed >= search.trials and not state.running)


def _require_success(search: Search) -> None:
    with database_errors(search.storage):
        study = open_study(search)
        if best_trial(study) is not None:
            return
        reasons = [trial.reason for trial in map(record_of, study.get_trials()) if trial.reason]
    kinds = Counter(map(_kind, reasons))
    (commonest, times), *_ = kinds.most_common(1)
    example = next(reason for reason in reasons if _kind(reason) == commonest)
    raise TrainingError(
        f"{study.study_name}: none of {len(reasons)} trials could be trained, {times} of them for such a "
        f"reason: {example}. Narrow tuning.space in params.yaml: another space begins another search"
    )


def _kind(reason: str) -> str:
    """A reason without its numbers: epochs and subjects differ from trial to trial."""
    return re.sub(r"\d[\w.+-]*", "#", reason)


def _clear_away(search: Search) -> None:
    with database_errors(search.storage):
        discard_folds(open_study(search), search.tasks[0].store, keep_best=search.keeps_folds)
