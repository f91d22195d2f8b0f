"""Which commit of the project is checked out, and where the project itself lies."""

from __future__ import annotations

import subprocess
from pathlib import Path

CODE = ("src", "stages", ".ricenet")
"""Where code lies: the repository's in src; of `ricenet init` a project's stages, digests of the library."""


def head_commit(project: Path) -> str | None:
    """The commit that is checked out in the project's folder; None without git or a commit."""
    return _git(project, "rev-parse", "--verify", "HEAD")


def has_changes(project: Path, *paths: str) -> bool:
    """Whether files under some paths differ from the commit; DVC's lock files, which runs write, apart."""
    return bool(_git(project, "status", "--porcelain", "--", *paths, ":(exclude)*.lock"))


def home_of(project: Path) -> Path:
    """The folder of the project itself, also from a temporary copy inside `.dvc/tmp`.

    `dvc exp run --temp` and queued experiments work in such a copy, which is deleted afterwards.
    """
    absolute = project.absolute()
    for parent in absolute.parents:
        if parent.name == ".dvc":
            return parent.parent
    return absolute


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
