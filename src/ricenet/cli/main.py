"""The root of the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from ricenet import __version__
from ricenet.cli.check import check
from ricenet.cli.cohort import cohort_app
from ricenet.cli.compare import compare
from ricenet.cli.doctor import doctor
from ricenet.cli.explain import explain
from ricenet.cli.export import export_app
from ricenet.cli.help_texts import complete_help
from ricenet.cli.imports import import_app
from ricenet.cli.params_commands import params_app
from ricenet.cli.phantom import phantom
from ricenet.cli.predict import OWN_OPTIONS, predict, predict_cohort
from ricenet.cli.project import init, upgrade
from ricenet.cli.promote import promote
from ricenet.cli.send import send
from ricenet.cli.serve import serve
from ricenet.cli.status import open_page, status
from ricenet.cli.store_commands import store_app
from ricenet.cli.tracking import tracking_app
from ricenet.cli.ui import ui
from ricenet.cli.validate import validate, validation_app

app = typer.Typer(
    no_args_is_help=True,
    epilog="`ricenet status` says where the project stands and what comes next.",
    pretty_exceptions_enable=False,
)
app.add_typer(params_app, name="params")
app.add_typer(cohort_app, name="cohort")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.add_typer(store_app, name="store")
app.add_typer(tracking_app, name="tracking")
app.add_typer(validation_app, name="validation")
for command in (
    check, compare, doctor, explain, init, phantom, predict_cohort, promote, send, serve, status, ui, upgrade,
    validate,
):  # fmt: skip
    app.command()(command)
app.command("open")(open_page)
app.command(context_settings=OWN_OPTIONS)(predict)
complete_help(app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ricenet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Tell tumour recurrence from radiation-induced contrast enhancement.

    Research software, not for clinical use.
    """
