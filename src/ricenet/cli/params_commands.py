"""`ricenet params`: which settings are in force, and switching their scale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import mendable_errors

params_app = typer.Typer(
    no_args_is_help=True, help="Show the settings, or switch between demo and paper scale."
)

ParamsPath = Annotated[Path, typer.Option("--file", help="The parameter file.")]


@params_app.command("show")
def show(file: ParamsPath = Path("params.yaml")) -> None:
    """Print every setting in force, as validated YAML."""
    from ricenet.config.params import read_params
    from ricenet.config.scale import to_yaml

    with mendable_errors():
        typer.echo(to_yaml(read_params(file).model_dump()), nl=False)


@params_app.command("use")
def use(
    scale: Annotated[
        str, typer.Argument(help="demo (minutes on two cores) or paper (224 cubed, 800 epochs).")
    ],
    file: ParamsPath = Path("params.yaml"),
) -> None:
    """Write the settings of a scale into the parameter file; all others stay as they are."""
    from ricenet.config.scale import use_scale

    with mendable_errors():
        changed = use_scale(scale, file)
        typer.echo(f"{file}: {changed} setting(s) changed to the {scale} scale")
