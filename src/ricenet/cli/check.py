"""`ricenet check`: what is wrong with a raw cohort, before any of it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.cohort.checked import CheckedSubject
    from ricenet.vocabulary import VariableSpec, Volumes

CohortFolder = Annotated[
    Path | None,
    typer.Argument(help="A folder with participants.tsv; by default cohort.root of params.yaml."),
]

MappingFile = Annotated[
    Path | None,
    typer.Option(help="JSON: how a BIDS dataset calls its files otherwise (docs/own-cohort.md)."),
]


def check(folder: CohortFolder = None, mapping: MappingFile = None) -> None:
    """Report every problem of a raw cohort; exit status 1 if there is one."""
    from ricenet.cohort.checks import admit, check_cohort
    from ricenet.cohort.mapped_cohort import mapped_cohort

    log_to_stderr()
    with mendable_errors():
        root, volumes, variables = declared_cohort(folder)
        with mapped_cohort(root, mapping, volumes) as given:
            report = given.in_own_names(check_cohort(given.folder, volumes, variables))
        forbidden, doubtful = counted(report.subjects, required=folder is None)
        if report.problems:
            typer.echo(report.text())
        else:
            typer.echo(f"no problem found in {admit(report, exclude_faulty=False).summary()}")
            for note in report.notes:
                typer.echo(f"  {note.subject or note.file}: {note.found}")
        for text in doubtful:
            typer.echo(f"  {text}")
        if forbidden:
            typer.echo("\n  - ".join(["too few subjects for what params.yaml asks:", *forbidden]))
        if report.problems or forbidden:
            raise typer.Exit(1)


def counted(subjects: Sequence[CheckedSubject], *, required: bool) -> tuple[list[str], list[str]]:
    """What the numbers of subjects forbid, and what they make doubtful, as params.yaml has it.

    required: False where a cohort without any label may be one to predict, which needs no numbers.
    """
    from ricenet.cohort.counts import Demands, doubtful_by_counts, forbidden_by_counts
    from ricenet.config.params import PARAMS_FILE, read_params

    is_labelled = any(subject.label is not None for subject in subjects)
    if not PARAMS_FILE.is_file() or not (required or is_labelled) or not subjects:
        return [], []
    return forbidden_by_counts(subjects, Demands.of(read_params())), doubtful_by_counts(subjects)


def declared_cohort(folder: Path | None) -> tuple[Path, Volumes, tuple[VariableSpec, ...]]:
    """A cohort's folder, and the volumes and variables that params.yaml declares.

    Outside a project, a folder that is given is taken for the paper's volumes.
    """
    from ricenet.config.params import PARAMS_FILE, read_params
    from ricenet.vocabulary import PAPER_VOLUMES

    if folder is not None and not PARAMS_FILE.is_file():
        return folder, PAPER_VOLUMES, ()
    params = read_params()
    return folder or Path(params.cohort.root), params.volumes, params.variables
