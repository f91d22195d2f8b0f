"""`ricenet params`: which settings are in force, and writing those of a preset."""

from __future__ import annotations

from typing import Annotated

import typer

from ricenet.cli.options import PARAMS, FormerParamsFile, ParamsFile
from ricenet.cli.running import mendable_errors

params_app = typer.Typer(no_args_is_help=True, help="Show the settings, or write those of a preset.")


@params_app.command("show")
def show(file: ParamsFile = PARAMS, former: FormerParamsFile = None) -> None:
    """Print every setting in force, as validated YAML."""
    from ricenet.config.params import read_params
    from ricenet.config.preset import to_yaml

    with mendable_errors():
        typer.echo(to_yaml(read_params(former or file).model_dump()), nl=False)


@params_app.command("use")
def use(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET",
            help="demo (minutes on two cores), paper (224 cubed, 800 epochs), or small_cohort (a recipe for "
            "some dozens of patients).",
        ),
    ],
    file: ParamsFile = PARAMS,
    former: FormerParamsFile = None,
) -> None:
    """Write the settings of a preset into the parameter file; all others stay as they are."""
    from ricenet.config.preset import use_preset

    with mendable_errors():
        written = former or file
        changed = use_preset(preset, written)
        typer.echo(f"{written}: {changed} setting(s) changed to the preset {preset}")
