"""`ricenet init` and `ricenet upgrade`: a project of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.running import mendable_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ricenet.project.upgrade import Change


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new folder, in the current one.")],
) -> None:
    """Make a project: pipeline, settings, git and DVC, with the demo cohort (docs/own-project.md)."""
    from ricenet import __version__
    from ricenet.project.create import create_project

    with mendable_errors():
        not_committed = create_project(name)
        typer.echo(f"{name}: a project of ricenet {__version__}, with git and DVC")
        if not_committed:
            typer.echo(f"no first commit: {not_committed}", err=True)
        typer.echo(f"Next:\n  cd {name}")
        if not_committed:
            typer.echo(f"  git commit -m 'A project of ricenet {__version__}'")
        typer.echo("  dvc repro        # the demo; your own patients: docs/own-cohort.md")


def upgrade(
    yes: Annotated[
        bool, typer.Option("--yes", help="Write what is shown; files that you edited stay.")
    ] = False,
) -> None:
    """Show what the installed version writes otherwise into this project; --yes writes it.

    A file that you edited stays, and the new one is written beside it as FILE.new. params.yaml is never
    written: its new settings are told.
    """
    from ricenet import __version__
    from ricenet.project.create import note_python
    from ricenet.project.settings_news import NEEDED, settings_news
    from ricenet.project.upgrade import SETTINGS, apply_changes, find_changes, require_project

    project = Path()
    with mendable_errors():
        record = require_project(project)
        changes, news = find_changes(project, record), settings_news(project / SETTINGS)
        typer.echo(f"this project is at ricenet {record.version}, installed is {__version__}")
        typer.echo("".join(line for change in changes for line in _shown(change)), nl=False)
        for line in news:
            typer.echo(f"{SETTINGS}: {line}")
        if yes:
            apply_changes(project, record, changes)
        else:
            # of this machine alone, and not in git
            note_python(project)
        typer.echo(_what_next(changes, yes, any(line.endswith(NEEDED) for line in news)))


def _shown(change: Change) -> Sequence[str]:
    said = {
        "new": "is new",
        "changed": "changes",
        "dropped": "is dropped",
        "edited": f"changes, and you edited it: it stays, the new one is {change.path}.new",
        "edited, dropped": "is dropped, and you edited it: it stays",
    }
    return f"{change.path} {said[change.kind]}\n", change.difference


def _what_next(changes: Sequence[Change], written: bool, lacks_settings: bool) -> str:
    if not changes:
        files = "its files are those of the installed version"
        return f"{files}; params.yaml lacks what it needs" if lacks_settings else files
    if not written:
        return "nothing is written yet: `ricenet upgrade --yes` does so"
    return (
        "written. Next: look at `git diff`, take over what you want of *.new and delete them, "
        + ("add to params.yaml what it needs, " if lacks_settings else "")
        + "commit, `dvc repro`"
    )
