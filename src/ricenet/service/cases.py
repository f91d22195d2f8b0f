"""The cases that the service holds: a queue, one worker, and an end to everything that is kept.

A case is a folder of its own below one private folder, which is removed when the service ends; what a killed
service left is removed when the next one starts.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ricenet.runtime.execution import trace_without_messages
from ricenet.runtime.temporary import clear, left_behind, partial_folder
from ricenet.service.answers import CaseAnswer
from ricenet.service.case import Case
from ricenet.service.case_work import UPLOADS, CaseRequest
from ricenet.service.child import Outcome, Work
from ricenet.service.settings import ServiceSettings
from ricenet.service.worker import Worker

logger = logging.getLogger(__name__)

FOLDER = Path("work") / "service"
"""In a project: what the service keeps for a while."""

USUAL_CASE_SECONDS = 60.0
"""What a case takes, as long as none was finished."""

_IDLE_SECONDS = 0.5


class QueueFull(Exception):
    """As many cases wait as may. retry_seconds: when to ask again."""

    def __init__(self, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__()


class Cases:
    """All cases of the service. Its methods may be called from any thread.

    folder: private, and its own.
    """

    def __init__(self, folder: Path, worker: Worker, settings: ServiceSettings) -> None:
        self.folder, self.worker, self.settings = folder, worker, settings
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._cases = dict[str, Case]()
        self._tasks = deque[tuple[Case, CaseRequest | None]]()
        self._uploading = 0
        self._current: Case | None = None
        self._usual = dict[str, float]()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="cases", daemon=True)

    def start(self) -> None:
        """Begin to work on cases."""
        self._thread.start()

    def stop(self) -> None:
        """End the worker, whatever it does."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        while self._thread.is_alive():
            # more than once, for it may just be started again
            self.worker.interrupt()
            self._thread.join(_IDLE_SECONDS)
        self.worker.kill()

    @property
    def waiting(self) -> int:
        """Tasks that wait, uploads under way among them."""
        with self._lock:
            return len(self._tasks) + self._uploading

    @property
    def computing(self) -> bool:
        """Whether the worker is at work."""
        with self._lock:
            return self._current is not None

    @contextlib.contextmanager
    def new_case(self) -> Iterator[Case]:
        """A place in the queue and a folder for an upload; both go when the block fails or does not `submit`.

        Raises QueueFull.
        """
        with self._lock:
            self._require_room()
            self._uploading += 1
        case = Case(secrets.token_urlsafe(16), Path())
        case.folder = self.folder / case.id
        try:
            (case.folder / UPLOADS).mkdir(mode=0o700, parents=True)
            case.folder.chmod(0o700)
            yield case
        finally:
            with self._changed:
                self._uploading -= 1
                if case.id not in self._cases:
                    shutil.rmtree(case.folder, ignore_errors=True)

    def submit(self, case: Case, request: CaseRequest) -> None:
        """Let a new case wait for the worker."""
        with self._changed:
            self._cases[case.id] = case
            self._tasks.append((case, request))
            self._changed.notify_all()

    def explain(self, case: Case) -> None:
        """Let a predicted case's occlusion map wait for the worker; once. Raises QueueFull."""
        with self._changed:
            if case.explanation in ("queued", "running", "done"):
                return
            self._require_room()
            case.explanation, case.explanation_error = "queued", None
            self._tasks.append((case, None))
            self._changed.notify_all()

    def find(self, case_id: str) -> Case | None:
        """A case that is known and has not expired."""
        with self._lock:
            self._expire()
            return self._cases.get(case_id)

    def answer(self, case: Case) -> CaseAnswer:
        """Where a case stands now."""
        with self._lock:
            waits = [one.id for one, _ in self._tasks]
            ahead = waits.index(case.id) + (self._current is not None) if case.id in waits else 0
            return case.answer_now(time.monotonic(), ahead, self._usual, self.settings.kept_seconds)

    def _require_room(self) -> None:
        # the case that is computed does not wait
        free = self.settings.waiting - len(self._tasks) - self._uploading
        if free <= 0 and (self._current is not None or self._tasks or self._uploading):
            usual = sum(self._usual.values()) or USUAL_CASE_SECONDS
            raise QueueFull(max(1, round(min(usual, 60.0))))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._expire()
                if not self._tasks and not self._stopping:
                    self._changed.wait(_IDLE_SECONDS)
                if self._stopping:
                    return
                if not self._tasks:
                    continue
                case, request = self._tasks.popleft()
                self._current = case
            outcome = self._outcome(case, request)
            with self._lock:
                self._end(case, request, outcome)
                self._current = None

    def _outcome(self, case: Case, request: CaseRequest | None) -> Outcome:
        """What the worker makes of a case; without a request, of its occlusion map."""
        seconds = self.settings.case_seconds

        def heard(step: str, share: float | None) -> None:
            with self._lock:
                case.begin(step, share, time.monotonic())
                self._expire()

        try:
            with self._lock:
                case.work_begins(explaining=request is None)
            if request is not None:
                return self.worker.predict(request, seconds, heard)
            return self.worker.explain(case.folder, case.prediction or {}, seconds, heard)
        except Exception as error:  # noqa: BLE001
            # the next case shall be worked on whatever happened to this one
            return Outcome(error="a fault of the program", fault=trace_without_messages(error))

    def _end(self, case: Case, request: CaseRequest | None, outcome: Outcome) -> None:
        """Note what became of a case, and remove what is not needed any more."""
        error = None if outcome.error is None else self._told(case, outcome)
        case.work_ends(outcome, error, time.monotonic(), explaining=request is None)
        if request is not None and outcome.answer is not None:
            self._usual = dict(case.seconds)
        case.remove_unneeded()

    def _told(self, case: Case, outcome: Outcome) -> str | None:
        if outcome.fault is not None:
            logger.error("case %s: a fault of the program:\n%s", case.id, outcome.fault)
            return f"{outcome.error}, noted in the service's log under this case's id"
        logger.error("case %s: failed", case.id)
        return outcome.error

    def _expire(self) -> None:
        """Remove what was kept long enough; what waits or is computed stays."""
        now = time.monotonic()
        for case in list(self._cases.values()):
            over = case.ended_at is not None and now - case.ended_at > self.settings.kept_seconds
            if over and case.explanation not in ("queued", "running"):
                del self._cases[case.id]
                shutil.rmtree(case.folder, ignore_errors=True)


@contextlib.contextmanager
def open_cases(project: Path, work: Work, settings: ServiceSettings) -> Iterator[Cases]:
    """Cases in a private folder of a project, with a worker that has loaded its model.

    Raises RicenetError: the model cannot be loaded.
    """
    parent = project / FOLDER
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    parent.chmod(0o700)
    for path in left_behind(parent):
        clear(path)
    with partial_folder(parent) as folder:
        worker = Worker(work)
        worker.start()
        cases = Cases(folder.absolute(), worker, settings)
        cases.start()
        try:
            yield cases
        finally:
            cases.stop()
