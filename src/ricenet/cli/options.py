"""Options that several commands have, in one spelling and in the same words.

`--params` names the parameter file in every command that needs no results of the project. Those that work on
its results (`compare`, `explain`, `predict`, `promote`, `serve`, `cohort add`) read the params.yaml beside
them, as the stages do: another one would contradict what was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PARAMS = Path("params.yaml")

ParamsFile = Annotated[Path, typer.Option("--params", metavar="FILE", help="The parameter file.")]
FormerParamsFile = Annotated[Path | None, typer.Option("--file", hidden=True)]
"""How `ricenet params` called it before."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen at; for others than this machine: with TLS.")
]
Port = Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen at.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        metavar="NAME",
        help="A name by which clients may address it, beside localhost; may be repeated.",
    ),
]

CaFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Certificate authority (PEM) of the PACS, in place of the public ones."
    ),
]


def complete_sets(incomplete: str, *others: str) -> list[str]:
    """Modality sets of params.yaml and others that begin so, for the shell; none where it cannot be read."""
    from ricenet.config.params import read_params
    from ricenet.runtime.errors import RicenetError

    try:
        names = read_params().modality_sets
    except (OSError, RicenetError):
        return []
    return [name for name in (*others, *names) if name.startswith(incomplete)]
