"""Tasks on a machine that shares no files with this one: inputs go there, results come back meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import atomic_path
from ricenet.runtime.temporary import PARTIAL

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Files = dict[str, NDArray[np.uint8]]
"""Contents by path within a folder, in the order in which they are to be written; arrays travel uncopied."""

LogLine = tuple[str, int, str]
"""Logger, level and text."""

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class StagedTask(Generic[Task]):
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


class SupersededError(RicenetError):
    """A worker that was given up for lost is still at work; its task has begun elsewhere."""


class ResultKeeper:
    """The actor beside the driver that keeps what the latest attempt at each task sends.

    A machine may be cut off and come back: what an attempt sends after another one has begun is refused.
    """

    def __init__(self, folders: Sequence[Path | None]) -> None:
        self._folders = folders
        self._attempts = [0] * len(folders)
        self._nodes: list[str | None] = [None] * len(folders)
        self._lines: list[LogLine] = []

    def begin(self, position: int, node: str) -> tuple[int, Files]:
        """From now on this attempt counts. Returns its number, and what earlier ones have left."""
        self._attempts[position] += 1
        self._nodes[position] = node
        folder = self._folders[position]
        return self._attempts[position], Files() if folder is None else read_folder(folder)

    def keep(
        self, position: int, attempt: int, files: Files, gone: Sequence[str], lines: Sequence[LogLine]
    ) -> None:
        """Write what an attempt has written, and remove what it has removed.

        Raises SupersededError; RicenetError: the folder cannot be written.
        """
        if attempt != self._attempts[position]:
            raise SupersededError("this task has begun again on another node")
        self._lines += lines
        folder = self._folders[position]
        if folder is None:
            return
        try:
            write_files(files, folder)
            for name in gone:
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise RicenetError(
                f"what a worker sent cannot be kept on the driver's machine ({error.strerror}): make room or "
                "give the folder to the user who started Ray there, and run again; what came before is kept"
            ) from None

    def log_lines(self) -> list[LogLine]:
        """The lines that came since this was last asked."""
        lines, self._lines = self._lines, []
        return lines

    def node_of(self, position: int) -> str | None:
        """Where the latest attempt began, None if it has not."""
        return self._nodes[position]


@dataclass
class FolderWatch:
    """A folder, and which state of its files the other side has. Files in it are replaced by renames only."""

    folder: Path
    last: str
    _sent: dict[str, _Stamp] = field(default_factory=dict, init=False)

    def lay_out(self, files: Files) -> None:
        """Begin with what the other side has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_files(files, self.folder)
        self._sent = _stamps(self.folder)

    def changes(self, *, ended: bool) -> tuple[Files, list[str], dict[str, _Stamp]]:
        """New contents, names that are gone, and stamps of both for `sent`.

        New contents: oldest first, and `last` at the end, once the task has ended.
        """
        there = _stamps(self.folder)
        new = [name for name, stamp in there.items() if self._sent.get(name) != stamp]
        new = sorted(
            (name for name in new if ended or name != self.last),
            key=lambda name: (name == self.last, there[name][0]),
        )
        files, stamps = Files(), {name: stamp for name, stamp in self._sent.items() if name in there}
        for name in new:
            with contextlib.suppress(FileNotFoundError):  # replaced or removed since
                # the stamp first: content that is newer than its stamp is sent twice, the reverse never
                stamps[name] = _stamp(self.folder / name)
                files[name] = np.fromfile(self.folder / name, np.uint8)
        return files, sorted(self._sent.keys() - there.keys()), stamps

    def sent(self, stamps: dict[str, _Stamp]) -> None:
        """Note what the other side has."""
        self._sent = stamps


class Sender:
    """Sends what a task writes and logs every few seconds, and at the end, however the task ended.

    send: with files, gone names and lines; its errors are raised at the end alone.
    """

    def __init__(
        self,
        send: Callable[[Files, list[str], list[LogLine]], None],
        watch: FolderWatch | None,
        level: int,
        every_seconds: float,
    ) -> None:
        self._send, self._watch, self._every_seconds = send, watch, every_seconds
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._follow, daemon=True)
        self._log = _Lines(level)

    def __enter__(self) -> None:
        logging.getLogger("ricenet").setLevel(self._log.level)
        logging.getLogger("ricenet").addHandler(self._log)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        logging.getLogger("ricenet").removeHandler(self._log)
        self._flush()

    def _follow(self) -> None:
        import ray

        failed = False
        while not self._ended.wait(self._every_seconds):
            try:
                self._flush()
            except (RicenetError, ray.exceptions.RayError) as error:
                # the end of the task tries again, and fails if it still has to
                if not failed:
                    logger.warning("what a worker writes cannot be sent for now (%s)", type(error).__name__)
                failed = True

    def _flush(self) -> None:
        files, gone, stamps = self._watch.changes(ended=self._ended.is_set()) if self._watch else ({}, [], {})
        lines = list(self._log.lines)
        if files or gone or lines:
            self._send(files, gone, lines)
        del self._log.lines[: len(lines)]
        if self._watch:
            self._watch.sent(stamps)


class _Lines(logging.Handler):
    """Keeps the lines of a log until they are sent."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[LogLine] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, record.levelno, self.format(record)))


def read_folder(folder: Path) -> Files:
    """The finished files of a folder, none where it does not exist."""
    return {name: np.fromfile(folder / name, np.uint8) for name in _stamps(folder)}


def write_files(files: Files, folder: Path) -> None:
    """Write files in their order, each atomically."""
    for name, content in files.items():
        with atomic_path(folder / name, content.nbytes) as temporary:
            # not by numpy's own writing, which does not say that the disk is full
            temporary.write_bytes(content.data)


def _stamps(folder: Path) -> dict[str, _Stamp]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(PARTIAL) for part in name.parts):
            with contextlib.suppress(FileNotFoundError):
                found[name.as_posix()] = _stamp(path)
    return found


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
