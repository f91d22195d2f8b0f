"""Histories of training, gathered over folds into one table and one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import TRAINING_COLOUR, VALIDATION_COLOUR, set_title, style
from ricenet.evaluation.figures import in_paper_order
from ricenet.runtime.tables import read_rows, require, table_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTITIES = ("train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1")

History = list[dict[str, str]]
"""A fold's rows of history.csv, as text: one an epoch."""


def read_histories(training: Path, modality_set: str, folds: int) -> list[History]:
    """The history of each fold of a modality set.

    Raises ResultError: missing file.
    """
    paths = [training / modality_set / f"fold-{k}" / "history.csv" for k in range(folds)]
    return [read_rows(require(path, "train"), ",") for path in paths]


def curves_table(histories: Mapping[str, Sequence[History]]) -> str:
    """CSV text of every epoch of every fold: modality_set, fold, epoch and QUANTITIES."""
    rows = [
        [name, k, row["epoch"], *(row[quantity] for quantity in QUANTITIES)]
        for name in in_paper_order(histories)
        for k, history in enumerate(histories[name])
        for row in history
    ]
    return table_text(["modality_set", "fold", "epoch", *QUANTITIES], rows, ",")


def over_folds(histories: Sequence[History], quantity: str) -> NDArray[np.float64]:
    """Values (folds, epochs) of a quantity, up to the last epoch that all folds have."""
    epochs = min(len(history) for history in histories)
    return np.array([[float(row[quantity]) for row in history[:epochs]] for history in histories])


def learning_curves_figure(histories: Mapping[str, Sequence[History]]) -> Figure:
    """A row a modality set: loss and macro-F1 over epochs, mean over folds in a band of one SD."""
    from matplotlib.figure import Figure

    names = in_paper_order(histories)
    with style():
        figure = Figure(figsize=(8.4, 1.45 * len(names) + 0.8), layout="constrained")
        grid = figure.subplots(len(names), 2, squeeze=False, sharex=True, sharey="col")
        for row, name in zip(grid, names, strict=True):
            _draw_curves(row[0], histories[name], "loss")
            _draw_curves(row[1], histories[name], "macro_f1")
            row[0].set_ylabel(set_title(name, "\n+ "))
            row[0].set_ylim(bottom=0)
            row[1].set_ylim(0, 1)
        grid[0, 0].set_title("cross-entropy loss")
        grid[0, 1].set_title("macro-F1")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_curves(axes: Axes, histories: Sequence[History], quantity: str) -> None:
    for part, colour, line in (("train", TRAINING_COLOUR, "--"), ("validation", VALIDATION_COLOUR, "-")):
        values = over_folds(histories, f"{part}_{quantity}")
        epochs = np.arange(1, values.shape[1] + 1)
        mean, sd = (
            values.mean(axis=0),
            values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(epochs)),
        )
        axes.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
        axes.plot(epochs, mean, line, color=colour, linewidth=1.3, label=f"{part}, mean and SD over folds")
    axes.grid(color="#e5e5e5", linewidth=0.6)
