"""All figures of the page, drawn once into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.display.drawing import save_figure
from ricenet.evaluation.figures import confusion_figure, in_paper_order
from ricenet.report.figures_calibration import coverage_risk_figure, reliability_figure
from ricenet.report.figures_forest import audit_figure, contribution_figure
from ricenet.report.figures_robustness import flip_rate_figure, perturbation_rows
from ricenet.report.figures_scores import macro_f1_figure, roc_figure
from ricenet.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_pictures(results: Results, folder: Path) -> dict[str, Path]:
    """Write every figure as SVG, and figure 2 as PNG too; returns the SVGs by name.

    A figure without content (no robustness, no contribution) is neither written nor returned.
    """
    paths = {}
    for name, figure in _figures(results):
        paths[name] = folder / f"{name}.svg"
        save_figure(figure, paths[name])
        if name == "macro_f1":
            save_figure(figure, folder / f"{name}.png")
    return paths


def _figures(results: Results) -> Iterator[tuple[str, Figure]]:
    evidence = results.evidence
    names = in_paper_order(evidence.sets)
    yield (
        "macro_f1",
        macro_f1_figure(
            results.metrics,
            evidence.sets,
            evidence.chance_macro_f1,
            evidence.majority.macro_f1.value,
            results.votes,
        ),
    )
    yield "roc", roc_figure(results.out_of_fold, evidence.sets)
    yield (
        "confusion",
        confusion_figure({name: m.confusion for name, m in results.metrics.items()}, evidence.volumes),
    )
    yield "audit", audit_figure(evidence, names)
    if evidence.contributions:
        yield "contribution", contribution_figure(evidence.contributions)
    calibrated, abstaining = in_paper_order(evidence.calibration), in_paper_order(evidence.abstention)
    if calibrated:
        yield "reliability", reliability_figure(evidence.calibration, calibrated)
    if abstaining:
        yield "coverage_risk", coverage_risk_figure(evidence.abstention, abstaining)
    if rows := perturbation_rows(results.robustness):
        yield "flip_rates", flip_rate_figure(rows, in_paper_order(results.robustness.effects))
