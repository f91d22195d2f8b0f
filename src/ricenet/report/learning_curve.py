"""How many subjects are enough: the figure and the sentences of the learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR, style
from ricenet.evaluation.evidence.learning_curve import CURVE_SCORES, LearningCurve, ScoreCurve
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.scores import SCORES
from ricenet.report.interval_plots import GRID_COLOUR, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _PANEL_INCHES = 3, (3.0, 2.9)
_LEAST_INCHES = 6.4
"""Of the width: the text below a single panel is longer than the panel."""

_LOOKS = {"macro_f1": (VALIDATION_COLOUR, "o"), "auc": (TEST_COLOUR, "s")}


def curve_sentences(curve: LearningCurve) -> list[str]:
    """What each score's curve tells, a sentence or two each."""
    return [_sentence(SCORES[name], getattr(curve, name)) for name in CURVE_SCORES]


def _sentence(title: str, curve: ScoreCurve) -> str:
    first, last = curve.points[0], curve.points[-1]
    title = title[0].upper() + title[1:]
    seen = (
        f"{title}: {first.score.text()} from {first.subjects} subjects, {last.score.text()} from all "
        f"{last.subjects}"
    )
    if curve.refusal:
        return f"{seen}. No forecast: {curve.refusal}."
    ahead = "; ".join(
        f"from {forecast.growth:g} times the subjects ({forecast.subjects}) it is expected between "
        f"{forecast.score.low:.2f} and {forecast.score.high:.2f}, and judging that many would give an "
        f"interval {forecast.interval_width:.2f} wide"
        for forecast in curve.forecasts
    )
    told = f"A curve from {first.subjects} to {last.subjects} subjects cannot tell more."
    return f"{seen}; {ahead}. {told}" if ahead else f"{seen}."


class CurveRow(NamedTuple):
    """A row of the table: one size. scores: of macro-F1 and AUC the value, and the width of its interval."""

    seen: str
    subjects: int
    scores: tuple[tuple[Estimate | None, float | None], ...]


def curve_rows(curve: LearningCurve) -> list[CurveRow]:
    """Sizes that were trained, then those that are forecast for either score."""
    both = [getattr(curve, name) for name in CURVE_SCORES]
    rows = [
        CurveRow(_draws(len(points[0].draws)), points[0].subjects, tuple((p.score, None) for p in points))
        for points in zip(*(of.points for of in both), strict=True)
    ]
    ahead = [{f.subjects: (f.score, f.interval_width) for f in of.forecasts} for of in both]
    return rows + [
        CurveRow("expected", subjects, tuple(of.get(subjects, (None, None)) for of in ahead))
        for subjects in sorted(set().union(*ahead))
    ]


def _draws(count: int) -> str:
    return "seen" if count == 1 else f"seen, {count} draws"


def learning_curve_figure(curves: Mapping[str, LearningCurve], titles: Mapping[str, str]) -> Figure:
    """A panel a modality set: each draw, each size's mean with its interval, the law, and its forecasts."""
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    width, height = _PANEL_INCHES
    size = (max(width * columns + 0.6, _LEAST_INCHES), height * rows + 0.6)
    with style():
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
            for score in CURVE_SCORES:
                _draw(axes, SCORES[score], getattr(curve, score), *_LOOKS[score])
            _finish(axes, curve, titles[name])
        for axes in grid.flat[len(curves) :]:
            axes.remove()
        figure.supxlabel(
            "subjects in the cohort, of whom each network learns from the other folds'; logarithmic",
            fontsize=9,
        )
        figure.supylabel("score", fontsize=9)
        legend_above(figure, *grid.flat[: len(curves)], columns=3)
    return figure


def _draw(axes: Axes, title: str, curve: ScoreCurve, colour: str, form: str) -> None:
    # side by side, so that neither hides the other
    aside = 0.985 if form == "o" else 1.015
    for point in curve.points:
        x = point.subjects * aside
        axes.plot([x] * len(point.draws), point.draws, ".", color=colour, alpha=0.4, markersize=4)
        axes.plot([x, x], [point.score.low, point.score.high], color=colour, linewidth=1.4)
    sizes, means = zip(*((p.subjects * aside, p.score.value) for p in curve.points), strict=True)
    axes.plot(sizes, means, form, color=colour, markersize=5, linestyle="none", label=title)
    if curve.law is None or not curve.forecasts:
        return
    n = np.geomspace(curve.points[0].subjects, curve.forecasts[-1].subjects, 60)
    axes.plot(n, [curve.law.score(x) for x in n], color=colour, linewidth=1, linestyle=(0, (4, 2)))
    for forecast in curve.forecasts:
        x = forecast.subjects * aside
        label = f"{title}, expected" if forecast is curve.forecasts[0] else None
        axes.plot(
            [x, x],
            [forecast.score.low, forecast.score.high],
            color=colour,
            linewidth=5,
            alpha=0.35,
            label=label,
        )


def _finish(axes: Axes, curve: LearningCurve, title: str) -> None:
    ahead = {forecast.subjects for name in CURVE_SCORES for forecast in getattr(curve, name).forecasts}
    sizes = sorted({point.subjects for point in curve.macro_f1.points} | ahead)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes], fontsize=8)
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_title(title, fontsize=8.5)
    axes.grid(color=GRID_COLOUR, linewidth=0.5)
    axes.set_axisbelow(True)
