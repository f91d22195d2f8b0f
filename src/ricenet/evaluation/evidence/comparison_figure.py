"""Two trainings in one figure: their scores next to one another, and their answers subject by subject."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ricenet.display.drawing import TEST_COLOUR, TRAINING_COLOUR, VALIDATION_COLOUR, style
from ricenet.evaluation.evidence.paired import Paired
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.scores import SCORES
from ricenet.training.predictions import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_APART = 0.14
_SIDES = (("a", VALIDATION_COLOUR, "o"), ("b", TEST_COLOUR, "s"))
_LABELS = (("recurrence", "#CC79A7", "o"), ("rice", "#009E73", "^"))
"""Colours of Okabe and Ito; forms tell as much without them."""


def comparison_figure(found: Paired, held_out: HeldOut) -> Figure:
    """Left, each score of both with its interval; right, p_rice of A against that of B, a mark a subject.

    held_out: of `compare_two`.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(9.2, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_scores(left, found)
        _draw_answers(right, found, held_out)
        p = f"A minus B, macro-F1: {found.differences['macro_f1'].text(signed=True)}, {found.n} subjects"
        left.set_title(p, loc="left", fontsize=9)
        right.set_title("held-out answers, subject by subject", loc="left", fontsize=9)
    return figure


def _draw_scores(axes: Axes, found: Paired) -> None:
    for (name, colour, form), shift in zip(_SIDES, (-_APART, _APART), strict=True):
        side = getattr(found, name)
        for y, score in enumerate(SCORES):
            estimate = getattr(side.scores, score)
            axes.plot([estimate.low, estimate.high], [y + shift] * 2, color=colour, linewidth=1.6)
            axes.plot(
                estimate.value, y + shift, form, color=colour, markersize=6, linestyle="none",
                label=f"{name.upper()}: {side.name}" if y == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(SCORES)), [textwrap.fill(title, 14) for title in SCORES.values()])
    axes.set_ylim(len(SCORES) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("score, 95 % interval")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=8)


def _draw_answers(axes: Axes, found: Paired, held_out: HeldOut) -> None:
    a, b = (held_out.p_rice[side.name] for side in (found.a, found.b))
    for label, colour, form in _LABELS:
        of_label = held_out.is_rice == (label == "rice")
        axes.plot(
            a[of_label], b[of_label], form, color=colour, alpha=0.8,
            markersize=6, markeredgecolor="white", markeredgewidth=0.6, linestyle="none", clip_on=False,
            label=f"{'RICE' if label == 'rice' else label} ({int(np.count_nonzero(of_label))})", zorder=3,
        )  # fmt: skip
    for line in (axes.axvline, axes.axhline):
        line(THRESHOLD, color="black", linestyle=(0, (2, 3)), linewidth=1)
    axes.plot([0, 1], [0, 1], color=TRAINING_COLOUR, linewidth=0.5, zorder=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("p_rice of A")
    axes.set_ylabel("p_rice of B")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=8)
