"""The `ricenet` command; each group of subcommands is a module, and heavy libraries load on use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ricenet.cli.running import run_stage

if TYPE_CHECKING:
    from ricenet.cli.main import app

__all__ = ["app", "run_stage"]


def __getattr__(name: str) -> Any:
    """The command's `app`, loaded when it is asked for: a stage needs no subcommand."""
    if name != "app":
        raise AttributeError(f"module 'ricenet.cli' has no attribute {name!r}")
    from ricenet.cli.main import app

    return app
