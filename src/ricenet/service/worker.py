"""One process that holds the model and works on one case at a time; it is killed when a case takes too long.

Parent and child talk through a pipe in the child's own tongue of small tuples. The child leads a group of
processes, so that what it starts ends with it, and does not outlive its parent.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.full_disk import is_full
from ricenet.service.case_work import CaseRefusal, CaseRequest

LOADING_SECONDS = 600.0
TEMPORARY = "temporary"
"""Folder of a case for what libraries write meanwhile; it goes with the case's."""

NO_ROOM = "the disk of the service is full"

_POLL_SECONDS = 0.2


class Work(Protocol):
    """What the child does."""

    def load(self) -> None:
        """Read the model."""

    def steps(self, volumes: tuple[str, ...]) -> int:
        """How many steps a prediction takes."""

    def predict(self, request: CaseRequest, began: Callable[[str], None]) -> dict[str, Any]:
        """The answer to a case. Raises CaseRefusal."""

    def explanation(
        self, folder: Path, answer: Mapping[str, Any], told: Callable[[str, float | None], None]
    ) -> None:
        """Write a case's page."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: an answer, problems of the case, or an error.

    fault: frames of an unforeseen error.
    """

    answer: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()
    error: str | None = None
    fault: str | None = None


Message = tuple[str, Any, Any]
Heard = Callable[[str, float | None], None]
"""Called with a step's name, and the share of all that is done where that is known."""


class Worker:
    """The child process, started again when it ends. Used by one thread, but for `interrupt`.

    work: sent to the child, and loaded there.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Of the child; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def loaded(self) -> bool:
        """Whether a child is there with the model loaded."""
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Start the child, and wait until it has loaded the model.

        Raises RicenetError: the model cannot be used, or the child ended.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        level = logging.getLogger("ricenet").getEffectiveLevel()
        self._process = context.Process(target=_child, args=(theirs, self._work, level), name="case worker")
        self._process.start()
        theirs.close()
        self._pipe = ours
        outcome = self._listen(LOADING_SECONDS, lambda _step, _share: None)
        if outcome.error is not None:
            self.kill()
            raise RicenetError(f"the model cannot be loaded: {outcome.error}")

    def predict(self, request: CaseRequest, seconds: float, heard: Heard) -> Outcome:
        """Predict a case within some seconds."""
        return self._do(("predict", request, None), seconds, heard)

    def explain(self, folder: Path, answer: Mapping[str, Any], seconds: float, heard: Heard) -> Outcome:
        """Write a case's page within some seconds."""
        return self._do(("explain", folder, answer), seconds, heard)

    def _do(self, task: Message, seconds: float, heard: Heard) -> Outcome:
        if not self.loaded:
            try:
                self.start()
            except RicenetError as error:
                return Outcome(error=str(error))
        assert self._pipe is not None
        try:
            self._pipe.send(task)
        except OSError:
            return self._ended()
        return self._listen(seconds, heard)

    def _listen(self, seconds: float, heard: Heard) -> Outcome:
        """Hear the child out; one that takes longer is killed."""
        assert self._pipe is not None
        end = time.monotonic() + seconds
        while True:
            try:
                if self._pipe.poll(min(_POLL_SECONDS, max(0.0, end - time.monotonic()))):
                    kind, first, second = self._pipe.recv()
                    if kind == "done":
                        outcome: Outcome = first
                        return outcome
                    heard(first, second)
            except (OSError, EOFError):
                return self._ended()
            if time.monotonic() >= end:
                self.kill()
                return Outcome(error=f"not finished within {seconds:g} s, and stopped")

    def _ended(self) -> Outcome:
        code = None
        if self._process is not None:
            self._process.join(5)
            code = self._process.exitcode
        self.kill()
        reason = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return Outcome(error=f"the process that computed it ended {reason}, maybe for want of memory")

    def interrupt(self) -> None:
        """Kill the child and all that it started, from any thread; whoever listens to it hears that."""
        process = self._process
        if process is None or process.pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()

    def kill(self) -> None:
        """End the child, and all that it started."""
        self.interrupt()
        process, self._process = self._process, None
        if process is not None:
            process.join()
        if self._pipe is not None:
            self._pipe.close()


def _child(pipe: Connection, work: Work, level: int) -> None:
    """The child: load, then one task after the other, until the parent hangs up."""
    os.setsid()
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _follow_parent()
    logging.getLogger("ricenet").setLevel(level)
    try:
        work.load()
    except Exception as error:  # noqa: BLE001
        pipe.send(("done", _failed(error), None))
        return
    _silence()
    pipe.send(("done", Outcome(), None))
    while True:
        try:
            kind, first, second = pipe.recv()
        except EOFError:
            return
        folder = first.folder if kind == "predict" else first
        with _temporary_in(folder / TEMPORARY):
            outcome = (
                _predicted(work, first, pipe) if kind == "predict" else _explained(work, first, second, pipe)
            )
        pipe.send(("done", outcome, None))


def _predicted(work: Work, request: CaseRequest, pipe: Connection) -> Outcome:
    begun, steps = 0, work.steps(request.volumes)

    def began(step: str) -> None:
        nonlocal begun
        pipe.send(("step", step, min(begun / steps, 1.0)))
        begun += 1

    try:
        return Outcome(answer=work.predict(request, began))
    except CaseRefusal as refusal:
        return Outcome(problems=tuple(refusal.problems))
    except Exception as error:  # noqa: BLE001
        return _failed(error)


def _explained(work: Work, folder: Path, answer: Mapping[str, Any], pipe: Connection) -> Outcome:
    last = time.monotonic()

    def told(step: str, share: float | None) -> None:
        nonlocal last
        if not share or time.monotonic() - last > _POLL_SECONDS:
            last = time.monotonic()
            pipe.send(("step", step, share))

    try:
        work.explanation(folder, answer, told)
    except Exception as error:  # noqa: BLE001
        return _failed(error)
    return Outcome(answer={})


def _failed(error: Exception) -> Outcome:
    from ricenet.runtime.execution import trace_without_messages

    if isinstance(error, RicenetError):
        return Outcome(error=str(error))
    if is_full(error):
        return Outcome(error=NO_ROOM)
    if isinstance(error, MemoryError):
        return Outcome(error="not enough memory")
    return Outcome(error="a fault of the program", fault=trace_without_messages(error))


@contextlib.contextmanager
def _temporary_in(folder: Path) -> Iterator[None]:
    """Let libraries put temporary files into a folder, which goes afterwards."""
    folder.mkdir(mode=0o700)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def _silence() -> None:
    """Close what libraries print on: warnings of DICOM readers and ITK repeat values and names of files."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
