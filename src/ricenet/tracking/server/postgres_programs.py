"""Which versions of PostgreSQL are installed, and where their programs lie."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs of each major version, outside the path."""


def installed() -> Mapping[int, Path]:
    """Major version -> the folder of its programs."""
    on_path = shutil.which("initdb")
    # a link on the path may stand alone, without the programs beside it
    places = [Path(on_path).resolve().parent] if on_path else []
    places += [path.parent for path in INSTALLED.glob("*/bin/initdb")]
    found: dict[int, Path] = {}
    for place in places:
        said = subprocess.run(
            [str(place / "initdb"), "--version"], capture_output=True, text=True, check=False
        ).stdout
        if match := re.search(r"(\d+)", said):
            found.setdefault(int(match[1]), place)
    return found


def listed(found: Mapping[int, Path]) -> str:
    """Major versions in words."""
    return ", ".join(str(major) for major in sorted(found))
