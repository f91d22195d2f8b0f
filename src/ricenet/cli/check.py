"""`ricenet check`: what is wrong with a raw cohort, before any of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.vocabulary import VariableSpec, Volumes

CohortFolder = Annotated[
    Path | None,
    typer.Argument(help="A folder with participants.tsv; by default cohort.root of params.yaml."),
]


def check(folder: CohortFolder = None) -> None:
    """Report every problem of a raw cohort; exit status 1 if there is one."""
    from ricenet.cohort.checks import admit, check_cohort

    log_to_stderr()
    with mendable_errors():
        report = check_cohort(*declared_cohort(folder))
        if report.problems:
            typer.echo(report.text())
            raise typer.Exit(1)
        typer.echo(f"no problem found in {admit(report, exclude_faulty=False).summary()}")
        for note in report.notes:
            typer.echo(f"  {note.subject or note.file}: {note.found}")


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
