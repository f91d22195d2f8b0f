"""`ricenet export`: results in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli import completion
from ricenet.cli.running import log_to_stderr, mendable_errors

export_app = typer.Typer(
    no_args_is_help=True, help="Write results, or a model, in the formats of other programs."
)


@export_app.command("results")
def results(
    output: Annotated[
        Path,
        typer.Argument(help="A spreadsheet (.xlsx), or a folder for one .csv a table.", metavar="OUT"),
    ],
) -> None:
    """Write subjects, cross-validated predictions, votes and a data dictionary as tables.

    Holds the cohort's pseudonyms.
    """
    from ricenet.report.results_tables import results_tables
    from ricenet.report.tables_file import write_csv_folder, write_xlsx
    from ricenet.runtime.errors import ResultError

    with mendable_errors():
        tables = results_tables(Path())
        if output.suffix.lower() == ".xlsx":
            write_xlsx(tables, output, Path())
        elif output.suffix:
            raise ResultError(
                f"{output.name}: expected a name that ends in .xlsx, or a folder for .csv files"
            )
        else:
            write_csv_folder(tables, output, Path())
        counts = ", ".join(f"{len(table.rows)} {table.name}" for table in tables[:-1])
        typer.echo(f"{output}: {counts}")


@export_app.command("bundle")
def bundle(
    modality_set: Annotated[
        str,
        typer.Argument(metavar="SET", autocompletion=completion.modality_sets, help="Such as post_op+dose."),
    ],
    output: Annotated[Path, typer.Argument(help="The bundle's folder: new, or empty.", metavar="FOLDER")],
    version: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Version of its registered model (default: the champion)."),
    ] = None,
) -> None:
    """Write a set's champion as a MONAI bundle, which runs without ricenet. Research use only.

    Not every network can be one (docs/bundle.md).
    """
    from ricenet.bundle.write_bundle import write_bundle
    from ricenet.config.params import read_params
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.exported_version import champion_or_version, exported_version

    log_to_stderr()
    with mendable_errors():
        tracking = read_params().tracking
        store = open_store(Path(), tracking.uri, tracking.experiment)
        chosen = champion_or_version(store, tracking.model_prefix, modality_set, version)
        exported, files = exported_version(Path(), store, chosen)
        write_bundle(output, files, exported)
        typer.echo(
            f"{output}: {chosen}, {exported.record.folds} folds; its docs/README.md says how to run it"
        )


@export_app.command("study")
def study(
    modality_set: Annotated[
        str,
        typer.Argument(metavar="SET", autocompletion=completion.modality_sets, help="Such as post_op+dose."),
    ],
    output: Annotated[
        Path, typer.Option("--out", metavar="PACKAGE", help="The package to write: a new file (.zip).")
    ],
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The analysis plan (JSON); what it leaves out is as by default, as is all without.",
        ),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Version of its registered model (default: the champion)."),
    ] = None,
) -> None:
    """Seal a set's champion with an analysis plan, for another hospital to validate.

    No patient's data are in the package; models/studies.json notes that it was sealed here
    (docs/external-validation.md).
    """
    from ricenet.config.params import read_params
    from ricenet.study.accepted import note_study, sealed_studies
    from ricenet.study.plan import AnalysisPlan, read_plan
    from ricenet.study.write_package import write_package
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.exported_version import champion_or_version
    from ricenet.tracking.study_content import study_content

    log_to_stderr()
    with mendable_errors():
        # a plan that cannot be is found out before anything is fetched
        given = None if plan is None else read_plan(plan)
        params = read_params()
        store = open_store(Path(), params.tracking.uri, params.tracking.experiment)
        chosen = champion_or_version(store, params.tracking.model_prefix, modality_set, version)
        analysis = given or AnalysisPlan(seed=params.seed)
        content = study_content(Path(), store, chosen, analysis, params)
        before = {one.content: one.sealed_utc for one in sealed_studies(Path()).values()}
        record = write_package(output, content, before)
        note_study(Path(), record, content.home)
        typer.echo(
            f"{output}: {chosen}, sealed {record.sealed_utc}\n"
            f"seal {record.seal}\nplan {record.plan} (gate: {record.gate})\n"
            f"There: ricenet validate {output.name} COHORT"
        )
