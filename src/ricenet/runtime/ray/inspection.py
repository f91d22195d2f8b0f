"""What a machine has that has to be the same on every node: versions of packages, and ricenet's source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

PACKAGES = ("ray", "torch", "monai", "numpy", "safetensors")
"""Packages whose versions have to be the same everywhere."""


def node_inspection() -> Callable[[str | None, tuple[str, ...]], dict[str, Any]]:
    """A function that says what a machine has.

    It is made inside another one and imports what it needs, so that it travels by value: it works where
    ricenet is not installed, or differs.
    """

    def inspect(file: str | None, packages: tuple[str, ...]) -> dict[str, Any]:
        import hashlib
        import os
        import pathlib
        import platform
        from importlib import metadata, util

        def version(package: str) -> str:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                return "not installed"

        versions = {"python": ".".join(platform.python_version_tuple()[:2])}
        versions |= {package: version(package) for package in packages}
        found = util.find_spec("ricenet")
        source = hashlib.sha256()
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(pathlib.Path(folder).rglob("*.py")):
                name = path.relative_to(folder).as_posix()
                source.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
        versions["ricenet"] = f"source {source.hexdigest()[:12]}" if found else "not installed"
        return {
            "versions": versions,
            "sees": file is not None and pathlib.Path(file).is_file(),
            "open": os.environ.get("RAY_AUTH_MODE", "").lower() != "token",
        }

    return inspect


@functools.cache
def versions_here() -> dict[str, str]:
    """Versions of Python, the packages that matter, and ricenet's source, as this process first saw them."""
    versions: dict[str, str] = node_inspection()(None, PACKAGES)["versions"]
    return versions


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs, in words; empty where nothing does."""
    return ", ".join(
        f"{name} {theirs.get(name, 'not installed')} instead of {version}"
        for name, version in ours.items()
        if theirs.get(name) != version
    )
