"""Macro-F1 of the modality sets beside the paper's (its figure 2), confusion matrices, and learning curves.

Modality sets come in the order of the given mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import TEST_COLOUR, TRAINING_COLOUR, VALIDATION_COLOUR, panel_title, style
from ricenet.evaluation import paper
from ricenet.evaluation.labels.scores import chance_macro_f1
from ricenet.evaluation.metrics import LabelConfusion, SetMetrics, chance_level
from ricenet.runtime.tables import require, table_text
from ricenet.training.history import EpochMetrics, read_history
from ricenet.vocabulary import LABELS, Volumes, is_rice_task, volumes_and_recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUP = 0.76
"""Width of all bars of one set."""

_RECIPE_COLOURS = (("#cfe4f2", VALIDATION_COLOUR), ("#cdebe0", "#009E73"), ("#f3dcea", "#CC79A7"))
"""Face and edge of the bars, recipe by recipe."""

Histories = Mapping[str, Sequence[Sequence[EpochMetrics]]]
"""By modality set: of each fold, an entry for each epoch."""


def macro_f1_figure(
    metrics: Mapping[str, SetMetrics], test_macro_f1: Mapping[str, float], volumes: Volumes
) -> Figure:
    """Bars of the validation macro-F1 (mean, SD over folds) by recipe and, where voted, of the test set's.

    test_macro_f1: by modality set; empty as long as no model has voted.
    Source: RICE-NET figure 2, with its numbers as diamonds.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(8.4, 4.3), layout="constrained")
        axes = figure.add_subplot()
        groups = list(dict.fromkeys(volumes_and_recipe(name)[0] for name in metrics))
        recipes = list(dict.fromkeys(volumes_and_recipe(name)[1] for name in metrics))
        for x, group in enumerate(groups):
            names = [name for name in metrics if volumes_and_recipe(name)[0] == group]
            voted = [name for name in names if name in test_macro_f1]
            width = _GROUP / max(2, len(names) + len(voted))
            centres = x + width * (np.arange(len(names) + len(voted)) - (len(names) + len(voted) - 1) / 2)
            for centre, name in zip(centres, names, strict=False):
                recipe = volumes_and_recipe(name)[1]
                colours = _RECIPE_COLOURS[recipes.index(recipe) % len(_RECIPE_COLOURS)]
                _validation_bar(axes, centre, width, metrics[name], name, colours)
            for centre, name in zip(centres[len(names) :], voted, strict=True):
                _test_bar(axes, centre, width, test_macro_f1[name], name)
        counts = [sum(row) for row in metrics[next(iter(metrics))].confusion]
        chance = chance_level(*counts) if len(counts) == 2 else chance_macro_f1(counts)
        axes.axhline(
            chance, color="black", linestyle=(0, (2, 3)), linewidth=1, label=f"chance level ({chance:.2f})"
        )
        axes.set_xticks(range(len(groups)), [volumes.set_title(name, "\n+ ") for name in groups])
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylim(0, 1)
        axes.set_ylabel("macro-F1")
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        _legend_above(figure, axes)
    return figure


def _validation_bar(
    axes: Axes, x: float, width: float, metrics: SetMetrics, name: str, colours: tuple[str, str]
) -> None:
    _, recipe = volumes_and_recipe(name)
    face, edge = colours
    axes.bar(
        x, metrics.macro_f1_mean, width, yerr=metrics.macro_f1_sd, capsize=3,
        facecolor=face, edgecolor=edge, hatch="///", error_kw={"elinewidth": 1.2},
        label=f"validation{', ' + recipe.replace('_', ' ') if recipe else ''}, mean and SD over folds",
    )  # fmt: skip
    _number_in_bar(axes, x, metrics.macro_f1_mean)
    # the paper's numbers are of its two labels
    if is_rice_task(metrics.label_names) and name in paper.VALIDATION_MACRO_F1:
        axes.plot(x, paper.VALIDATION_MACRO_F1[name], "D", markersize=5.5, markerfacecolor="white",
                  markeredgecolor="black", linestyle="none", zorder=5, label="paper, validation")  # fmt: skip


def _test_bar(axes: Axes, x: float, width: float, macro_f1: float, name: str) -> None:
    axes.bar(x, macro_f1, width, facecolor="#fdebc8", edgecolor=TEST_COLOUR, hatch="...",
             label="test, majority vote of the folds")  # fmt: skip
    _number_in_bar(axes, x, macro_f1)
    if name in paper.TEST_MACRO_F1:
        axes.plot(x, paper.TEST_MACRO_F1[name], "D", markersize=5.5, color="black", linestyle="none",
                  zorder=5, label="paper, test")  # fmt: skip


