"""The page: templates filled with results, with style and pictures inside it; also on paper, as a PDF.

Nothing is loaded from elsewhere, so that it shows offline, in a sandboxed frame and on paper.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ricenet.display.pdf import page_as_pdf
from ricenet.display.templates import render
from ricenet.evaluation import paper
from ricenet.evaluation.evidence.contribution import contribution_sentence
from ricenet.evaluation.evidence.visits import TIME
from ricenet.evaluation.intervals import Estimate
from ricenet.report.checklists import CITED, checklists
from ricenet.report.cohort_table import FEWEST, cohort_table
from ricenet.report.external_validation import COLUMNS, external_rows, later_rows
from ricenet.report.facts import SINGLE_NETWORKS, study_facts
from ricenet.report.flow import draw_flow, flow_of
from ricenet.report.follow_up import SUREST, case_pages, follow_ups, quality_page
from ricenet.report.in_short import five_sentences
from ricenet.report.learning_curve import curve_rows, curve_sentences
from ricenet.report.methods import methods_paragraphs
from ricenet.report.missing_volumes_table import missing_volumes_rows
from ricenet.report.perturbation_table import perturbation_rows
from ricenet.report.promoted_votes import evaluations_text
from ricenet.report.protocol import Protocol
from ricenet.report.reference_standard import reference_standard
from ricenet.report.report_figures import SCORES, draw_pictures
from ricenet.report.results import GALLERY, Results
from ricenet.report.run_results import RunResults
from ricenet.report.sentences import gate_text, sections_of, summary_sentences
from ricenet.report.statistics_methods import REFERENCES
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import write_bytes, write_text
from ricenet.runtime.stage_times import shown
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import guards_verdict

FIGURES = "figures"
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def write_report(results: Results, folder: Path, protocol: Protocol) -> Path:
    """Write index.html, the figures beside it, and report.pdf where asked for; returns the page's path.

    Raises ResultError: a figure of an earlier stage is missing; evidence of other splits; no WeasyPrint.
    """
    require_same_splits(results)
    return write_page(
        report_page(results, draw_pictures(results, folder / FIGURES), protocol), folder, protocol
    )


def require_same_splits(results: RunResults) -> None:
    """Refuse evidence of another division. Raises ResultError."""
    found, expected = results.evidence.splits_digest, results.splits.digest
    if found != expected:
        raise ResultError(
            f"evidence.json is of splits {found[:12]}, but the project's are {expected[:12]}. "
            "Make it again: dvc repro evidence"
        )


def write_page(html: str, folder: Path, protocol: Protocol) -> Path:
    """Write a report's page, and its PDF where asked for; returns the page's path.

    Raises ResultError: no WeasyPrint.
    """
    page = folder / "index.html"
    write_text(page, html)
    if protocol.params.report.pdf:
        write_pdf(html, folder / "report.pdf")
    return page


def report_page(results: Results, drawn: Mapping[str, Path], protocol: Protocol) -> str:
    """The page as HTML text. drawn: the pictures that `draw_pictures` made.

    Raises ResultError: a figure of an earlier stage is missing.
    """
    earlier = {
        stem: require(results.figures / f"{stem}.png", "evaluate") for stem in ("volumes", "learning_curves")
    }
    filters: dict[str, Callable[..., object]] = {
        "set_title": results.volumes.set_title,
        "seconds": shown,
        "picture": data_uri,
        "as_printed": paper.as_printed,
        "p_value": p_value,
        "estimate": estimate_text,
        "curve_rows": curve_rows,
        "curve_sentences": curve_sentences,
        "evaluations_text": evaluations_text,
        "gate_text": gate_text,
        "calibrated_text": results.calibrated_text,
        "case_pages": functools.partial(case_pages, results),
        "quality_page": functools.partial(quality_page, results),
    }
    figures = {**earlier, **drawn}
    values = _derived(results, protocol)
    return render("ricenet.report", "page.html", "page.css", filters, figures=figures, **values)


def _derived(results: Results, protocol: Protocol) -> dict[str, Any]:
    evidence = results.evidence
    standard = reference_standard(results.splits, results.participants, evidence.seed, evidence.resamples)
    return {
        "results": results,
        "evidence": evidence,
        "protocol": protocol,
        "published": paper,
        "sections": sections_of(results),
        "five_sentences": five_sentences(results),
        "sentences": summary_sentences(results),
        "volumes": results.volumes,
        "set_names": results.ordered(evidence.sets),
        "calibrated": results.ordered(evidence.calibration),
        "abstaining": results.ordered(evidence.abstention),
        "conformal": results.ordered(evidence.conformal),
        "repeated": results.ordered(evidence.repeats.macro_f1) if evidence.repeats else [],
        "beyond_time": results.ordered(evidence.beyond_time),
        "curved": results.ordered(evidence.learning_curves),
        "excluded": {name: subjects for name, subjects in evidence.excluded.items() if subjects},
        "score_titles": SCORES,
        "visited": results.ordered(results.visits.sets) if results.visits else [],
        "time_titles": TIME,
        "main_recipe": protocol.params.training.recipe,
        "contribution_text": contribution_sentence(evidence.contributions, results.volumes),
        "guards_text": guards_verdict(evidence.guards),
        "table": cohort_table(results.cohort, results.splits, results.participants, results.measures),
        "fewest": FEWEST,
        "flow": draw_flow(flow_of(results.cohort, results.checked_out, results.splits)),
        "follow_ups": follow_ups(results),
        "missing_volumes": missing_volumes_rows(evidence, results.training_seconds),
        "training_seconds": results.training_seconds,
        "surest": SUREST,
        "perturbations": perturbation_rows(results.robustness),
        "perturbed": results.ordered(results.robustness.effects),
        "methods": methods_paragraphs(results, protocol),
        "references": REFERENCES,
        "checklists": checklists(study_facts(results, standard)),
        "checklist_names": CITED,
        "reference_standard": standard,
        "gallery": GALLERY,
        "single_networks": SINGLE_NETWORKS,
        "external": external_rows(results.studies, results.validations),
        "external_columns": list(COLUMNS.values()),
        "external_later": list(later_rows(results.validations)),
    }


def estimate_text(estimate: Estimate, signed: bool = False) -> str:
    """An estimate for a table's cell, which may break before the interval but not within it.

    Without the interval where that is a single point, as of a constant answer.
    """
    value, _, interval = estimate.text(signed=signed).partition(" ")
    return value if estimate.low == estimate.high else f"{value} {interval.replace(' ', chr(0xA0))}"


def p_value(p: float) -> str:
    """A p-value for people.

    >>> p_value(0.0312), p_value(0.0004), p_value(1.0)
    ('0.031', '<0.001', '1.000')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def data_uri(picture: Path) -> str:
    """A picture as it stands in a page."""
    content = base64.b64encode(picture.read_bytes()).decode("ascii")
    return f"data:{_MEDIA_TYPES[picture.suffix]};base64,{content}"


def write_pdf(html: str, path: Path) -> None:
    """Write a page that loads nothing as a PDF on A4.

    Raises ResultError: as `page_as_pdf`.
    """
    write_bytes(path, page_as_pdf(html, "report.pdf is true", "set report.pdf to false"))
