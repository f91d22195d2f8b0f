"""`ricenet explain`: why a model says what it says of a subject."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli import completion
from ricenet.cli.running import log_to_stderr, mendable_errors

logger = logging.getLogger(__name__)


def explain(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUBJECT...",
            autocompletion=completion.subjects,
            help="Such as sub-001; one or several.",
        ),
    ] = None,
    cohort: Annotated[
        bool, typer.Option("--cohort", help="Everyone outside the test set, instead of single subjects.")
    ] = False,
    modality_set: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="MODALITY_SET",
            autocompletion=completion.modality_sets,
            help="Such as event+dose (default: the first of explain.modality_sets).",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Gets a folder a set, and in it one a subject.")
    ] = Path("explained"),
) -> None:
    """Occlusion maps of trained models: a page a subject, and a gallery. Research use only.

    A subject is explained by the networks that did not train on it, as params.yaml's section `explain` says.
    """
    from ricenet.config.params import read_params
    from ricenet.evaluation.occlusion.explain_cohort import explain_subjects
    from ricenet.evaluation.occlusion.explainer import Explainer
    from ricenet.evaluation.occlusion.page.gallery import PAGE
    from ricenet.evaluation.occlusion.page.ways import ProjectPages

    if bool(subjects) == cohort:
        raise typer.BadParameter("name subjects, or give --cohort for all: one of the two")
    log_to_stderr()
    with mendable_errors():
        params = read_params()
        name = modality_set or next(iter(params.explain.modality_sets), params.modality_sets[0])
        explainer = Explainer.open(Path(), name, params)
        chosen = list(dict.fromkeys(subjects or explainer.subjects(None)))
        voted = _has_voted(name, explainer.ensemble.digest)
        explainer.require_explainable(chosen, voted)
        pages = ProjectPages.seen_from(output / name, Path("work"))
        explain_subjects(explainer, chosen, output / name, pages)
    logger.info("%s: %d subject(s)", output / name / PAGE, len(chosen))


def _has_voted(modality_set: str, digest: str) -> bool:
    from ricenet.runtime.records import read_result

    path = Path("work/vote/vote.json")
    votes = read_result(path, "vote") if path.is_file() else {}
    return bool(votes.get(modality_set, {}).get("digest") == digest)
