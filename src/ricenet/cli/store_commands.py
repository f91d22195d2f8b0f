"""`ricenet store`: looking after the results that are kept between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.options import DryRun
from ricenet.cli.running import mendable_errors

store_app = typer.Typer(no_args_is_help=True, help="Look after the results that are kept between runs.")


@store_app.command("gc")
def gc(
    older_than_days: Annotated[
        float, typer.Option(min=0, help="Keep what was made within so many days.")
    ] = 0.0,
    dry_run: DryRun = False,
) -> None:
    """Delete results that no stage's last run used, and what killed runs left behind.

    Nothing that `dvc repro` needs is deleted; what goes is made again if you return to older settings.
    """
    from ricenet.runtime.sweep import sweep

    with mendable_errors():
        swept = sweep(Path(), older_than_days=older_than_days, dry_run=dry_run)
        verb = "would go" if dry_run else "deleted"
        for part in swept:
            gone, kept = len(part.unused) + len(part.left_behind), f", {part.kept} kept" if part.kept else ""
            typer.echo(f"{part.kind}: {gone} {verb}{kept} ({part.freed_bytes / 1e6:.1f} MB)")
        typer.echo(f"{sum(part.freed_bytes for part in swept) / 1e6:.1f} MB in all")


@store_app.command("share")
def share() -> None:
    """Hold files that DVC's cache has too once, as hard links: those of the store and of the local MLflow."""
    from ricenet.cli.status import require_project
    from ricenet.runtime.store_share import share_with_cache

    with mendable_errors():
        require_project(Path())
        typer.echo(f"{share_with_cache(Path()) / 1e6:.1f} MB freed")


@store_app.command("times")
def times() -> None:
    """Show how long each stage took when it last ran."""
    from ricenet.runtime.stage_times import read_stage_times, shown

    if not (found := read_stage_times()):
        typer.echo("no stage has run yet; start with `dvc repro`")
        return
    width = max(len(stage) for stage in found)
    for stage, seconds in sorted(found.items(), key=lambda item: -item[1]):
        typer.echo(f"{stage:<{width}}  {shown(seconds)}")
    typer.echo(f"{'in all':<{width}}  {shown(sum(found.values()))}")
