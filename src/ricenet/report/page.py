"""The page: templates filled with results, with style and pictures inside it.

Nothing is loaded from elsewhere, so that it shows offline, in a sandboxed frame and on paper.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ricenet.display.drawing import set_title
from ricenet.display.templates import page_templates, template_text
from ricenet.evaluation import paper
from ricenet.evaluation.evidence.contribution import contribution_sentence
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.intervals import Estimate
from ricenet.report.checklists import checklists
from ricenet.report.cohort_table import FEWEST, cohort_table
from ricenet.report.figures_forest import SCORES
from ricenet.report.figures_robustness import perturbation_rows
from ricenet.report.flow import draw_flow, flow_of
from ricenet.report.methods import REFERENCES, methods_paragraphs
from ricenet.report.model_card import SINGLE_NETWORKS
from ricenet.report.pdf import write_pdf
from ricenet.report.pictures import draw_pictures
from ricenet.report.protocol import Protocol
from ricenet.report.results import GALLERY, Results
from ricenet.report.summary import SECTIONS, guards_verdict, summary_sentences
from ricenet.report.votes import gate_text, looks_text
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import write_text
from ricenet.runtime.tables import require
from ricenet.vocabulary import MODALITIES

FIGURES = "figures"
_PACKAGE = "ricenet.report"
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def write_report(results: Results, folder: Path, protocol: Protocol) -> Path:
    """Write index.html, the figures beside it, and report.pdf where asked for; returns the page's path.

    Raises ResultError: a figure of an earlier stage is missing; evidence of other splits; no WeasyPrint.
    """
    _same_splits(results)
    html = render(results, draw_pictures(results, folder / FIGURES), protocol)
    page = folder / "index.html"
    write_text(page, html)
    if protocol.params.report.pdf:
        write_pdf(html, folder / "report.pdf")
    return page


def render(results: Results, drawn: Mapping[str, Path], protocol: Protocol) -> str:
    """The page as HTML text. drawn: the pictures that `draw_pictures` made.

    Raises ResultError: a figure of an earlier stage is missing.
    """
    templates = page_templates(_PACKAGE)
    templates.filters.update(
        set_title=set_title,
        picture=_data_uri,
        as_printed=paper.as_printed,
        p_value=p_value,
        told=told,
        looks_text=looks_text,
        gate_text=gate_text,
    )
    earlier = {
        stem: require(results.figures / f"{stem}.png", "evaluate") for stem in ("volumes", "learning_curves")
    }
    return templates.get_template("page.html").render(
        results=results,
        evidence=results.evidence,
        protocol=protocol,
        css=template_text(_PACKAGE, "page.css"),
        published=paper,
        figures={**earlier, **drawn},
        **_derived(results, protocol),
    )


def _derived(results: Results, protocol: Protocol) -> dict[str, Any]:
    evidence = results.evidence
    return {
        "sections": SECTIONS,
        "sentences": summary_sentences(results),
        "set_names": in_paper_order(evidence.sets),
        "calibrated": in_paper_order(evidence.calibration),
        "abstaining": in_paper_order(evidence.abstention),
        "repeated": in_paper_order(evidence.repeats.macro_f1) if evidence.repeats else [],
        "modalities": MODALITIES,
        "score_titles": SCORES,
        "contribution_told": contribution_sentence(evidence.contributions, evidence.volumes),
        "guards_text": guards_verdict(evidence.guards),
        "table": cohort_table(results.splits, results.participants, results.measures),
        "fewest": FEWEST,
        "flow": draw_flow(flow_of(results.cohort, results.checked_out, results.splits)),
        "perturbations": perturbation_rows(results.robustness),
        "perturbed": in_paper_order(results.robustness.effects),
        "methods": methods_paragraphs(results, protocol),
        "references": REFERENCES,
        "checklists": checklists(),
        "gallery": GALLERY,
        "single_networks": SINGLE_NETWORKS,
    }


def told(estimate: Estimate, signed: bool = False) -> str:
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


def _same_splits(results: Results) -> None:
    found, expected = results.evidence.splits_digest, results.splits.digest
    if found != expected:
        raise ResultError(
            f"evidence.json is of splits {found[:12]}, but the project's are {expected[:12]}. "
            "Make it again: dvc repro evidence"
        )


def _data_uri(picture: Path) -> str:
    content = base64.b64encode(picture.read_bytes()).decode("ascii")
    return f"data:{_MEDIA_TYPES[picture.suffix]};base64,{content}"
