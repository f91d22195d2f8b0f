"""Flip rates and changes of p_rice as a table of coloured cells: perturbations down, modality sets across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ricenet.display.drawing import style
from ricenet.evaluation.robustness.effects import Robustness
from ricenet.vocabulary import is_rice_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Measure = Literal["flip_rate", "absolute_change"]
_PANELS: tuple[tuple[Measure, str], ...] = (
    ("flip_rate", "answers that change sides (share, 95 %)"),
    ("absolute_change", "mean size of the change of p_rice (95 %)"),
)
_OF_LABELS: Mapping[Measure, str] = {
    "flip_rate": "answers that become another label (share, 95 %)",
    "absolute_change": "mean size of the change of the label's probability (95 %)",
}
_DARK = 0.55


def robustness_figure(robustness: Robustness) -> Figure:
    """Both measures with their intervals; an empty cell: the set does not see what is perturbed."""
    from matplotlib.figure import Figure

    names = robustness.volumes.in_order(robustness.effects)
    rows = _row_titles(robustness, names)
    with style():
        size = (2.6 + 2 * 0.9 * len(names), 1.3 + 0.42 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, (measure, title) in zip((left, right), _PANELS, strict=True):
            _draw_panel(axes, robustness, names, rows, measure)
            axes.set_title(title if is_rice_task(robustness.label_names) else _OF_LABELS[measure])
        left.set_yticks(range(len(rows)), rows)
    return figure


def _row_titles(robustness: Robustness, names: Sequence[str]) -> list[str]:
    """Every perturbation once; sets with fewer keep the order of those with more."""
    longest = sorted(names, key=lambda name: -len(robustness.effects[name]))
    return list(dict.fromkeys(e.full_title() for name in longest for e in robustness.effects[name]))


def _draw_panel(
    axes: Axes, robustness: Robustness, names: Sequence[str], rows: Sequence[str], measure: Measure
) -> None:
    values = np.full((len(rows), len(names)), np.nan)
    for column, name in enumerate(names):
        for effect in robustness.effects[name]:
            row, estimate = rows.index(effect.full_title()), getattr(effect, measure)
            values[row, column] = estimate.value
            colour = "white" if estimate.value > _DARK else "black"
            axes.text(column, row - 0.16, f"{estimate.value:.2f}", ha="center", va="center", color=colour)
            interval = f"{estimate.low:.2f} to {estimate.high:.2f}"
            axes.text(column, row + 0.25, interval, ha="center", va="center", color=colour, fontsize=6)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    titles = [robustness.volumes.set_title(name, "\n+ ") for name in names]
    axes.set_xticks(range(len(names)), titles, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
