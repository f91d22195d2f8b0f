"""`ricenet check`: what is wrong with a raw cohort, before any of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

CohortFolder = Annotated[
    Path | None,
    typer.Argument(help="A folder with participants.tsv; by default cohort.root of params.yaml."),
]


def check(folder: CohortFolder = None) -> None:
    """Report every problem of a raw cohort; exit status 1 if there is one."""
    from ricenet.cohort.checks import admit, check_cohort
    from ricenet.config.params import read_params

    log_to_stderr()
    with mendable_errors():
        report = check_cohort(folder or Path(read_params().cohort.root))
        if report.problems:
            typer.echo(report.text())
            raise typer.Exit(1)
        typer.echo(f"no problem found in {admit(report, exclude_faulty=False).summary()}")
