"""`ricenet export`: results in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import mendable_errors

export_app = typer.Typer(no_args_is_help=True, help="Write results in the formats of other programs.")


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
