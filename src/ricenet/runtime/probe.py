"""One question of `ricenet doctor` and its answer; a probe that fails is an answer too."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ricenet.runtime.last_failure import place_of

Status = Literal["ok", "attention", "absent"]

SIGNS: Mapping[Status, str] = {"ok": "ok", "attention": "!!", "absent": "--"}
"""How a line begins: nothing to do, somebody should look, not there."""


@dataclass(frozen=True)
class Answer:
    """What a probe found. text: one line, free of names of people and patients and of whole paths."""

    text: str
    status: Status = "ok"


@dataclass(frozen=True)
class Observation:
    """An answer with the question that it answers."""

    name: str
    answer: Answer

    def __str__(self) -> str:
        return f"[{SIGNS[self.answer.status]}] {self.name}: {self.answer.text}"


def observe(name: str, look: Callable[[], Answer]) -> Observation:
    """Ask a probe; whatever it raises is reported by kind and place, without its message."""
    try:
        return Observation(name, look())
    except Exception as error:  # noqa: BLE001  (things are broken: that is why the doctor was called)
        found = f"could not be looked at: {type(error).__name__} at {place_of(error)}"
        return Observation(name, Answer(found, "attention"))


def sizes_text(size_bytes: float) -> str:
    """
    >>> sizes_text(5.5e9), sizes_text(120_000), sizes_text(0)
    ('5.5 GB', '0.1 MB', '0.0 MB')
    """
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def place_text(path: Path, project: Path = Path()) -> str:
    """Where something lies, as far as it says nothing of people: below the project, or its last folder.

    >>> place_text(Path("work/store")), place_text(Path("/srv/dr-meier/cohort"))
    ('work/store', '.../cohort')
    """
    home = project.absolute()
    absolute = path if path.is_absolute() else home / path
    if absolute.is_relative_to(home):
        return absolute.relative_to(home).as_posix()
    return f".../{absolute.name}"


def anonymous(text: str, project: Path = Path()) -> str:
    """A text without the project's place, the home folder and the name of its user."""
    text = text.replace(str(project.absolute()), ".").replace(str(Path.home()), "~")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    # a short name may be a part of any word
    return text.replace(f"/{user}/", "/***/") if len(user) > 1 else text
