"""Forest plots: the shortcut audit's scores and gains, and the modalities' contributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR, set_title, style
from ricenet.evaluation.evidence.record import Contribution, Evidence
from ricenet.evaluation.intervals import Estimate
from ricenet.report.figures_layout import GRID_COLOUR, RULE_COLOUR, WIDTH_INCHES, across
from ricenet.vocabulary import MODALITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = {"macro_f1": "macro-F1", "auc": "AUC", "log_loss": "log-loss, nats saved"}
"""Titles of the scores that contributions are told of."""


def audit_figure(evidence: Evidence, names: Sequence[str]) -> Figure:
    """Macro-F1 of networks and baselines with intervals, and the gain of the best network over each baseline.

    names: modality sets, in order.
    """
    from matplotlib.figure import Figure

    audit = evidence.audit
    rows = [(set_title(name), evidence.sets[name].macro_f1, "network") for name in names]
    rows += [(b.title, b.scores.macro_f1, "baseline") for b in audit.baselines]
    with style():
        figure = Figure(figsize=(WIDTH_INCHES + 0.8, 0.27 * len(rows) + 1.1), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for y, (_, estimate, kind) in enumerate(rows):
            colour = VALIDATION_COLOUR if kind == "network" else RULE_COLOUR
            across(left, estimate, y, color=colour, fmt="s" if kind == "network" else "o")
        for y, baseline in enumerate(audit.baselines, start=len(names)):
            if audit.network in baseline.gains:
                across(right, baseline.gains[audit.network].macro_f1, y, color=TEST_COLOUR, fmt="D")
        left.axvline(evidence.chance_macro_f1, color="black", linestyle=(0, (2, 3)), linewidth=1)
        left.axhline(len(names) - 0.5, color=RULE_COLOUR, linewidth=0.6)
        left.set_yticks(range(len(rows)), [title for title, _, _ in rows])
        left.set_ylim(len(rows) - 0.4, -0.6)
        left.set_xlim(0, 1)
        left.set_xlabel("macro-F1 (squares: networks, circles: baselines, dotted: chance)")
        right.axvline(0, color="black", linewidth=0.8)
        right.spines["left"].set_visible(False)
        right.set_xlabel(f"gain in macro-F1 of {set_title(audit.network)} over the baseline")
        _rules(left, right)
    return figure


def contribution_figure(contributions: Sequence[Contribution]) -> Figure:
    """Shapley values of the modalities, a panel a score, with intervals."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH_INCHES + 0.4, 2.0), layout="constrained")
        grid = figure.subplots(1, len(contributions), squeeze=False, sharey=True)[0]
        for axes, contribution in zip(grid, contributions, strict=True):
            _contribution(axes, [(name, contribution.modalities[name]) for name in MODALITIES])
            axes.set_title(SCORES.get(contribution.score, contribution.score))
            axes.set_xlabel("Shapley value")
        _rules(*grid)
    return figure


def _contribution(axes: Axes, modalities: Sequence[tuple[str, Estimate]]) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    for y, (_, estimate) in enumerate(modalities):
        across(axes, estimate, y, color=VALIDATION_COLOUR)
    axes.set_yticks(range(len(modalities)), [set_title(name) for name, _ in modalities])
    axes.set_ylim(len(modalities) - 0.5, -0.5)


def _rules(*grid: Axes) -> None:
    for axes in grid:
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
