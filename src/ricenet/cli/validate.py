"""`ricenet validate` and `ricenet validation add`: a model is judged elsewhere, its result noted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

validation_app = typer.Typer(no_args_is_help=True, help="Results of other hospitals.")

PRIVATE = Path("ricenet-private")


def validate(
    package: Annotated[
        Path, typer.Argument(metavar="PACKAGE", help="The file that `ricenet export study` wrote.")
    ],
    cohort: Annotated[
        Path,
        typer.Argument(metavar="COHORT", help="Subjects in the layout of docs/own-cohort.md, with labels."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Of the result: new, or empty (default: validation-SEAL)."),
    ] = None,
    private: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Of what stays here: predictions, finished subjects, the ledger."
        ),
    ] = PRIVATE,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Beyond the plan, marked so: metric=NAME, or subgroup=COLUMN:GROUP,GROUP; repeatable.",
        ),
    ] = None,
    exclude_faulty: Annotated[
        bool, typer.Option("--exclude-faulty", help="Leave faulty subjects out; by default they are told.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Subjects at a time (default: by cores and memory)."),
    ] = None,
) -> None:
    """Judge a sealed model on a cohort by its plan; writes aggregated results alone. Research use only.

    Needs no project. Predictions of single patients stay in the private folder, which is never to be sent.
    A stopped run goes on where it was.
    """
    from ricenet.config.params import ExecutionParams
    from ricenet.inference.predict_subject import NOTICE
    from ricenet.report.protocol import package_versions
    from ricenet.study import validate as study
    from ricenet.study.open_package import opened_package

    log_to_stderr()
    execution = ExecutionParams(
        backend="serial" if workers == 1 else "processes",
        workers=workers or "auto",
        threads_per_worker="auto",
    )
    with mendable_errors(), opened_package(package) as opened:
        folder = out or Path(f"validation-{opened.record.seal[:12]}")
        study.require_new(folder)
        study.require_apart(folder, private)
        found = study.validate(
            opened, cohort, private, execution, package_versions(), also or (), exclude_faulty
        )
        study.write_result(found, opened, folder)
        typer.echo(
            f"{folder}: {study.RESULT} and {study.PAGE}, evaluation {found.evaluation} of this cohort with "
            f"the package {found.seal[:12]}\nAggregates alone: {study.RESULT} goes back; the folder "
            f"{private.name} stays here. {NOTICE}"
        )


@validation_app.command("add")
def add(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="The result.json that came back, as it was sent.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What the report calls it, such as the hospital. No patient's data."
        ),
    ] = None,
) -> None:
    """Note the result of another hospital in models/validations.json; the next `dvc repro` reports it."""
    from ricenet.study.accepted import add_validation
    from ricenet.study.result import read_study_result

    with mendable_errors():
        added = add_validation(Path(), read_study_result(result), name)
        if added is None:
            typer.echo(f"{result.name} is there already; nothing was added")
        else:
            typer.echo(f"{added.name} is in models/validations.json\nNext:\n  dvc repro")
