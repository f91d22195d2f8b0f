"""Figures of the scores: macro-F1 beside the paper's (its figure 2), ROC curves, confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR, set_title, style
from ricenet.evaluation import paper
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.scores import Scores
from ricenet.report.figures_layout import (
    GRID_COLOUR,
    RULE_COLOUR,
    WIDTH_INCHES,
    legend_above,
    lengths,
    panels,
    upright,
)
from ricenet.report.results import Scored
from ricenet.report.votes import PromotedVote

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR = 0.3


def macro_f1_figure(
    metrics: Mapping[str, SetMetrics],
    scores: Mapping[str, Scores],
    chance: float,
    majority: float,
    votes: Mapping[str, PromotedVote],
) -> Figure:
    """Macro-F1 by modality set: folds, pooled with its interval, test vote with its looks, and the paper.

    chance, majority: the scores of a fair coin, and of always naming the commoner label.
    Source: RICE-NET figure 2, with its numbers as diamonds; the intervals and the looks are ours.
    """
    from matplotlib.figure import Figure

    names = list(metrics)
    with style():
        figure = Figure(figsize=(WIDTH_INCHES + 0.8, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for x, name in enumerate(names):
            _validation(axes, x, name, metrics[name], scores[name].macro_f1)
            if name in votes:
                _test(axes, x + 0.34, name, votes[name])
        axes.axhline(
            chance, color="black", linestyle=(0, (2, 3)), linewidth=1,
            label=f"chance: fair coin {chance:.2f} (commoner label {majority:.2f})",
        )  # fmt: skip
        axes.set_xticks(range(len(names)), [set_title(name, "\n+ ") for name in names])
        axes.set_xlim(-0.6, len(names) - 0.3)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("macro-F1")
        axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)
        legend_above(figure, axes, columns=3)
    return figure


def _validation(axes: Axes, x: float, name: str, metrics: SetMetrics, pooled: Estimate) -> None:
    axes.bar(
        x - 0.24, metrics.macro_f1_mean, _BAR, yerr=metrics.macro_f1_sd, capsize=3, facecolor="#cfe4f2",
        edgecolor=VALIDATION_COLOUR, error_kw={"elinewidth": 1.0, "ecolor": RULE_COLOUR},
        label="validation folds: mean and SD",
    )  # fmt: skip
    upright(axes, pooled, x + 0.06, color=VALIDATION_COLOUR, label="pooled out-of-fold: 95 % interval")
    axes.plot(
        x - 0.24, paper.VALIDATION_MACRO_F1[name], "D", markersize=5, markerfacecolor="white",
        markeredgecolor="black", linestyle="none", zorder=5, label="paper: mean over folds",
    )  # fmt: skip


def _test(axes: Axes, x: float, name: str, vote: PromotedVote) -> None:
    interval = Estimate(value=vote.macro_f1, low=vote.ci_low, high=vote.ci_high, method="bca")
    axes.bar(
        x, vote.macro_f1, _BAR * 0.75, yerr=np.array(lengths(interval)), capsize=3, facecolor="#fdebc8",
        edgecolor=TEST_COLOUR, error_kw={"elinewidth": 1.0, "ecolor": RULE_COLOUR},
        label="test, vote of the folds: 95 % interval",
    )  # fmt: skip
    axes.text(x, 0.02, f"{vote.looks_text}, n {vote.n}", rotation=90, ha="center", va="bottom", fontsize=7.5)
    if name in paper.TEST_MACRO_F1:
        axes.plot(
            x, paper.TEST_MACRO_F1[name], "D", markersize=5, color="black", linestyle="none", zorder=5,
            label="paper: test",
        )  # fmt: skip


def roc_points(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 - specificity and sensitivity (thresholds + 1,) at every threshold, from neither to all RICE.

    Equal probabilities are one threshold, so that the area under the line is the AUC with ties counted half.
    """
    p = np.array([p_rice for _, p_rice in scored])
    is_rice = np.array([label == "rice" for label, _ in scored])
    thresholds = np.unique(p)[::-1]
    sensitivity = [0.0, *(float(np.mean(p[is_rice] >= t)) for t in thresholds)]
    false_alarms = [0.0, *(float(np.mean(p[~is_rice] >= t)) for t in thresholds)]
    return np.array(false_alarms), np.array(sensitivity)


def roc_figure(out_of_fold: Mapping[str, Scored], scores: Mapping[str, Scores]) -> Figure:
    """A ROC curve a modality set from the pooled out-of-fold probabilities, with its AUC and interval."""

    def draw(axes: Axes, name: str) -> None:
        axes.plot([0, 1], [0, 1], color=RULE_COLOUR, linestyle=":", linewidth=1, label="chance")
        axes.plot(*roc_points(out_of_fold[name]), color=VALIDATION_COLOUR, linewidth=1.6, label="out-of-fold")
        axes.text(0.97, 0.05, f"AUC {scores[name].auc.text()}", ha="right", va="bottom", fontsize=7.5)
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)

    names = [name for name in out_of_fold if name in scores]
    return panels(names, draw, "1 - specificity", "sensitivity")
