"""Laying out what searches found: best.json for training, and a folder a study with tables and figures.

Figures show how it went on, which settings mattered, and where their good values lie. They are drawn here and
not by Optuna, whose slices of fifteen settings are one row of fifteen figures, and which neither sets trials
apart that were stopped nor leaves matplotlib's global state alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study

from ricenet.config.tuning import SEARCHED
from ricenet.display.drawing import save_figure
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.training.tuning.searches import Search
from ricenet.training.tuning.storage import database_errors
from ricenet.training.tuning.study import best_trial, open_study, record_of
from ricenet.training.tuning.trial_records import (
    STUDY,
    TRIALS,
    StudyRecord,
    TrialRecord,
    mean_score,
    write_study,
    write_trials,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = "best.json"
HISTORY, IMPORTANCE, SLICES = "history.png", "importance.png", "slices.png"
LEAST_FOR_IMPORTANCE = 10
"""Trials with a score; of fewer, importance would be noise."""

_COLUMNS = 5
_BLUE, _GREY, _ORANGE = "#0072B2", "#8c8c8c", "#E69F00"
_LABEL = "macro-F1, mean over folds"


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
    score = mean_score([trial.score for trial in best if trial.score is not None])
    return {
        "nested": nested,
        "trials": [trial.number for trial in best],
        "folds": [dict(trial.values) for trial in (best if nested else [best[0]] * folds)],
        "macro_f1": score.macro_f1,
        "log_loss": score.log_loss,
    }


def draw_search(study: Study, record: StudyRecord, trials: Sequence[TrialRecord], folder: Path) -> None:
    """Write the figures of a study; that of importance where enough trials are complete."""
    scored = [trial for trial in trials if trial.state in ("complete", "pruned") and trial.score]
    save_figure(_history(scored, record), folder / HISTORY)
    save_figure(_slices(scored, record), folder / SLICES)
    if found := _importances(study, scored):
        save_figure(_importance(found), folder / IMPORTANCE)


def _importances(study: Study, trials: Sequence[TrialRecord]) -> Mapping[str, float]:
    """Setting -> share of the variance, the largest first; empty where trials are too few or equal.

    Trials that were stopped count with the mean of their folds: what was wrong with them is what is asked.
    """
    score_of = {trial.number: trial.score.macro_f1 for trial in trials if trial.score}
    if len(score_of) < LEAST_FOR_IMPORTANCE or len(set(score_of.values())) == 1:
        return {}
    copy = optuna.create_study(direction="maximize")
    copy.add_trials(
        optuna.create_trial(params=t.params, distributions=t.distributions, value=score_of[t.number])
        for t in study.get_trials(deepcopy=False)
        if t.number in score_of
    )
    return get_param_importances(copy, evaluator=FanovaImportanceEvaluator(seed=0))


def _history(trials: Sequence[TrialRecord], record: StudyRecord) -> Figure:
    figure = _figure(6.4, 3.8)
    axes = figure.add_subplot()
    _scatter(axes, trials, [trial.number for trial in trials])
    complete = [trial for trial in trials if trial.state == "complete"]
    best = np.maximum.accumulate([_macro_f1(trial) for trial in complete])
    numbers = [trial.number for trial in complete]
    axes.step(numbers, best, where="post", color=_ORANGE, label="best so far", zorder=1)
    nested = "" if record.outer_fold is None else f", inner folds of fold {record.outer_fold}"
    axes.set(xlabel="trial", ylabel=_LABEL, title=f"{record.modality_set}{nested}")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _importance(found: Mapping[str, float]) -> Figure:
    figure = _figure(6.4, 1.2 + 0.28 * len(found))
    axes = figure.add_subplot()
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names], color=_BLUE)
    axes.set(xlabel="share of the variance (fANOVA)", xlim=(0, 1))
    return figure


def _slices(trials: Sequence[TrialRecord], record: StudyRecord) -> Figure:
    rows = -(-len(record.ranges) // _COLUMNS)
    columns = min(_COLUMNS, len(record.ranges))
    figure = _figure(0.8 + 2.4 * columns, 0.4 + 2.3 * rows)
    for position, (name, limits) in enumerate(record.ranges.items()):
        axes = figure.add_subplot(rows, columns, position + 1)
        _scatter(axes, trials, [trial.values[name] for trial in trials])
        axes.set_title(name.removeprefix("training.").removeprefix("augmentation."), fontsize=8)
        axes.set(xscale="log" if SEARCHED[name] == "logarithmic" else "linear", xlim=limits)
        axes.margins(x=0.05)
        axes.tick_params(labelsize=7)
    figure.supylabel(_LABEL, fontsize=9)
    return figure


def _scatter(axes: Axes, trials: Sequence[TrialRecord], x: Sequence[float]) -> None:
    for state, label, style in (
        ("complete", "complete", {"color": _BLUE}),
        ("pruned", "stopped early (over its first folds)", {"facecolors": "none", "edgecolors": _GREY}),
    ):
        chosen = [place for place, trial in enumerate(trials) if trial.state == state]
        places = [x[place] for place in chosen], [_macro_f1(trials[place]) for place in chosen]
        axes.scatter(*places, s=18, label=label, clip_on=False, zorder=2, **style)  # type: ignore[arg-type]


def _macro_f1(trial: TrialRecord) -> float:
    assert trial.score is not None
    return trial.score.macro_f1


def _figure(width_in: float, height_in: float) -> Figure:
    # without pyplot, so that no display and no state of the program is touched
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")
