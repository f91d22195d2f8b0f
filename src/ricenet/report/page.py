"""The page: a template filled with results, with style and pictures inside it.

Nothing is loaded from elsewhere, so that it shows offline, in a sandboxed frame and on paper.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from ricenet.evaluation import paper
from ricenet.evaluation.drawing import save_figure, set_title
from ricenet.evaluation.figures import macro_f1_figure
from ricenet.evaluation.predictions import require
from ricenet.files import write_text
from ricenet.html_templates import page_templates, template_text
from ricenet.report.results import Results, count_sites, count_subjects

_PACKAGE = "ricenet.report"
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def write_report(
    results: Results, folder: Path, settings: str, versions: Mapping[str, str], commit: str
) -> Path:
    """Write index.html, and figure 2 with the test vote as PNG and SVG; returns the page's path.

    settings: the parameters as YAML. versions: of packages, by name. commit: of the code.
    Raises ResultError: a figure of an earlier stage is missing.
    """
    figure = macro_f1_figure(results.metrics, {name: vote.macro_f1 for name, vote in results.votes.items()})
    for suffix in ("png", "svg"):
        save_figure(figure, folder / f"macro_f1.{suffix}")
    page = folder / "index.html"
    write_text(page, render(results, folder / "macro_f1.svg", settings, versions, commit))
    return page


def render(results: Results, macro_f1: Path, settings: str, versions: Mapping[str, str], commit: str) -> str:
    """The page as HTML text. macro_f1: the picture of figure 2.

    Raises ResultError: a figure of an earlier stage is missing.
    """
    templates = page_templates(_PACKAGE)
    templates.filters.update(set_title=set_title, picture=_data_uri, as_printed=paper.as_printed)
    return templates.get_template("page.html").render(
        results=results,
        css=template_text(_PACKAGE, "page.css"),
        subjects=count_subjects(results),
        sites=count_sites(results),
        published=paper,
        macro_f1=macro_f1,
        figures={
            stem: require(results.figures / f"{stem}.png", "evaluate")
            for stem in ("volumes", "confusion", "learning_curves")
        },
        settings=settings,
        versions=versions,
        commit=commit,
    )


def _data_uri(picture: Path) -> str:
    content = base64.b64encode(picture.read_bytes()).decode("ascii")
    return f"data:{_MEDIA_TYPES[picture.suffix]};base64,{content}"
