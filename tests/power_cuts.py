"""What a disk may hold after the power fails, at every moment of a piece of work.

The model is that of POSIX, with nothing that a kind file system adds. A file's content is certain as it was
when the file was last synced; of what changed since, all, none or a part may be there, or the file is empty.
The list of names in a folder is certain as it was when the folder was last synced; of what changed since, any
beginning may be there, and each folder is written by itself. A rename is there or is not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Inode = int
Names = dict[str, Inode]
TELLING = ("fsync", "replace", "rename", "mkdir", "rmdir", "unlink", "remove", "link", "symlink", "chmod")
"""Calls of the system at which something changes; contents are seen at the next of them."""


@dataclass
class Moment:
    """Between two calls: what is certain of each file and folder, and what it is."""

    contents: dict[Inode, bytes]
    names: dict[Inode, list[Names]]
    """Of each folder: as last synced, and every state since, the present one last."""
    synced: dict[Inode, bytes | None]


@dataclass
class Disk:
    """A folder that is watched while work is done in it."""

    root: Path
    moments: list[Moment] = field(default_factory=list)
    _numbers: dict[tuple[int, int], Inode] = field(default_factory=dict)
    _kept_open: list[int] = field(default_factory=list)
    _one_at_a_time: Any = field(default_factory=threading.RLock)
    _names: dict[Inode, list[Names]] = field(default_factory=dict)
    _synced: dict[Inode, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # what was there before is on the disk
        contents, names = self._seen()
        self._names = {folder: [of] for folder, of in names.items()}
        self._synced = dict(contents)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note a moment before and after each call that tells."""
        with pytest.MonkeyPatch.context() as patch:
            for name in TELLING:
                patch.setattr(os, name, self._telling(name, getattr(os, name)))
            yield
            self._note()

    def close(self) -> None:
        for descriptor in self._kept_open:
            os.close(descriptor)

    def after_a_cut(self, at: int, noise: np.random.Generator, folder: Path) -> None:
        """Lay out what one outcome of a cut at a moment leaves."""
        moment = self.moments[at]

        def lay_out(inode: Inode, path: Path) -> None:
            if inode not in moment.names:
                path.write_bytes(self._content(moment, inode, noise))
                return
            path.mkdir()
            states = moment.names[inode]
            for name, below in states[noise.integers(len(states))].items():
                lay_out(below, path / name)

        lay_out(self._number(os.lstat(self.root)), folder)

    def _content(self, moment: Moment, inode: Inode, noise: np.random.Generator) -> bytes:
        synced, now = moment.synced.get(inode), moment.contents.get(inode, b"")
        if synced == now:
            return now
        known = [] if synced is None else [synced]
        states = [*known, now, now[: len(now) // 2], b""]
        return states[noise.integers(len(states))]

    def _telling(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def told(*arguments: Any, **named: Any) -> Any:
            with self._one_at_a_time:
                self._note()
                if name == "fsync":
                    # the disk of this machine need not be waited for
                    result = self._sync(self._number(os.fstat(arguments[0])))
                else:
                    result = call(*arguments, **named)
                self._note()
                return result

        return told

    def _sync(self, inode: Inode) -> None:
        contents, names = self._seen()
        if inode in names:
            self._names[inode] = [names[inode]]
        elif inode in contents:
            self._synced[inode] = contents[inode]

    def _note(self) -> None:
        contents, names = self._seen()
        for folder, now in names.items():
            states = self._names.setdefault(folder, [{}])
            if states[-1] != now:
                states.append(now)
        known = {inode: content for moment in self.moments[-1:] for inode, content in moment.contents.items()}
        self.moments.append(
            Moment(known | contents, {f: list(s) for f, s in self._names.items()}, dict(self._synced))
        )

    def _seen(self) -> tuple[dict[Inode, bytes], dict[Inode, Names]]:
        contents: dict[Inode, bytes] = {}
        names: dict[Inode, Names] = {}
        for parent, folders, files in os.walk(self.root):
            here = Path(parent)
            inodes = {name: self._number(os.lstat(here / name), here / name) for name in (*folders, *files)}
            names[self._number(os.lstat(here), here)] = inodes
            contents |= {inodes[name]: (here / name).read_bytes() for name in files}
        return contents, names

    def _number(self, status: os.stat_result, path: Path | None = None) -> Inode:
        key = (status.st_dev, status.st_ino)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            if path is not None:
                # as long as it is open, the system gives its number to no other file
                self._kept_open.append(os.open(path, os.O_RDONLY))
        return self._numbers[key]


def cuts(disk: Disk, outcomes: int, check: Callable[[Path, int], None], scratch: Path) -> int:
    """Check several outcomes of a cut at every moment; returns how many there were."""
    noise, count = np.random.default_rng(0), 0
    for at in range(len(disk.moments)):
        for _ in range(outcomes):
            folder = scratch / f"cut-{count}"
            disk.after_a_cut(at, noise, folder)
            check(folder, at)
            count += 1
    disk.close()
    return count
