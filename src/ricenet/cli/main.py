"""The root of the command line."""

from __future__ import annotations

import typer

from ricenet.cli.check import check
from ricenet.cli.cohort import cohort_app
from ricenet.cli.compare import compare
from ricenet.cli.doctor import doctor
from ricenet.cli.explain import explain
from ricenet.cli.imports import import_app
from ricenet.cli.params_commands import params_app
from ricenet.cli.phantom import phantom
from ricenet.cli.predict import OWN_OPTIONS, predict, predict_cohort
from ricenet.cli.promote import promote
from ricenet.cli.serve import serve
from ricenet.cli.store_commands import store_app
from ricenet.cli.ui import ui

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tell tumour recurrence from radiation-induced contrast enhancement. "
    "Research software, not for clinical use.",
)
app.add_typer(params_app, name="params")
app.add_typer(cohort_app, name="cohort")
app.add_typer(import_app, name="import")
app.add_typer(store_app, name="store")
for command in (check, compare, doctor, explain, phantom, predict_cohort, promote, serve, ui):
    app.command()(command)
app.command(context_settings=OWN_OPTIONS)(predict)
