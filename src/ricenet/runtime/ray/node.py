"""What happens on a node: a task gets its files, works, and what it writes is sent back meanwhile."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import content_digest, locked
from ricenet.runtime.ray.keeper import Line, Ticket
from ricenet.runtime.ray.likeness import differences, versions_here
from ricenet.runtime.ray.travel import Watched, write_bytes

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often a node sends what a task has written since."""

SWEEP_SECONDS = 5.0
"""How long the last workers of a run may take to let go of their copies."""


@dataclass(frozen=True)
class Luggage:
    """What a task takes along: its inputs as references to Ray's object store, None where one is missing."""

    inputs: Mapping[str, Any]
    folder_name: str
    last: str
    at: Callable[[Mapping[str, Path], Path], Any]


@dataclass(frozen=True)
class Parcel:
    """One attempt at a task, as it goes to a node. task: None if there is luggage, which says how to make it.

    keeper: Ray's handle of a Keeper. run: a name for this run alone. versions: what a node has to have, if it
    is not among those known to have it.
    """

    ticket: Ticket
    task: Any
    luggage: Luggage | None
    keeper: Any
    run: str
    versions: Mapping[str, str]
    known_nodes: frozenset[str]
    log_level: int
    look_seconds: float


def work_on_node(function: Callable[[Any], Any], parcel: Parcel) -> Any:
    """Do one task where this is called, with its files if it has any.

    Raises RicenetError: this node's software differs from the driver's, its temporary folder is not usable,
    or what it sends cannot be kept.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    if node not in parcel.known_nodes and (different := differences(versions_here(), parcel.versions)):
        raise RicenetError(f"a node that joined lately has {different}: install the same there")
    with _log_of(parcel.log_level) as lines:
        left = answer(parcel.keeper.begin.remote(parcel.ticket, node))
        if parcel.luggage is None:
            with _Sender(parcel, None, lines):
                return function(parcel.task)
        with _own_folder(parcel, node) as (shared, own):
            watched = Watched(own / parcel.luggage.folder_name, parcel.luggage.last)
            watched.lay_out(left)
            inputs = {key: _copy(shared, key, content) for key, content in parcel.luggage.inputs.items()}
            task = parcel.luggage.at(inputs, watched.folder)
            with _Sender(parcel, watched, lines):
                return function(task)


def answer(reference: Any) -> Any:
    """What a remote call returned; its error as it was raised there, without Ray's traceback in the text."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


class _Log(logging.Handler):
    """Keeps the lines of a log until they are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(Line(record.name, record.levelno, self.format(record)))


@contextlib.contextmanager
def _log_of(level: int) -> Iterator[_Log]:
    ours, log = logging.getLogger("ricenet"), _Log()
    ours.setLevel(level)
    ours.addHandler(log)
    try:
        yield log
    finally:
        ours.removeHandler(log)


class _Sender:
    """Sends what changed every few seconds, and at the end, however the task ended."""

    def __init__(self, parcel: Parcel, watched: Watched | None, log: _Log) -> None:
        self._parcel, self._watched, self._log = parcel, watched, log
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._send()

    def _follow(self) -> None:
        import ray

        told = False
        while not self._ended.wait(self._parcel.look_seconds):
            try:
                self._send()
            except (RicenetError, ray.exceptions.RayError) as error:
                # the end of the task tries again, and fails if it still has to
                if not told:
                    logger.warning("what a worker writes cannot be sent for now (%s)", type(error).__name__)
                told = True

    def _send(self) -> None:
        changes = self._watched.changes(ended=self._ended.is_set()) if self._watched else None
        lines = list(self._log.lines)
        if changes or lines:
            answer(self._parcel.keeper.take.remote(self._parcel.ticket, changes, lines))
        del self._log.lines[: len(lines)]
        if self._watched and changes:
            self._watched.sent(changes)


@contextlib.contextmanager
def _own_folder(parcel: Parcel, node: str) -> Iterator[tuple[Path, Path]]:
    """A folder that all tasks of this run share on this node, and one within for this attempt alone."""
    home = home_of_copies()
    for other in home.glob("run-*"):
        if other.suffix != ".lock" and not other.name.startswith(f"run-{parcel.run}"):
            _sweep(other)
    shared = home / f"run-{parcel.run}-{node[:12]}"
    own = shared / f"task-{parcel.ticket.position}-{parcel.ticket.attempt}"
    with locked(_lock_of(shared), shared=True):
        own.mkdir(parents=True)
        try:
            yield shared, own
        finally:
            shutil.rmtree(own)


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
    """Where this node keeps copies; only its user can read them."""
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


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _copy(shared: Path, key: str, content: Any) -> Path:
    """This node's copy of an input; where it is missing on the driver's side too, a path to nothing."""
    import ray

    path = shared / "inputs" / content_digest(key)
    if content is not None:
        with locked(_lock_of(path)):
            if not path.exists():
                write_bytes(path, ray.get(content))
    return path
