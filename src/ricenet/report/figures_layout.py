"""What the report's figures share: a panel a modality set, and a value with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ricenet.display.drawing import set_title, style
from ricenet.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_COLOUR, RULE_COLOUR = "#dddddd", "#595959"
WIDTH_INCHES = 8.4
_COLUMNS = 4


def panels(
    names: Sequence[str], draw: Callable[[Axes, str], None], x_label: str, y_label: str, height: float = 2.3
) -> Figure:
    """Axes from 0 to 1 a modality set, drawn by `draw`, with one legend for all.

    height: of a row, in inches.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with style():
        figure = Figure(
            figsize=(WIDTH_INCHES * columns / _COLUMNS + 0.4, height * rows + 0.5), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, name in zip(grid.flat, names, strict=False):
            draw(axes, name)
            axes.set_title(set_title(name), fontsize=9)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.grid(color=GRID_COLOUR, linewidth=0.5)
            axes.set_axisbelow(True)
        for axes in grid.flat[len(names) :]:
            axes.remove()
        figure.supxlabel(x_label, fontsize=9)
        figure.supylabel(y_label, fontsize=9)
        legend_above(figure, grid.flat[0])
    return figure


def legend_above(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One entry a label, over the figure; none where nothing has a label."""
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
    if first:
        order = sorted(first, key=labels.index)
        figure.legend(
            [first[label] for label in order],
            order,
            loc="outside upper center",
            ncols=min(columns, len(order)),
            frameon=False,
        )


def lengths(estimate: Estimate) -> list[list[float]]:
    """An interval's two arms [[below], [above]], as matplotlib wants them; none is negative."""
    return [
        [max(estimate.value - estimate.low, 0.0)],
        [max(estimate.high - estimate.value, 0.0)],
    ]


def across(axes: Axes, estimate: Estimate, y: float, **settings: Any) -> None:
    """A value as a point, with its interval as a horizontal line."""
    options = {"fmt": "o", "markersize": 5, "capsize": 2.5, "elinewidth": 1.3, **settings}
    axes.errorbar(estimate.value, y, xerr=lengths(estimate), **options)


def upright(axes: Axes, estimate: Estimate, x: float, **settings: Any) -> None:
    """A value as a point, with its interval as a vertical line."""
    options = {"fmt": "o", "markersize": 5, "capsize": 2.5, "elinewidth": 1.3, **settings}
    axes.errorbar(x, estimate.value, yerr=lengths(estimate), **options)
