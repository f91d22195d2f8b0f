"""One trial: values are drawn, folds trained one after another, and it stops early where it is losing.

Of the folds of trials those of the best one so far stay in the store, and those of trials that go on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from pathlib import Path

from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ricenet.config.tuned import Values
from ricenet.config.tuning import SEARCHED
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.files import locked, read_known
from ricenet.runtime.store import IN_USE, LOCKS, Store, discard
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.study import (
    BEGUN,
    FOLDS,
    REASON,
    SCORES,
    TRAINED,
    best_trial,
    queue_again,
    record_of,
    state_of,
)
from ricenet.training.tuning.trial_records import (
    FoldScore,
    TrialObserver,
    TrialRecord,
    mean_score,
    merit,
    score_of,
)

logger = logging.getLogger(__name__)

ScoreFold = Callable[[FoldTask], FoldScore]


def train_and_score(task: FoldTask) -> FoldScore:
    """Train a fold, from its last checkpoint if it has one, unless it is trained already.

    Raises TrainingError: it cannot be trained with these settings.
    """
    from ricenet.training.fold import train_fold

    train_fold(task)
    return score_of(read_predictions(task.folder / PREDICTIONS))


def run_trial(
    study: Study,
    search: Search,
    score_fold: ScoreFold,
    observer: TrialObserver,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Run the next trial of a study, record it, and delete the folds that nobody needs any more.

    begun: is called once the trial counts as running.
    Settings with which no fold can be trained make a failed trial. Whatever else ends a trial before its
    time queues its values again, and is raised.
    """
    objective = _Objective(search, score_fold, begun)
    try:
        study.optimize(objective, n_trials=1, catch=(TrainingError,))
    except BaseException as error:
        if objective.was_taken_over(error):
            logger.warning("%s: trial %d went to another worker", study.study_name, objective.number)
            return
        _queue_if_failed(study, objective.number)
        raise
    trial = record_of(_frozen(study, objective.number))
    logger.info("%s: %s", study.study_name, _reported(trial, study))
    observer.on_trial(search.study, trial)
    discard_folds(study, search.store, keep_best=True)


class _Objective:
    """What Optuna maximises. number: of the trial at hand."""

    number = -1

    def __init__(self, search: Search, score_fold: ScoreFold, begun: Callable[[], None]) -> None:
        self._search, self._score_fold, self._begun = search, score_fold, begun
        self._error: BaseException | None = None

    def __call__(self, trial: Trial) -> float:
        self._begun()
        self.number = trial.number
        trial.set_user_attr(BEGUN, trial.number)
        try:
            return self._merit(trial)
        except TrainingError as error:
            trial.set_user_attr(REASON, str(error))
            raise
        except BaseException as error:
            self._error = error
            raise

    def was_taken_over(self, error: BaseException) -> bool:
        """Whether an error means that this process stood still for so long that it was taken for dead."""
        own = self._error is not None and not isinstance(self._error, UpdateFinishedTrialError)
        return isinstance(error, UpdateFinishedTrialError | ValueError) and not own and self.number >= 0

    def _merit(self, trial: Trial) -> float:
        search, scores = self._search, list[FoldScore]()
        tasks = search.with_values(_draw(trial, search))
        trial.set_user_attr(FOLDS, [task.key for task in tasks])
        note_in_use(tasks[0].store, (task.key for task in tasks))
        known = _known_scores(trial)
        for fold, task in enumerate(tasks):
            scores.append(known[fold] if fold < len(known) else self._score(trial, task))
            trial.set_user_attr(SCORES, [astuple(score) for score in scores])
            # the signed-rank test pairs folds; the median compares what is known so far. Both look at
            # macro-F1 alone: a tie after some folds is no reason to stop
            trial.report(mean_score(scores[-1:] if search.pruner == "wilcoxon" else scores).macro_f1, fold)
            if fold + 1 < len(tasks) and trial.should_prune():
                # not as complete with its partial mean: folds differ, so an easy first one would flatter it
                raise TrialPruned
        return merit(scores)

    def _score(self, trial: Trial, task: FoldTask) -> FoldScore:
        with holding(task.store, task.key):
            trained = trial.user_attrs.get(TRAINED, [])
            if not task.is_finished and task.key not in trained:
                trial.set_user_attr(TRAINED, [*trained, task.key])
            return self._score_fold(task)


def _draw(trial: Trial, search: Search) -> Values:
    """Values of the trial: those that were queued, else new ones."""
    values: dict[str, float | int] = {}
    for name, (low, high) in search.ranges.items():
        if SEARCHED[name] == "whole":
            values[name] = trial.suggest_int(name, int(low), int(high))
        else:
            values[name] = trial.suggest_float(name, low, high, log=SEARCHED[name] == "logarithmic")
    return values


def _known_scores(trial: Trial) -> list[FoldScore]:
    """Scores of a trial with the very same values; they come up again where few are to choose from."""
    for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if other.params == trial.params:
            return list(record_of(other).scores)
    return []


def _frozen(study: Study, number: int) -> FrozenTrial:
    return next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)


def _queue_if_failed(study: Study, number: int) -> None:
    if number >= 0 and (trial := _frozen(study, number)).state == TrialState.FAIL:
        queue_again(study, trial)


def _reported(trial: TrialRecord, study: Study) -> str:
    if trial.score is None or trial.state == "failed":
        return f"trial {trial.number} {trial.state}: {trial.reason}"
    best = best_trial(study)
    so_far = "" if best is None else f"; best {best.value:.3f}, trial {best.number}"
    score = f"macro-F1 {trial.score.macro_f1:.3f}, log-loss {trial.score.log_loss:.3f}"
    folds = f" after {len(trial.scores)} folds" if trial.state == "pruned" else ""
    return f"trial {trial.number} {trial.state}{folds}: {score}{so_far}"


@contextlib.contextmanager
def holding(store: Path, key: str) -> Iterator[None]:
    """Keep a fold from being trained by others at the same time, and from being deleted."""
    with locked(store / LOCKS / key):
        yield


def note_in_use(store: Path, keys: Iterable[str]) -> None:
    """Keep folds from being swept, beside those that are in use already."""
    with locked(store / LOCKS / IN_USE):
        Store(store).use([*(read_known(store / IN_USE, list) or []), *keys])


def discard_folds(study: Study, store: Path, *, keep_best: bool) -> None:
    """Delete the folds of trials that have ended, apart from those of the best one and of trials that go on.

    Folds that a trial only found in the store are another's and stay.
    """
    trials = study.get_trials(deepcopy=False)
    going_on = [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    best = best_trial(study) if keep_best else None
    kept = {
        key for trial in [*going_on, *([best] if best else [])] for key in trial.user_attrs.get(FOLDS, ())
    }
    ended = [trial for trial in trials if state_of(trial) in ("complete", "pruned", "failed")]
    for key in {key for trial in ended for key in trial.user_attrs.get(TRAINED, ())} - kept:
        if (store / key).is_dir():
            _discard(store, key)


def _discard(store: Path, key: str) -> None:
    # whoever holds it is about to use it; the next to end a trial will look again
    with contextlib.suppress(BlockingIOError), locked(store / LOCKS / key, wait=False):
        discard(store / key)
