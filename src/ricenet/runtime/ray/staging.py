"""Tasks on a machine that shares no files with this one: inputs go there, results come back meanwhile."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import PARTIAL, atomic_path, content_digest, locked

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Files = dict[str, NDArray[np.uint8]]
"""Contents by path within a folder, in the order in which they are to be written; arrays travel uncopied."""

LogLine = tuple[str, int, str]
"""Logger, level and text."""

_Stamp = tuple[int, int, int]

SWEEP_SECONDS = 5.0
"""How long the last workers of a run may take to let go of their copies."""


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


@dataclass(frozen=True)
class StagedInputs:
    """What a task finds on a node: its inputs in Ray's object store, None where one is missing."""

    inputs: Mapping[str, Any]
    folder_name: str
    last: str
    at: Callable[[Mapping[str, Path], Path], Any]


@contextlib.contextmanager
def staged(staging: StagedInputs, left: Files, run: str, node: str) -> Iterator[tuple[Any, FolderWatch]]:
    """The task with copies of its files on this node, and its folder; shared copies stay until the run ends.

    left: what earlier attempts have left. run: a name for this run alone.
    """
    home = home_of_copies()
    for other in home.glob("run-*"):
        if other.suffix != ".lock" and not other.name.startswith(f"run-{run}"):
            _sweep(other)
    shared = home / f"run-{run}-{node[:12]}"
    with locked(_lock_of(shared), shared=True):
        shared.mkdir(exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix="task-", dir=shared))
        try:
            watch = FolderWatch(own / staging.folder_name, staging.last)
            watch.lay_out(left)
            inputs = {key: _copy(shared, key, content) for key, content in staging.inputs.items()}
            yield staging.at(inputs, watch.folder), watch
        finally:
            shutil.rmtree(own)


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
        with atomic_path(folder / name) as temporary:
            content.tofile(temporary)


def sweep_run(run: str) -> None:
    """Delete this node's copies of a run's inputs; workers that were just cancelled may take a moment."""
    until = time.monotonic() + SWEEP_SECONDS
    while folders := [path for path in home_of_copies().glob(f"run-{run}-*") if path.suffix != ".lock"]:
        for folder in folders:
            _sweep(folder)
        if time.monotonic() > until:
            return
        time.sleep(0.1)


def home_of_copies() -> Path:
    """Where this node keeps copies; only its user can read them. Raises RicenetError: others could."""
    home = Path(tempfile.gettempdir()) / f"ricenet-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    status = home.lstat()
    if home.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RicenetError(
            f"a node's {home} belongs to somebody else or can be read by others, so no patient's data is "
            "copied there: remove it, or start Ray on that node with another TMPDIR"
        )
    return home


def _sweep(folder: Path) -> None:
    """Delete copies that no worker uses; a run that is still busy with them makes them anew."""
    with contextlib.suppress(BlockingIOError), locked(_lock_of(folder), wait=False):
        shutil.rmtree(folder, ignore_errors=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _copy(shared: Path, key: str, content: Any) -> Path:
    """This node's copy of an input; where it is missing on the driver's side too, a path to nothing."""
    import ray

    path = shared / "inputs" / content_digest(key)
    if content is not None:
        with locked(_lock_of(path)):
            if not path.exists():
                write_files({path.name: ray.get(content)}, path.parent)
    return path


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
