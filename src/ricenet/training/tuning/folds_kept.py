"""Which folds of trials stay in the store: those of the best trial so far, and of trials that go on."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from ricenet.runtime.files import PARTIAL, locked, read_json
from ricenet.runtime.store import IN_USE, LOCKS, Store
from ricenet.training.tuning.study import FOLDS, TRAINED, best_trial, state_of


@contextlib.contextmanager
def holding(store: Path, key: str) -> Iterator[None]:
    """Keep a fold from being trained by others at the same time, and from being deleted."""
    with locked(store / LOCKS / key):
        yield


def note_in_use(store: Path, keys: Iterable[str]) -> None:
    """Keep folds from being swept, beside those that are in use already."""
    with locked(store / LOCKS / IN_USE):
        path = store / IN_USE
        known = read_json(path) if path.is_file() else []
        Store(store).use([*known, *keys])


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
        # by way of a rename: a kill in between leaves no half of it under its name
        away = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=store))
        (store / key).replace(away)
        shutil.rmtree(away)
