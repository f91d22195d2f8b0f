"""The `ricenet` command; each group of subcommands is a module, and heavy libraries load on use."""

from __future__ import annotations

from ricenet.cli.main import app
from ricenet.cli.running import run_stage

__all__ = ["app", "run_stage"]
