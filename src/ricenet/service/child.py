"""The worker process: it loads the model, then works on one task after the other until its parent is gone."""

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
from ricenet.runtime.machine import give_freed_memory_back
from ricenet.service.case_work import CaseRefusal, CaseRequest

TEMPORARY = "temporary"
"""Folder of a case for what libraries write meanwhile; it goes with the case's."""

NO_ROOM = "the disk of the service is full"

_PAUSE_SECONDS = 0.2
"""Between two words on how far an occlusion map is."""


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


def serve_tasks(pipe: Connection, work: Work, level: int) -> None:
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
        # once nobody waits for it
        del outcome
        give_freed_memory_back()


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
        if not share or time.monotonic() - last > _PAUSE_SECONDS:
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
