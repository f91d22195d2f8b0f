"""`ricenet cohort`: adding a cohort to the project, and counting its subjects."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.check import CohortFolder, MappingFile, counted, declared_cohort, declared_labels
from ricenet.cli.options import PARAMS, AsJson, ParamsFile
from ricenet.cli.running import log_to_stderr, mendable_errors

cohort_app = typer.Typer(no_args_is_help=True, help="Add your own cohort, or count the subjects of one.")


@cohort_app.command("add")
def add(
    folder: Annotated[
        Path, typer.Argument(metavar="COHORT", help="A raw cohort (docs/own-cohort.md), anywhere.")
    ],
    name: Annotated[
        str | None, typer.Option(help="It becomes data/NAME (default: the folder's own name).")
    ] = None,
    mapping: MappingFile = None,
) -> None:
    """Check a cohort, copy it to data/NAME, version it with DVC, and let params.yaml name it.

    A cohort that lies in data/NAME already is not copied. With a problem, nothing is changed.
    """
    from ricenet.cohort.adoption import adopt_cohort

    log_to_stderr()
    with mendable_errors():
        adoption = adopt_cohort(folder, name or folder.absolute().name, mapping=mapping)
        root, excluded = adoption.root, len(adoption.cohort.excluded)
        typer.echo(adoption.cohort.summary())
        if adoption.exclude_faulty:
            typer.echo(f"cohort.exclude_faulty is true: faulty subjects are excluded, {excluded} for now")
        forbidden, doubtful = counted(adoption.cohort.subjects, required=True)
        for text in (*forbidden, *doubtful):
            typer.echo(f"warning: {text}", err=True)
        typer.echo(f"{root}: {'copied' if adoption.copied else 'already there'}, versioned by DVC")
        typer.echo(f"params.yaml: cohort.root is {root}")
        ignored = root.with_name(".gitignore")
        files = [adoption.dvc_file, *([ignored] if ignored.exists() else []), ".dvc/config", "params.yaml"]
        mend = "  correct what the warnings name\n" if forbidden else ""
        typer.echo(f"To keep in git:\n  git add {shlex.join(map(str, files))}")
        typer.echo(f"Next:\n{mend}  dvc repro")


@cohort_app.command("summary")
def summary(
    folder: CohortFolder = None,
    as_json: AsJson = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Count subjects by label, subset, source and site, with missing data, dose and intervals.

    Reads the participants table and the dose sidecars only; `ricenet check` reads everything.
    """
    from ricenet.cohort.summary import summarise_cohort, summary_table

    log_to_stderr()
    with mendable_errors():
        summarised = summarise_cohort(*declared_cohort(folder, file)[:2], declared_labels(folder, file))
        as_text = json.dumps(summarised.as_json(), indent=2, allow_nan=False) if as_json else None
        typer.echo(as_text or summary_table(summarised))
