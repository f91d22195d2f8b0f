"""`ricenet tracking`: a server for runs and models, its backup, and moving a project's runs there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.options import PARAMS, AllowedHosts, DryRun, Host, ParamsFile, Port
from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.tracking.server.settings import ServerSettings

tracking_app = typer.Typer(
    no_args_is_help=True, help="Run an MLflow server for several people; back it up; move runs to it."
)

Folder = Annotated[Path, typer.Option(help="The server's folder: databases, files, secrets.")]
DEFAULT = Path("mlflow/server")


@tracking_app.command("start")
def start(
    folder: Folder = DEFAULT,
    port: Port = 5000,
    host: Host = "127.0.0.1",
    allowed_host: AllowedHosts = None,
    former_allowed_hosts: Annotated[str | None, typer.Option("--allowed-hosts", hidden=True)] = None,
    database: Annotated[
        str | None,
        typer.Option(help="Of a new server: postgresql or sqlite; by default PostgreSQL where installed."),
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option(help="Of a new server: s3://BUCKET/PREFIX instead of a folder.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; 2 with PostgreSQL, 1 with sqlite.")] = None,
    permission: Annotated[
        str, typer.Option(help="Of users by default: READ, EDIT, MANAGE or NO_PERMISSIONS.")
    ] = "READ",
    admin: Annotated[str, typer.Option(help="The administrator's name.")] = "admin",
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring an earlier MLflow's database up to date; back up first.")
    ] = False,
) -> None:
    """Start MLflow with sign-in in the foreground; Ctrl-C stops it and its database (docs/server.md).

    The administrator's password comes from RICENET_SERVER_PASSWORD or MLFLOW_TRACKING_PASSWORD.
    """
    from ricenet.tracking.server.server_folder import ServerFolder
    from ricenet.tracking.server.settings import admin_password
    from ricenet.tracking.server.start import serve

    log_to_stderr()
    with mendable_errors():
        settings = _server_settings(
            host=host,
            port=port,
            database=database,
            artifacts=artifacts,
            allowed_hosts=(*(allowed_host or ()), *_by_commas(former_allowed_hosts)),
            workers=workers,
            permission=permission,
            admin=admin,
            upgrade=upgrade,
        )
        try:
            serve(ServerFolder.at(folder), settings, admin_password(), _say_ready)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


def _server_settings(**options: object) -> ServerSettings:
    """The options as settings. Raises ParamsError: those that cannot be."""
    from pydantic import ValidationError

    from ricenet.runtime.errors import ParamsError
    from ricenet.tracking.server.settings import ServerSettings

    try:
        return ServerSettings.model_validate(options)
    except ValidationError as error:
        # the input is left out: an address may hold a password
        found = [f"{_option(str(e['loc'][0]))}: {e['msg']}" for e in error.errors()]
        raise ParamsError("ricenet tracking start", found) from None


def _option(setting: str) -> str:
    return "--allowed-host" if setting == "allowed_hosts" else f"--{setting.replace('_', '-')}"


def _by_commas(names: str | None) -> list[str]:
    """Names as an earlier spelling of the option took them."""
    return names.split(",") if names else []


def _say_ready(address: str) -> None:
    typer.echo(f"MLflow: {address} (Ctrl-C stops it)")


@tracking_app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet.")],
    folder: Folder = DEFAULT,
) -> None:
    """Write a backup of the server, which may run meanwhile: databases, users, files, a manifest."""
    from ricenet.tracking.server.backup import back_up
    from ricenet.tracking.server.server_folder import ServerFolder

    log_to_stderr()
    with mendable_errors():
        manifest = back_up(ServerFolder.at(folder), target)
        size = f"{len(manifest.files)} file(s), {manifest.total_bytes / 1e6:.1f} MB"
        typer.echo(f"{target}: {manifest.database}, {size}")


@tracking_app.command("restore")
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `ricenet tracking backup` wrote.")],
    folder: Folder = DEFAULT,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let it take the place of what is in the folder.")
    ] = False,
) -> None:
    """Make a server's folder from a backup, once every file of it agrees with its digest."""
    from ricenet.tracking.server.restore import restore as restored
    from ricenet.tracking.server.server_folder import ServerFolder

    log_to_stderr()
    with mendable_errors():
        manifest = restored(backup, ServerFolder.at(folder), replace)
        typer.echo(f"{folder}: as of {manifest.made_utc}; start it with `ricenet tracking start`")


@tracking_app.command("migrate")
def migrate(
    dry_run: DryRun = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Copy runs, models, versions and aliases of mlflow/mlflow.db to the server of tracking.uri.

    A second call copies what is new since the first. Nothing here is changed.
    """
    from ricenet.config.params import read_params
    from ricenet.tracking.address import chosen_uri
    from ricenet.tracking.migration.migrate import migrate as migrated

    log_to_stderr()
    with mendable_errors():
        params = read_params(file).tracking
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
