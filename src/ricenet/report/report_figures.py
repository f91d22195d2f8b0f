"""All figures of the page, drawn once into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR, save_figure, style
from ricenet.evaluation import paper
from ricenet.evaluation.evidence.calibration_record import Bin
from ricenet.evaluation.evidence.record import Contribution, DecisionCurve, Evidence
from ricenet.evaluation.figures import confusion_figure
from ricenet.report.in_short import in_short_figure
from ricenet.report.interval_plots import (
    GRID_COLOUR,
    RULE_COLOUR,
    WIDTH_INCHES,
    legend_above,
    lengths,
    panels,
    point,
    square,
)
from ricenet.report.learning_curve import learning_curve_figure
from ricenet.report.perturbation_table import flip_rate_figure, perturbation_rows
from ricenet.report.promoted_votes import PromotedVote, evaluations_text
from ricenet.report.results import Results
from ricenet.vocabulary import Volumes, volumes_and_recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ricenet.report.labels_results import LabelResults

SCORES = {"macro_f1": "macro-F1", "auc": "AUC", "log_loss": "log-loss, nats saved"}
"""Titles of the scores of contributions."""
_BAR = 0.3
_ERROR: dict[str, Any] = {"capsize": 3, "error_kw": {"elinewidth": 1.0, "ecolor": RULE_COLOUR}}


def draw_pictures(results: Results, folder: Path) -> dict[str, Path]:
    """Write every figure as SVG, and figure 2 as PNG too; returns the SVGs by name.

    A figure without content (no robustness) is neither written nor returned.
    """
    paths = {}
    for name, figure in _figures(results):
        paths[name] = folder / f"{name}.svg"
        save_figure(figure, paths[name])
        if name == "macro_f1":
            save_figure(figure, folder / f"{name}.png")
    return paths


def _figures(results: Results) -> Iterator[tuple[str, Figure]]:
    evidence, volumes = results.evidence, results.volumes
    yield "in_short", in_short_figure(results)
    yield "macro_f1", macro_f1_figure(results)
    yield "roc", roc_figure(results)
    yield "confusion", confusion_figure({n: m.confusion for n, m in results.metrics.items()}, volumes)
    yield "audit", audit_figure(evidence, results.ordered(evidence.sets))
    if evidence.contributions:
        yield "contribution", contribution_figure(evidence.contributions, volumes)
    if evidence.calibration:
        yield "reliability", reliability_figure(results)
    if evidence.abstention:
        yield "coverage_risk", coverage_risk_figure(results)
    if evidence.learning_curves:
        curved = {name: evidence.learning_curves[name] for name in results.ordered(evidence.learning_curves)}
        yield "subjects_curve", learning_curve_figure(curved, results.titles(curved))
    if evidence.decision_curve.points:
        yield "decision_curve", decision_curve_figure(evidence.decision_curve)
    if rows := perturbation_rows(results.robustness):
        perturbed = results.ordered(results.robustness.effects)
        yield "flip_rates", flip_rate_figure(rows, results.titles(perturbed, "\n+ "))


def macro_f1_figure(results: Results) -> Figure:
    """Macro-F1 by modality set: folds, pooled with its interval, test vote with its count, and the paper.

    Source: RICE-NET figure 2, with its numbers as diamonds; intervals and counts of evaluations are ours.
    """
    from matplotlib.figure import Figure

    by_recipe = dict[str, list[str]]()
    for name in results.metrics:
        by_recipe.setdefault(volumes_and_recipe(name)[1], []).append(name)
    with style():
        size = (WIDTH_INCHES + 0.8, 1.6 + 3.0 * len(by_recipe))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(by_recipe), 1, squeeze=False)[:, 0]
        for axes, (recipe, names) in zip(grid, by_recipe.items(), strict=True):
            _scores_of(axes, names, results)
            if len(by_recipe) > 1:
                axes.set_title(f"recipe {recipe}" if recipe else "main recipe")
        legend_above(figure, *grid, columns=3)
    return figure


def _scores_of(axes: Axes, names: Sequence[str], results: Results) -> None:
    """The sets of one recipe."""
    evidence, majority = results.evidence, results.evidence.majority.macro_f1.value
    for x, name in enumerate(names):
        _validation(axes, x, name, results)
        if name in results.votes:
            _test(axes, x + 0.34, name, results.votes[name])
    chance = f"chance level {evidence.chance_macro_f1:.2f} (commoner label {majority:.2f})"
    axes.axhline(evidence.chance_macro_f1, color="black", linestyle=(0, (2, 3)), linewidth=1, label=chance)
    volumes = [volumes_and_recipe(name)[0] for name in names]
    axes.set_xticks(range(len(names)), [results.volumes.set_title(name, "\n+ ") for name in volumes])
    axes.set_xlim(-0.6, len(names) - 0.3)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("macro-F1")
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)


def _validation(axes: Axes, x: float, name: str, results: Results) -> None:
    metrics, pooled = results.metrics[name], results.evidence.sets[name].macro_f1
    axes.bar(
        x - 0.24, metrics.macro_f1_mean, _BAR, yerr=metrics.macro_f1_sd, facecolor="#cfe4f2",
        edgecolor=VALIDATION_COLOUR, label="validation folds: mean and SD", **_ERROR,
    )  # fmt: skip
    label = "pooled out-of-fold: 95 % interval"
    point(axes, pooled, x + 0.06, upright=True, color=VALIDATION_COLOUR, label=label)
    if name in paper.VALIDATION_MACRO_F1:
        axes.plot(
            x - 0.24, paper.VALIDATION_MACRO_F1[name], "D", markersize=5, markerfacecolor="white",
            markeredgecolor="black", linestyle="none", zorder=5, label="paper: mean over folds",
        )  # fmt: skip


def _test(axes: Axes, x: float, name: str, vote: PromotedVote) -> None:
    axes.bar(
        x, vote.macro_f1.value, _BAR * 0.75, yerr=np.array(lengths(vote.macro_f1)), facecolor="#fdebc8",
        edgecolor=TEST_COLOUR, label="test, vote of the folds: 95 % interval", **_ERROR,
    )  # fmt: skip
    said = f"{evaluations_text(vote.evaluations)}, n {vote.n}"
    axes.text(x, 0.02, said, rotation=90, ha="center", va="bottom", fontsize=7.5)
    if name in paper.TEST_MACRO_F1:
        axes.plot(
            x, paper.TEST_MACRO_F1[name], "D", markersize=5, color="black", linestyle="none", zorder=5,
            label="paper: test",
        )  # fmt: skip


def roc_figure(results: Results) -> Figure:
    """A ROC curve a modality set from the pooled out-of-fold probabilities, with its AUC and interval.

    Equal probabilities are one threshold, so that the area under the line is the AUC with ties counted half.
    """
    from sklearn.metrics import roc_curve

    def draw(axes: Axes, name: str) -> None:
        square(axes, "chance")
        false_alarms, sensitivity, _ = roc_curve(*results.out_of_fold[name][:2], drop_intermediate=False)
        axes.plot(false_alarms, sensitivity, color=VALIDATION_COLOUR, linewidth=1.6, label="out-of-fold")
        auc = results.evidence.sets[name].auc.text()
        axes.text(0.97, 0.05, f"AUC {auc}", ha="right", va="bottom", fontsize=7.5)

    names = [name for name in results.out_of_fold if name in results.evidence.sets]
    return panels(results.titles(names), draw, "1 - specificity", "sensitivity", 2.3)


def reliability_figure(results: Results) -> Figure:
    """Observed share of RICE by mean predicted p_rice, before and after recalibration.

    Intervals: exact, for the share in a bin.
    """
    calibration = results.evidence.calibration

    def bins(axes: Axes, bins: Sequence[Bin], colour: str, form: str, label: str) -> None:
        for b in bins:
            settings = {"color": colour, "fmt": form[0], "markersize": 4, "elinewidth": 0.8}
            point(axes, b.share_rice, b.mean_p_rice, upright=True, **settings)
        x, y = [b.mean_p_rice for b in bins], [b.share_rice.value for b in bins]
        axes.plot(x, y, form, color=colour, markersize=4, linewidth=1.1, label=label)

    def draw(axes: Axes, name: str) -> None:
        square(axes, "perfect")
        bins(axes, calibration[name].bins, TEST_COLOUR, "s--", "as predicted")
        bins(axes, calibration[name].scaled_bins, VALIDATION_COLOUR, "o-", "recalibrated")

    names = results.ordered(calibration)
    return panels(results.titles(names), draw, "mean predicted p_rice", "share with RICE", 2.3)


def coverage_risk_figure(results: Results | LabelResults) -> Figure:
    """Error among the answered by the share answered, most confident first, and what the thresholds reach."""
    abstention = results.evidence.abstention

    def draw(axes: Axes, name: str) -> None:
        found = abstention[name]
        axes.axhline(found.target_error, color=RULE_COLOUR, linestyle=":", linewidth=1, label="target error")
        axes.plot(*zip(*found.curve, strict=True), color=VALIDATION_COLOUR, linewidth=1.4,
                  label="answered by confidence")  # fmt: skip
        reached = [] if found.error is None else [(found.coverage.value, found.error.value)]
        axes.plot([x for x, _ in reached], [y for _, y in reached], "D", color=TEST_COLOUR, markersize=6,
                  linestyle="none", label="at the threshold")  # fmt: skip
        axes.set_xlim(0, 1.03)
        axes.set_ylim(-0.03, 1.03)

    titles = results.titles(results.ordered(abstention))
    return panels(titles, draw, "share of the subjects that get an answer", "error among them", 1.9)


def decision_curve_figure(curve: DecisionCurve) -> Figure:
    """Net benefit by threshold: of the networks, with the interval of their gain, of all and none as RICE."""
    from matplotlib.figure import Figure

    at = [point.threshold for point in curve.points]
    best = [max(point.everyone, 0.0) for point in curve.points]
    low, high = (
        [base + getattr(point.gain, end) for base, point in zip(best, curve.points, strict=True)]
        for end in ("low", "high")
    )
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(at, low, high, color=VALIDATION_COLOUR, alpha=0.18, linewidth=0)
        axes.plot(at, [p.model for p in curve.points], color=VALIDATION_COLOUR, label="networks")
        axes.plot(
            at, [p.everyone for p in curve.points], color=TEST_COLOUR, linestyle="--", label="all as RICE"
        )
        axes.axhline(0, color=RULE_COLOUR, linewidth=1, label="none as RICE")
        axes.set_ylim(min(-0.1, *low), max(0.05, *high) + 0.05)
        axes.set_xlabel("threshold probability of RICE")
        axes.set_ylabel("net benefit a subject")
        legend_above(figure, axes, columns=3)
    return figure


def audit_figure(evidence: Evidence, names: Sequence[str]) -> Figure:
    """Macro-F1 of networks and baselines with intervals, and the gain of the best network over each baseline.

    names: modality sets, in order.
    """
    from matplotlib.figure import Figure

    audit, volumes = evidence.audit, evidence.volumes
    rows = [(volumes.set_title(name), evidence.sets[name].macro_f1) for name in names]
    rows += [(b.title, b.scores.macro_f1) for b in audit.baselines]
    with style():
        figure = Figure(figsize=(WIDTH_INCHES + 0.8, 0.27 * len(rows) + 1.1), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for y, (_, estimate) in enumerate(rows):
            colour, form = (VALIDATION_COLOUR, "s") if y < len(names) else (RULE_COLOUR, "o")
            point(left, estimate, y, color=colour, fmt=form)
        for y, baseline in enumerate(audit.baselines, start=len(names)):
            if audit.network in baseline.gains:
                point(right, baseline.gains[audit.network].macro_f1, y, color=TEST_COLOUR, fmt="D")
        left.axvline(evidence.chance_macro_f1, color="black", linestyle=(0, (2, 3)), linewidth=1)
        left.axhline(len(names) - 0.5, color=RULE_COLOUR, linewidth=0.6)
        left.set_yticks(range(len(rows)), [title for title, _ in rows])
        left.set_ylim(len(rows) - 0.4, -0.6)
        left.set_xlim(0, 1)
        left.set_xlabel("macro-F1 (squares: networks, circles: baselines, dotted: chance)")
        right.axvline(0, color="black", linewidth=0.8)
        right.spines["left"].set_visible(False)
        right.set_xlabel(f"gain in macro-F1 of {volumes.set_title(audit.network)} over the baseline")
        _rules(left, right)
    return figure


def contribution_figure(contributions: Sequence[Contribution], volumes: Volumes) -> Figure:
    """Shapley values of the volumes, a panel a score and a row a recipe, with intervals."""
    from matplotlib.figure import Figure

    recipes = list(dict.fromkeys(contribution.recipe for contribution in contributions))
    with style():
        size = (WIDTH_INCHES + 0.4, len(recipes) * (0.25 * len(volumes) + 1.25))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(recipes), len(contributions) // len(recipes), squeeze=False, sharey="row")
        for axes, contribution in zip(grid.flat, contributions, strict=True):
            axes.axvline(0, color="black", linewidth=0.8)
            for y, estimate in enumerate(contribution.modalities.values()):
                point(axes, estimate, y, color=VALIDATION_COLOUR)
            titles = [volumes[name].title for name in contribution.modalities]
            axes.set_yticks(range(len(titles)), titles)
            axes.set_ylim(len(titles) - 0.5, -0.5)
            recipe = f" ({contribution.recipe})" if contribution.recipe else ""
            axes.set_title(SCORES.get(contribution.score, contribution.score) + recipe)
            axes.set_xlabel("Shapley value")
        _rules(*grid.flat)
    return figure


def _rules(*grid: Axes) -> None:
    for axes in grid:
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
