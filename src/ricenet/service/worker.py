"""One process that holds the model and works on one case at a time; it is killed when a case takes too long.

Parent and child talk through a pipe. The child leads a group of processes, so that what it starts ends with
it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import RicenetError
from ricenet.service.case_work import CaseRequest
from ricenet.service.child import Message, Outcome, Work, serve_tasks

LOADING_SECONDS = 600.0
_POLL_SECONDS = 0.2


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
        self._process = context.Process(
            target=serve_tasks, args=(theirs, self._work, level), name="case worker"
        )
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