def _number_in_bar(axes: Axes, x: float, value: float) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
    axes.text(x, 0.045, f"{value:.2f}", ha="center", va="center", fontsize=8, bbox=box)


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
    # bars first: matplotlib lists lines before them
    order = sorted(
        first, key=lambda label: (not label.startswith(("validation", "test")), labels.index(label))
    )
    figure.legend(
        [first[label] for label in order], order, loc="outside upper center", ncols=3, frameon=False
    )


def confusion_figure(
    confusions: Mapping[str, LabelConfusion], volumes: Volumes, label_names: Sequence[str] = LABELS
) -> Figure:
    """One matrix a set, a row and a column a label: counts, shaded by the share of the true class."""
    from matplotlib.figure import Figure

    columns = min(4, len(confusions))
    rows = -(-len(confusions) // columns)
    with style():
        wider = len(label_names) / 2
        size = (2.1 * columns * wider + 0.6, 2.35 * rows * wider + 0.2)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(confusions) :]:
            axes.remove()
        for axes, (name, counts) in zip(grid.flat, confusions.items(), strict=False):
            _draw_confusion(axes, np.array(counts), volumes.set_title(name), label_names)
        for axes in grid[:, 0]:
            axes.set_ylabel("true")
            axes.set_yticks(range(len(label_names)), label_names, rotation=90, va="center")
    return figure


def _draw_confusion(
    axes: Axes,
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    title: str,
    label_names: Sequence[str],
) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row - 0.08, str(count), ha="center", va="center", color=colour, fontsize=13)
        percent = f"{share[row, column]:.0%}"
        axes.text(column, row + 0.24, percent, ha="center", va="center", color=colour, fontsize=7.5)
    axes.set_title(panel_title(title), fontsize=9)
    axes.set_xticks(range(len(label_names)), label_names)
    axes.set_yticks([])
    axes.set_xlabel("predicted")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def read_histories(training: Path, modality_set: str, folds: int) -> list[list[EpochMetrics]]:
    """The history of each fold of a modality set.

    Raises ResultError: missing file.
    """
    paths = [training / modality_set / f"fold-{k}" / "history.csv" for k in range(folds)]
    return [read_history(require(path, "train")) for path in paths]


def curves_table(histories: Histories) -> str:
    """CSV text of every epoch of every fold: modality_set, fold, epoch and its metrics."""
    rows = [
        [name, k, epoch, *astuple(metrics)]
        for name, of_set in histories.items()
        for k, history in enumerate(of_set)
        for epoch, metrics in enumerate(history, start=1)
    ]
    header = ["modality_set", "fold", "epoch", *(field.name for field in fields(EpochMetrics))]
    return table_text(header, rows, ",")


def over_folds(histories: Sequence[Sequence[EpochMetrics]], quantity: str) -> NDArray[np.float64]:
    """Values (folds, epochs) of a quantity, up to the last epoch that all folds have."""
    epochs = min(len(history) for history in histories)
    return np.array([[getattr(row, quantity) for row in history[:epochs]] for history in histories])


def learning_curves_figure(histories: Histories, volumes: Volumes) -> Figure:
    """A row for each modality set: loss and macro-F1 over epochs, mean over folds in a band of one SD."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(8.4, 1.45 * len(histories) + 0.8), layout="constrained")
        grid = figure.subplots(len(histories), 2, squeeze=False, sharey="col")
        for row, (name, of_set) in zip(grid, histories.items(), strict=True):
            _draw_curves(row[0], of_set, "loss")
            _draw_curves(row[1], of_set, "macro_f1")
            row[0].set_ylabel(volumes.set_title(name, "\n+ "))
            row[0].set_ylim(bottom=0)
            row[1].set_ylim(0, 1)
        grid[0, 0].set_title("cross-entropy loss")
        grid[0, 1].set_title("macro-F1")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_curves(axes: Axes, histories: Sequence[Sequence[EpochMetrics]], quantity: str) -> None:
    for part, colour, line in (("train", TRAINING_COLOUR, "--"), ("validation", VALIDATION_COLOUR, "-")):
        values = over_folds(histories, f"{part}_{quantity}")
        epochs = np.arange(1, values.shape[1] + 1)
        mean = values.mean(axis=0)
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(epochs))
        axes.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
        # one epoch makes no line
        marker = "o" if len(epochs) == 1 else ""
        label = f"{part}, mean and SD over folds"
        axes.plot(epochs, mean, line, color=colour, linewidth=1.3, marker=marker, label=label)
    axes.grid(color="#e5e5e5", linewidth=0.6)
