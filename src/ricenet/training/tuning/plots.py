"""Figures of a search: how it went on, which settings mattered, and where their good values lie.

Drawn here and not by Optuna, whose slices of fifteen settings are one row of fifteen figures, and which
neither sets trials apart that were stopped nor leaves matplotlib's global state alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study

from ricenet.config.tuning import SEARCHED
from ricenet.runtime.files import atomic_path
from ricenet.training.tuning.records import StudyRecord, TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HISTORY, IMPORTANCE, SLICES = "history.png", "importance.png", "slices.png"
LEAST_FOR_IMPORTANCE = 10
"""Trials with a score; of fewer, importance would be noise."""

DPI = 120
_COLUMNS = 5
_BLUE, _GREY, _ORANGE = "#0072B2", "#8c8c8c", "#E69F00"
_LABEL = "macro-F1, mean over folds"


def draw_search(study: Study, record: StudyRecord, trials: Sequence[TrialRecord], folder: Path) -> None:
    """Write the figures of a study; that of importance where enough trials are complete."""
    scored = [trial for trial in trials if trial.state in ("complete", "pruned") and trial.score]
    _save(_history(scored, record), folder / HISTORY)
    _save(_slices(scored, record), folder / SLICES)
    if found := _importances(study, scored):
        _save(_importance(found), folder / IMPORTANCE)


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
    figure, axes = _figure(6.4, 3.8)
    _scatter(axes, trials, [trial.number for trial in trials])
    complete = [trial for trial in trials if trial.state == "complete"]
    best = [max(_macro_f1(other) for other in complete[: n + 1]) for n in range(len(complete))]
    numbers = [trial.number for trial in complete]
    axes.step(numbers, best, where="post", color=_ORANGE, label="best so far", zorder=1)
    axes.set_xlabel("trial")
    axes.set_ylabel(_LABEL)
    axes.set_title(_title(record))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _importance(found: Mapping[str, float]) -> Figure:
    figure, axes = _figure(6.4, 1.2 + 0.28 * len(found))
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names], color=_BLUE)
    axes.set_xlabel("share of the variance (fANOVA)")
    axes.set_xlim(0, 1)
    return figure


def _slices(trials: Sequence[TrialRecord], record: StudyRecord) -> Figure:
    rows = -(-len(record.ranges) // _COLUMNS)
    columns = min(_COLUMNS, len(record.ranges))
    figure, _ = _figure(0.8 + 2.4 * columns, 0.4 + 2.3 * rows, axes=False)
    for position, (name, limits) in enumerate(record.ranges.items()):
        axes = figure.add_subplot(rows, columns, position + 1)
        _scatter(axes, trials, [trial.values[name] for trial in trials])
        axes.set_title(name.removeprefix("training.").removeprefix("augmentation."), fontsize=8)
        axes.set_xscale("log" if SEARCHED[name] == "logarithmic" else "linear")
        axes.set_xlim(*limits)
        axes.margins(x=0.05)
        axes.tick_params(labelsize=7)
    figure.supylabel(_LABEL, fontsize=9)
    return figure


def _scatter(axes: Axes, trials: Sequence[TrialRecord], x: Sequence[float]) -> None:
    for state, look in (
        ("complete", {"color": _BLUE}),
        ("pruned", {"facecolors": "none", "edgecolors": _GREY}),
    ):
        chosen = [place for place, trial in enumerate(trials) if trial.state == state]
        label = "complete" if state == "complete" else "stopped early (over its first folds)"
        places = [x[place] for place in chosen], [_macro_f1(trials[place]) for place in chosen]
        axes.scatter(*places, s=18, label=label, clip_on=False, zorder=2, **look)  # type: ignore[arg-type]


def _macro_f1(trial: TrialRecord) -> float:
    assert trial.score is not None
    return trial.score.macro_f1


def _title(record: StudyRecord) -> str:
    nested = "" if record.outer_fold is None else f", inner folds of fold {record.outer_fold}"
    return f"{record.modality_set}{nested}"


def _figure(width_in: float, height_in: float, *, axes: bool = True) -> tuple[Figure, Any]:
    # without pyplot, so that no display and no state of the program is touched
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot() if axes else None


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": None}, facecolor="white")
