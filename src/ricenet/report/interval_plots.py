"""What the report's figures share: a panel a modality set, and a value with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ricenet.display.drawing import panel_title, style
from ricenet.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_COLOUR, RULE_COLOUR = "#dddddd", "#595959"
WIDTH_INCHES = 8.4
_COLUMNS = 4


def panels(
    titles: Mapping[str, str], draw: Callable[[Axes, str], None], x_label: str, y_label: str, height: float
) -> Figure:
    """Axes from 0 to 1 a modality set, drawn by `draw`, with one legend for all.

    titles: of the modality sets, in order. height: of a row, in inches.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    with style():
        size = (WIDTH_INCHES * columns / _COLUMNS + 0.4, height * rows + 0.5)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (name, title) in zip(grid.flat, titles.items(), strict=False):
            draw(axes, name)
            axes.set_title(panel_title(title), fontsize=8.5)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.grid(color=GRID_COLOUR, linewidth=0.5)
            axes.set_axisbelow(True)
        for axes in grid.flat[len(titles) :]:
            axes.remove()
        figure.supxlabel(x_label, fontsize=9)
        figure.supylabel(y_label, fontsize=9)
        legend_above(figure, grid.flat[0])
    return figure


def legend_above(figure: Figure, *panels: Axes, columns: int = 4) -> None:
    """One entry a label of any panel, over the figure; none where nothing has a label."""
    labelled = [pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    labels = [label for _, label in labelled]
    first = {label: handle for handle, label in reversed(labelled)}
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
    ends = (estimate.value - estimate.low, estimate.high - estimate.value)
    return [[max(length, 0.0)] for length in ends]


def point(axes: Axes, estimate: Estimate, at: float, upright: bool = False, **settings: Any) -> None:
    """A value as a point, with its interval as a line across at a height, or upright at a place."""
    options = {"fmt": "o", "markersize": 5, "capsize": 2.5, "elinewidth": 1.3, **settings}
    if upright:
        axes.errorbar(at, estimate.value, yerr=lengths(estimate), **options)
    else:
        axes.errorbar(estimate.value, at, xerr=lengths(estimate), **options)


def square(axes: Axes, diagonal: str) -> None:
    """Equal axes from 0 to 1 with a dotted diagonal, named in the legend."""
    axes.plot([0, 1], [0, 1], color=RULE_COLOUR, linestyle=":", linewidth=1, label=diagonal)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
