"""What the shell offers when a modality set or a subject is typed: read from params.yaml, or nothing.

Nothing is written and nothing is said: the shell shows what a command prints while it completes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ricenet.cli.options import PARAMS
from ricenet.runtime.errors import ParamsError

_PSEUDONYM = re.compile(r"sub-[A-Za-z0-9]+")
"""Other names may be patients'. As in `cohort.participants`, which takes too long to import here."""


def modality_sets(incomplete: str) -> list[str]:
    """The modality sets of the project, in its order."""
    return [name for name in _texts(_project().get("modality_sets")) if name.startswith(incomplete)]


def modality_sets_or_best(incomplete: str) -> list[str]:
    """The modality sets, and `best`."""
    best = ["best"] if _project() and "best".startswith(incomplete) else []
    return [*modality_sets(incomplete), *best]


def subjects(context: typer.Context, incomplete: str) -> list[str]:
    """The subjects that have a folder in the project's cohort, by name; not those named already."""
    cohort = _project().get("cohort")
    root = cohort.get("root") if isinstance(cohort, dict) else None
    try:
        names = [path.name for path in Path(root).iterdir()] if isinstance(root, str) else []
    except OSError:
        return []
    known = [name for name in names if name.startswith(incomplete) and _PSEUDONYM.fullmatch(name)]
    return sorted(set(known) - set(context.params.get("subjects") or ()))


def _project() -> Mapping[str, Any]:
    """The settings as they are written, unchecked; nothing where there are none that can be read."""
    from ricenet.config.yaml_file import read_yaml

    try:
        content = read_yaml(PARAMS)
    except (ParamsError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
