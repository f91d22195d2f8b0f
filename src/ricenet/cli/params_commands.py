"""`ricenet params`: which settings are in force, and writing those of a preset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import mendable_errors

params_app = typer.Typer(no_args_is_help=True, help="Show the settings, or write those of a preset.")

ParamsPath = Annotated[Path, typer.Option("--file", help="The parameter file.")]


@params_app.command("show")
def show(file: ParamsPath = Path("params.yaml")) -> None:
    """Print every setting in force, as validated YAML."""
    from ricenet.config.params import read_params
    from ricenet.config.preset import to_yaml

    with mendable_errors():
        typer.echo(to_yaml(read_params(file).model_dump()), nl=False)


@params_app.command("use")
def use(
    preset: Annotated[
        str,
        typer.Argument(
            help="demo (minutes on two cores), paper (224 cubed, 800 epochs), or small_cohort (a recipe for "
            "some dozens of patients)."
        ),
    ],
    file: ParamsPath = Path("params.yaml"),
) -> None:
    """Write the settings of a preset into the parameter file; all others stay as they are."""
    from ricenet.config.preset import use_preset

    with mendable_errors():
        changed = use_preset(preset, file)
        typer.echo(f"{file}: {changed} setting(s) changed to the preset {preset}")
