"""Laying out what searches found: best.json for training, and a folder a study for people and MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ricenet.runtime.files import atomic_folder, write_json
from ricenet.training.tuning.plots import draw_search
from ricenet.training.tuning.records import STUDY, TRIALS, TrialRecord, write_study, write_trials
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.storage import database_errors
from ricenet.training.tuning.study import best_trial, open_study, record_of

BEST = "best.json"


def lay_out_tuning(searches: Sequence[Search], folds: int, folder: Path) -> None:
    """Write <folder>/best.json and, for every study, its trials, its figures and its best trial.

    folds: of the cross-validation. A search that is not nested gives each of them the same values.
    Raises TrainingError: the database cannot be used.
    """
    with atomic_folder(folder) as temporary:
        found = {}
        for modality_set in dict.fromkeys(search.modality_set for search in searches):
            of_set = [search for search in searches if search.modality_set == modality_set]
            best = [_lay_out_study(search, temporary / search.folder) for search in of_set]
            found[modality_set] = _entry(best, folds, nested=of_set[0].outer_fold is not None)
        write_json(temporary / BEST, found)


def _lay_out_study(search: Search, folder: Path) -> TrialRecord:
    with database_errors(search.storage):
        study = open_study(search)
        trials = [record_of(trial) for trial in study.get_trials()]
        best = best_trial(study)
        assert best is not None
        folder.mkdir(parents=True, exist_ok=True)
        write_trials(trials, search.study, folder / TRIALS)
        write_study(search.study, record_of(best), folder / STUDY)
        draw_search(study, search.study, trials, folder)
        return record_of(best)


def _entry(best: Sequence[TrialRecord], folds: int, *, nested: bool) -> Mapping[str, Any]:
    """macro_f1, log_loss: of the best trial; where nested, the mean over the outer folds' searches."""
    scores = [trial.score for trial in best if trial.score is not None]
    return {
        "nested": nested,
        "trials": [trial.number for trial in best],
        "folds": [dict(trial.values) for trial in (best if nested else [best[0]] * folds)],
        "macro_f1": float(np.mean([score.macro_f1 for score in scores])),
        "log_loss": float(np.mean([score.log_loss for score in scores])),
    }
