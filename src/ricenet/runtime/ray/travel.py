"""What a task takes along to a machine that shares no files with this one, and what comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import PARTIAL, atomic_path

Task = TypeVar("Task")
Bytes = NDArray[np.uint8]
"""The content of a file; an array travels without being copied."""

Files = dict[str, Bytes]
"""Contents by path within a folder, in the order in which they are to be written."""

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Travel(Generic[Task]):
    """How one task goes to a machine that shares no files with this one.

    inputs: content key -> file here. Many tasks may share one: it is sent to a machine once.
    folder: the task's own. What it holds goes along; what changes comes back while the task works.
    at: the task with its inputs and its folder where they lie there. The folder keeps its name, and its
    parent is for this task alone. Has to be picklable.
    last: the file in the folder that marks the task as finished: it comes back after all others.
    """

    inputs: Mapping[str, Path]
    folder: Path
    at: Callable[[Mapping[str, Path], Path], Task]
    last: str


@dataclass(frozen=True)
class Changes:
    """What became different in a folder.

    same: names that now hold what another name held before; renamed files need not be sent again.
    files: new contents. gone: names that are no longer there.
    """

    same: Mapping[str, str]
    files: Files
    gone: tuple[str, ...]
    stamps: Mapping[str, _Stamp]

    def __bool__(self) -> bool:
        return bool(self.same or self.files or self.gone)


@dataclass
class Watched:
    """A folder, and which state of its files the other side has. Files in it are replaced by renames only."""

    folder: Path
    last: str
    _sent: dict[str, _Stamp] = field(default_factory=dict, init=False)

    def changes(self, *, ended: bool) -> Changes:
        """What the other side does not have yet: oldest first, `last` at the end, once the task has ended."""
        there = _stamps(self.folder)
        found = {name: stamp for name, stamp in there.items() if ended or name != self.last}
        new = [name for name, stamp in found.items() if self._sent.get(name) != stamp]
        new.sort(key=lambda name: (name == self.last, found[name][0]))
        same = self._renamed({name: found[name] for name in new})
        files, stamps = Files(), {name: found[name] for name in same}
        for name in new:
            if name in same:
                continue
            try:
                files[name], stamps[name] = _read(self.folder / name)
            except FileNotFoundError:
                continue  # replaced or removed since; the next look tells
        return Changes(same, files, tuple(sorted(self._sent.keys() - there.keys())), stamps)

    def _renamed(self, new: Mapping[str, _Stamp]) -> dict[str, str]:
        before = {stamp: name for name, stamp in self._sent.items()}
        same = {name: before[stamp] for name, stamp in new.items() if stamp in before}
        # names that were exchanged: one would be overwritten before it is copied
        return {name: source for name, source in same.items() if source not in same}

    def sent(self, changes: Changes) -> None:
        """Note that the other side has these."""
        self._sent.update(changes.stamps)
        for name in changes.gone:
            del self._sent[name]

    def lay_out(self, files: Files) -> None:
        """Begin with what the other side has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_bytes(self.folder / name, content)
        self._sent.update(_stamps(self.folder))


def read_folder(folder: Path) -> Files:
    """The finished files of a folder, none where it does not exist."""
    return {name: _read(folder / name)[0] for name in _stamps(folder)}


def apply(changes: Changes, folder: Path) -> None:
    """Repeat changes in another copy of the folder: files in their order, removals at the end."""
    for name, source in changes.same.items():
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(folder / source, temporary)
    for name, content in changes.files.items():
        write_bytes(folder / name, content)
    for name in changes.gone:
        (folder / name).unlink(missing_ok=True)


def write_bytes(path: Path, content: Bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(content.data)


def _stamps(folder: Path) -> dict[str, _Stamp]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(PARTIAL) for part in name.parts):
            try:
                found[name.as_posix()] = _stamp(path)
            except FileNotFoundError:
                continue
    return found


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path) -> tuple[Bytes, _Stamp]:
    # the stamp first: content that is newer than its stamp is sent twice, the reverse never
    stamp = _stamp(path)
    return np.fromfile(path, np.uint8), stamp
