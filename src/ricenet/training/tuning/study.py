"""A study in the database: opening it, drawing values, what is done and left to do, and what is best."""

from __future__ import annotations

import datetime
import logging
import warnings
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ricenet.runtime.randomness import seed_for
from ricenet.training.tuning.searches import GRACE, Search
from ricenet.training.tuning.storage import open_storage
from ricenet.training.tuning.trial_records import FoldScore, State, TrialRecord

logger = logging.getLogger(__name__)

SCORES, REASON, FOLDS, TRAINED = "scores", "reason", "folds", "trained"
"""What a trial notes of itself: its folds' scores, why it cannot be trained, its folds' keys, and which of
these it trained rather than found in the store."""

BEGUN = "begun"
"""Holds a trial's own number once it is at work; one that is queued again has the number before."""

WILCOXON_P = 0.2
"""With n folds the signed-rank test cannot fall below 1 / 2^n: at 0.2 a trial can stop after three folds that
are all worse than the best trial's, while at 0.1 it would take four, and of five folds save one."""

MEDIAN_TRIALS = 5
"""Trials before the median counts for anything."""

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


class CountedSampler(TPESampler):
    """TPE, started anew for every trial, seeded by the study's key and the trial's number.

    One seed for all would draw the first trials again when a search is resumed, and the same ones in two
    workers; numbers are given out by the database, each once.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Start anew for this trial."""
        # numpy takes 32 bits
        TPESampler.__init__(self, seed=seed_for("tuning", self._key, trial.number) % 2**32)
        super().before_trial(study, trial)


@dataclass(frozen=True)
class Progress:
    """Numbers of trials: complete or pruned, being trained, and impossible to train."""

    finished: int
    running: int
    failed: int


def open_study(search: Search) -> Study:
    """The study of a search, begun where it is new: its first trial has the settings of the parameter file.

    Raises TrainingError: the database cannot be used.
    """
    study = optuna.create_study(
        storage=open_storage(search.storage, search.heartbeat_s),
        study_name=search.study.name,
        direction="maximize",
        load_if_exists=True,
        sampler=CountedSampler(search.study.key),
        pruner=_pruner(search.pruner),
    )
    if not study.get_trials(deepcopy=False):
        _begin(study, search)
    return study


def _pruner(name: str) -> BasePruner:
    if name == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=WILCOXON_P)
    return MedianPruner(n_startup_trials=MEDIAN_TRIALS) if name == "median" else NopPruner()


def _begin(study: Study, search: Search) -> None:
    values = search.settings_of_params
    beyond = [name for name, (low, high) in search.ranges.items() if not low <= values[name] <= high]
    if beyond:
        logger.warning(
            "%s: the settings of the parameter file are not tried, since these lie beyond tuning.space: %s",
            study.study_name,
            ", ".join(f"{name} ({values[name]:g})" for name in beyond),
        )
    else:
        study.enqueue_trial(values, skip_if_exists=True)


def progress(study: Study, search: Search) -> Progress:
    """How far a study is, after trials whose process died have been queued again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
    _bury_unbegun(study, search)
    states = [state_of(trial) for trial in study.get_trials(deepcopy=False)]
    return Progress(
        states.count("complete") + states.count("pruned"), states.count("running"), states.count("failed")
    )


def _bury_unbegun(study: Study, search: Search) -> None:
    """Fail trials whose process died before their first heartbeat; Optuna would wait for them for ever."""
    latest = datetime.datetime.now() - datetime.timedelta(seconds=GRACE * search.heartbeat_s)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        unbegun = trial.user_attrs.get(BEGUN) != trial.number
        if unbegun and trial.datetime_start and trial.datetime_start < latest:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            queue_again(study, trial)


def queue_again(study: Study, trial: FrozenTrial) -> None:
    """Let the values of a trial that was interrupted be tried again, by whoever is first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, trial)


def state_of(trial: FrozenTrial) -> State:
    """What became of a trial."""
    if trial.state == TrialState.FAIL:
        return "failed" if REASON in trial.user_attrs else "interrupted"
    return _STATES[trial.state]


def best_trial(study: Study) -> FrozenTrial | None:
    """The complete trial with the highest merit, of equal ones the first; None where there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def record_of(trial: FrozenTrial) -> TrialRecord:
    """A trial as plain values."""
    return TrialRecord(
        trial.number,
        state_of(trial),
        dict(trial.params),
        tuple(FoldScore(*score) for score in trial.user_attrs.get(SCORES, ())),
        None if trial.duration is None else trial.duration.total_seconds(),
        trial.user_attrs.get(REASON),
    )
