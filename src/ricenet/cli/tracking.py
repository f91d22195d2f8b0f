"""`ricenet tracking`: looking after where runs and models are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors

tracking_app = typer.Typer(no_args_is_help=True, help="Look after where runs and models are recorded.")


@tracking_app.command("migrate")
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; write nothing there.")] = False,
) -> None:
    """Copy runs, models, versions and aliases of mlflow/mlflow.db to the server of tracking.uri.

    A second call copies what is new since the first. Nothing here is changed.
    """
    from ricenet.config.params import read_params
    from ricenet.tracking.address import chosen_uri
    from ricenet.tracking.migration.migrate import migrate as migrated

    log_to_stderr()
    with mendable_errors():
        params = read_params().tracking
        uri = chosen_uri(params.uri)
        done = migrated(
            Path(), uri, params.experiment, dry_run, lambda name: typer.echo(f"copying {name}", err=True)
        )
        verb = "would be copied" if dry_run else "copied"
        typer.echo(
            f"{verb}: {done.runs} run(s) with {done.points} value(s) of metrics, {done.files} file(s) of "
            f"{done.bytes / 1e6:.1f} MB, {done.versions} version(s), {done.aliases} alias(es); "
            f"there already: {done.runs_there} run(s), {done.versions_there} version(s)"
        )
