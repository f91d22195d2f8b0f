"""What all spoiled inputs have in common: a name, a kind, and how a valid input becomes one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ricenet.runtime.randomness import generator_for

SEED = 20261130


@dataclass(frozen=True)
class Case:
    """spoil: changes a valid input in one place. file: what an error has to name, beside the subject.

    valid: why it may be accepted although something else is read than before; empty where it may not.
    """

    kind: str
    name: str
    spoil: Callable[[Path], object]
    file: str
    valid: str = ""


def noise(*purpose: str | int) -> np.random.Generator:
    return generator_for("spoiled inputs", SEED, *purpose)


def at(name: str | Path, spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    """Spoil one file of a folder."""
    return lambda folder: spoil(folder / name)


def cut(path: Path, share: float) -> None:
    """Keep the first part of a file, at least without its last byte."""
    content = path.read_bytes()
    path.write_bytes(content[: min(int(len(content) * share), len(content) - 1)])


def flip(path: Path, *purpose: str | int, first: int = 0, last: int | None = None) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    drawn = noise(*purpose)
    content[int(drawn.integers(first, len(content) if last is None else last))] ^= 1 << int(drawn.integers(8))
    path.write_bytes(bytes(content))


def replace_text(path: Path, old: str, new: str) -> None:
    """Change the first occurrence, which has to be there."""
    content = path.read_bytes()
    assert old.encode() in content, f"{old!r} is not in {path.name}"
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))


def links(path_of: Callable[[Path], Path]) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """A file's place taken by what is no file."""

    def taken(make: Callable[[Path], object]) -> Callable[[Path], object]:
        def spoil(folder: Path) -> None:
            path = path_of(folder)
            path.unlink()
            make(path)

        return spoil

    yield "a link that leads nowhere", taken(lambda path: path.symlink_to("nowhere"))
    yield "a link to itself", taken(lambda path: path.symlink_to(path.name))
    yield "a link to a device", taken(lambda path: path.symlink_to("/dev/zero"))
    yield "a link to its folder", taken(lambda path: path.symlink_to("."))
    yield "a folder", taken(lambda path: path.mkdir())
    yield "a pipe", taken(os.mkfifo)
    yield "an empty file", taken(lambda path: path.touch())
