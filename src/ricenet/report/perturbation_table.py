"""Perturbations as rows, modality sets as columns: the table of the section on robustness, and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ricenet.display.drawing import style
from ricenet.evaluation.robustness.effects import Effect, Robustness
from ricenet.report.interval_plots import WIDTH_INCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PerturbationRow:
    """One perturbation at one strength; effects by modality set, where it applies."""

    title: str
    effects: Mapping[str, Effect]


def perturbation_rows(robustness: Robustness) -> list[PerturbationRow]:
    """A row a perturbation and strength, in the order in which the sets first name them."""
    rows: dict[tuple[str, float | None], dict[str, Effect]] = {}
    for name, effects in robustness.effects.items():
        for effect in effects:
            rows.setdefault((effect.perturbation, effect.strength), {})[name] = effect
    several = len(robustness.label_names) > 2
    titles = [next(iter(row.values())).full_title() for row in rows.values()]
    # of three labels there is no single other one
    said = [title.replace("the other label", "another label") if several else title for title in titles]
    return [PerturbationRow(title, row) for title, row in zip(said, rows.values(), strict=True)]


def flip_rate_figure(rows: Sequence[PerturbationRow], titles: Mapping[str, str]) -> Figure:
    """Shaded flip rates in per cent; an empty field where a perturbation does not apply to a set.

    titles: of the modality sets, in order: the columns.
    """
    from matplotlib.figure import Figure

    rates = [[row.effects[n].flip_rate.value if n in row.effects else np.nan for n in titles] for row in rows]
    with style():
        figure = Figure(figsize=(WIDTH_INCHES + 0.8, 0.3 * len(rows) + 1.0), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(rates, cmap="Blues", vmin=0, vmax=0.5, aspect="auto")
        for (row, column), rate in np.ndenumerate(np.array(rates)):
            text = "-" if np.isnan(rate) else f"{rate * 100:.0f}"
            colour = "white" if rate > 0.3 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
        axes.set_yticks(range(len(rows)), [row.title for row in rows])
        axes.set_xticks(range(len(titles)), list(titles.values()))
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
