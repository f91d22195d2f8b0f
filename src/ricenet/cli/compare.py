"""`ricenet compare`: is one training better than another, on the same held-out subjects?"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.options import AsJson
from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.config.params import Params
    from ricenet.evaluation.evidence.paired import Paired
    from ricenet.evaluation.held_out import HeldOut

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".svg")


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A modality set at hand (e.g. post_op+dose), models:/NAME@ALIAS, models:/NAME/VERSION, or "
            "an MLflow run: its id, 8 or more of its first digits, or its name.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, named likewise.")],
    as_json: AsJson = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it, as FILE.png or FILE.svg.")
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(min=200, help="Of the bootstrap (default: evidence.resamples of params.yaml)."),
    ] = None,
) -> None:
    """Compare two trainings on the subjects that both held out: scores, paired tests, a verdict in words.

    Nothing is trained, promoted or written but the plot; the test set is not used (docs/compare.md).
    """
    from ricenet.config.params import read_params

    log_to_stderr()
    with mendable_errors():
        if plot is not None:
            require_drawable(plot)
        params = read_params()
        found, held_out = _compared(params, a, b, resamples or params.evidence.resamples)
        if plot is not None:
            _draw(found, held_out, plot)
        _show(found, as_json)


def _compared(params: Params, a: str, b: str, resamples: int) -> tuple[Paired, HeldOut]:
    from ricenet.evaluation.evidence.paired import compare_two
    from ricenet.tracking.compared import find_side
    from ricenet.tracking.connection import open_store

    tracking = params.tracking
    opened = functools.cache(lambda: open_store(Path(), tracking.uri, tracking.experiment))
    side_a, side_b = (
        find_side(Path(), given, tracking.model_prefix, params.volumes, opened) for given in (a, b)
    )
    return compare_two(side_a, side_b, params.seed, resamples)


def _draw(found: Paired, held_out: HeldOut, plot: Path) -> None:
    from ricenet.display.drawing import save_figure
    from ricenet.evaluation.evidence.comparison_figure import comparison_figure

    save_figure(comparison_figure(found, held_out), plot)
    logger.info("%s written", plot)


def _show(found: Paired, as_json: bool) -> None:
    from rich.console import Console

    from ricenet.cli import comparison_text

    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    elif (console := Console()).is_terminal:
        comparison_text.print_rich(found, console)
    else:
        typer.echo(comparison_text.plain(found))


def require_drawable(path: Path) -> None:
    """Make sure, before any work, that a figure can be written there.

    Raises ResultError: another suffix than .png or .svg, no such folder, or a folder of this name.
    """
    from ricenet.runtime.errors import ResultError

    if path.suffix not in SUFFIXES:
        raise ResultError(f"--plot {path.name} is neither a .png nor a .svg; name it FILE.png or FILE.svg")
    if not path.parent.is_dir():
        raise ResultError(f"--plot {path.name}: its folder {path.parent.name} does not exist; make it first")
    if path.is_dir():
        raise ResultError(f"--plot {path.name} is a folder; name a file in it")
