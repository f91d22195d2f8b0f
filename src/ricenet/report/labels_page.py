"""The page of a run with other labels than the paper's two: templates filled with its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.display.drawing import save_figure, style
from ricenet.display.templates import render
from ricenet.evaluation.evidence.contribution import contribution_sentence
from ricenet.evaluation.figures import confusion_figure
from ricenet.evaluation.labels.calibration import LabelBin
from ricenet.evaluation.labels.metrics import AMONG_EVENTS, events_of
from ricenet.evaluation.labels.scores import LABEL_SCORES
from ricenet.report.cohort_table import FEWEST, cohort_table
from ricenet.report.flow import draw_flow, flow_of
from ricenet.report.interval_plots import legend_above, panels, point, square
from ricenet.report.labels_results import LabelResults
from ricenet.report.page import (
    FIGURES,
    data_uri,
    estimate_text,
    p_value,
    require_same_splits,
    write_page,
)
from ricenet.report.perturbation_table import flip_rate_figure, perturbation_rows
from ricenet.report.promoted_votes import evaluations_text
from ricenet.report.protocol import Protocol
from ricenet.report.reference_standard import reference_standard
from ricenet.report.report_figures import SCORES, contribution_figure, coverage_risk_figure
from ricenet.report.sentences import gate_text
from ricenet.runtime.stage_times import shown
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import guards_verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTIONS = {
    "summary": "Summary",
    "cohort": "Cohort",
    "flow": "Flow of subjects",
    "scores": "All scores",
    "contribution": "Contribution of the modalities",
    "baselines": "What a table of scalars knows",
    "guards": "Guards against leaks",
    "calibration": "Calibration, answers and sets of labels",
    "decisions": "Net benefit",
    "robustness": "Robustness",
    "test": "Test set",
    "lacking": "What this page lacks",
    "protocol": "Protocol",
}
"""Titles of the page's sections by anchor, in order."""


def write_labels_report(results: LabelResults, folder: Path, protocol: Protocol) -> Path:
    """Write index.html, the figures beside it, and report.pdf where asked for; returns the page's path.

    Raises ResultError: a figure of an earlier stage is missing; evidence of other splits; no WeasyPrint.
    """
    require_same_splits(results)
    figures = {}
    for name, figure in _figures(results):
        figures[name] = folder / FIGURES / f"{name}.svg"
        save_figure(figure, figures[name])
    return write_page(labels_page(results, figures, protocol), folder, protocol)


def labels_page(results: LabelResults, drawn: Mapping[str, Path], protocol: Protocol) -> str:
    """The page as HTML text. drawn: its pictures.

    Raises ResultError: a figure of an earlier stage is missing.
    """
    evidence = results.evidence
    earlier = {
        stem: require(results.figures / f"{stem}.png", "evaluate")
        for stem in ("volumes", "learning_curves", "macro_f1")
    }
    filters: dict[str, Callable[..., object]] = {
        "set_title": results.volumes.set_title,
        "seconds": shown,
        "picture": data_uri,
        "p_value": p_value,
        "estimate": estimate_text,
        "evaluations_text": evaluations_text,
        "gate_text": gate_text,
    }
    return render(
        "ricenet.report",
        "labels_page.html",
        "page.css",
        filters,
        figures={**earlier, **drawn},
        results=results,
        evidence=evidence,
        protocol=protocol,
        sections=SECTIONS,
        volumes=results.volumes,
        label_names=evidence.label_names,
        set_names=results.ordered(evidence.sets),
        titles=LABEL_SCORES,
        score_titles=SCORES,
        events=events_of(evidence.label_names, evidence.controls),
        among_events=AMONG_EVENTS,
        excluded=evidence.excluded,
        main_recipe=protocol.params.training.recipe,
        contribution_text=contribution_sentence(evidence.contributions, results.volumes),
        guards_text=guards_verdict(evidence.guards),
        table=cohort_table(results.cohort, results.splits, results.participants, results.measures),
        fewest=FEWEST,
        reference_standard=reference_standard(
            results.splits, results.participants, evidence.seed, evidence.resamples
        ),
        flow=draw_flow(flow_of(results.cohort, results.checked_out, results.splits)),
        perturbations=perturbation_rows(results.robustness),
        perturbed=results.ordered(results.robustness.effects),
        changing="the said label's probability",
        shares="shares of the labels",
    )


def _figures(results: LabelResults) -> Iterator[tuple[str, Figure]]:
    evidence, volumes = results.evidence, results.volumes
    names = evidence.label_names
    yield "confusion", confusion_figure({n: m.confusion for n, m in results.metrics.items()}, volumes, names)
    if evidence.contributions:
        yield "contribution", contribution_figure(evidence.contributions, volumes)
    yield "reliability", _reliability_figure(results)
    yield "coverage_risk", coverage_risk_figure(results)
    yield "net_benefit", _net_benefit_figure(results)
    if rows := perturbation_rows(results.robustness):
        perturbed = results.ordered(results.robustness.effects)
        yield "flip_rates", flip_rate_figure(rows, results.titles(perturbed, "\n+ "))


def _reliability_figure(results: LabelResults) -> Figure:
    """Of the best set: a panel a label, its share by mean probability, before and after recalibration."""
    found = results.evidence.calibration[results.evidence.best_set]

    def bins(axes: Axes, of: tuple[LabelBin, ...], colour: str, form: str, label: str) -> None:
        for b in of:
            point(axes, b.share, b.mean_p, upright=True, color=colour, fmt=form[0], markersize=4)
        axes.plot([b.mean_p for b in of], [b.share.value for b in of], form, color=colour, label=label)

    def draw(axes: Axes, name: str) -> None:
        square(axes, "perfect")
        bins(axes, found.bins[name], "#E69F00", "s--", "as predicted")
        bins(axes, found.scaled_bins[name], "#0072B2", "o-", "recalibrated")

    titles = {name: name for name in results.evidence.label_names}
    return panels(titles, draw, "mean predicted probability", "share with the label", 2.3)


def _net_benefit_figure(results: LabelResults) -> Figure:
    """Of the best set: a panel a label, what acting on it is worth over the better of everyone and nobody."""
    from matplotlib.figure import Figure

    curves = results.evidence.decision_curves
    with style():
        figure = Figure(figsize=(8.4, 2.8), layout="constrained")
        grid = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
        for axes, (label, curve) in zip(grid, curves.items(), strict=True):
            at = [p.threshold for p in curve.points]
            low, high = ([getattr(p.gain, end) for p in curve.points] for end in ("low", "high"))
            axes.fill_between(at, low, high, color="#0072B2", alpha=0.18, linewidth=0)
            axes.plot(at, [p.gain.value for p in curve.points], color="#0072B2", label="networks")
            axes.axhline(0, color="#595959", linewidth=1, label="better of all and none")
            axes.set_title(label)
            axes.set_xlabel("threshold probability")
        grid[0].set_ylabel("gain in net benefit")
        legend_above(figure, grid[0])
    return figure
