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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ricenet.runtime.temporary import clear, left_behind, partial_folder
from ricenet.service.answers import CaseAnswer, ExplanationState, PredictionAnswer, State
from ricenet.service.case_work import KEPT, PAGE, UPLOADS, CaseRequest
from ricenet.service.settings import ServiceSettings
from ricenet.service.worker import TEMPORARY, Outcome, Work, Worker

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


@dataclass
class Case:
    """A case and where it stands; changed under the lock of its `Cases` alone.

    page_key: opens the page of its occlusion map. ended_at: of the clock `time.monotonic`, when it was done,
    refused or failed; what is kept of it is kept from then on.
    """

    id: str
    folder: Path
    state: State = "queued"
    step: str | None = None
    share: float | None = None
    step_began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    error: str | None = None
    answer: Mapping[str, Any] | None = None
    explanation: ExplanationState = "none"
    explanation_error: str | None = None
    page_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    ended_at: float | None = None

    @property
    def page(self) -> Path:
        """Of its occlusion map."""
        return self.folder / PAGE

    def begin(self, step: str, share: float | None, now: float) -> None:
        """Note that a step begins, or goes on."""
        if step != self.step:
            self.end_step(now)
            self.step, self.step_began = step, now
        # an occlusion map is made in several rounds, each of which counts from the start
        self.share = share if self.share is None or share is None else max(share, self.share)

    def end_step(self, now: float) -> None:
        """Note how long the step took that ends."""
        if self.step is not None:
            self.seconds[self.step] = round(now - self.step_began, 3)
        self.step = self.share = None


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
            now = time.monotonic()
            waits = [one.id for one, _ in self._tasks]
            share, left = self._progress(case, now)
            kept = None if case.ended_at is None else case.ended_at + self.settings.kept_seconds - now
            return CaseAnswer(
                id=case.id,
                state=case.state,
                ahead=waits.index(case.id) + (self._current is not None) if case.id in waits else 0,
                step=case.step,
                share_done=share,
                seconds_left=left,
                problems=list(case.problems),
                error=case.error,
                prediction=None if case.answer is None else PredictionAnswer.model_validate(case.answer),
                explanation=case.explanation,
                explanation_error=case.explanation_error,
                seconds=dict(case.seconds),
                seconds_kept=None if kept is None else round(max(kept, 0.0), 1),
            )

    def _progress(self, case: Case, now: float) -> tuple[float | None, float | None]:
        """The share that is done, and the seconds left: by the last finished case, where it had this step."""
        if case.step is None:
            return None, None
        in_step = now - case.step_began
        if case.state != "running":
            # an occlusion map says how far it is
            left = None if not case.share else in_step * (1 - case.share) / case.share
            return case.share, None if left is None else round(left, 1)
        if case.step not in self._usual:
            return case.share, None
        names = list(self._usual)
        after = sum(self._usual[name] for name in names[names.index(case.step) + 1 :])
        left = max(self._usual[case.step] - in_step, 0.0) + after
        done = sum(case.seconds.values()) + in_step
        return round(done / max(done + left, 1e-9), 3), round(left, 1)

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
            try:
                if request is None:
                    self._explained(case)
                else:
                    self._predicted(case, request)
            finally:
                with self._lock:
                    self._current = None

    def _predicted(self, case: Case, request: CaseRequest) -> None:
        with self._lock:
            case.state = "running"
        outcome = self.worker.predict(request, self.settings.case_seconds, lambda *at: self._heard(case, *at))
        # an occlusion map may be asked for as long as there is an answer
        unneeded = (UPLOADS, TEMPORARY) if outcome.answer is not None else ("",)
        for name in unneeded:
            shutil.rmtree(case.folder / name, ignore_errors=True)
        with self._lock:
            case.end_step(time.monotonic())
            case.ended_at = time.monotonic()
            if outcome.answer is not None:
                case.state, case.answer = "done", outcome.answer
                self._usual = dict(case.seconds)
            elif outcome.problems:
                case.state, case.problems = "refused", outcome.problems
            else:
                case.state, case.error = "failed", self._told(case, outcome)

    def _explained(self, case: Case) -> None:
        with self._lock:
            if case.id not in self._cases or case.answer is None:
                return
            case.explanation, answer = "running", case.answer
        outcome = self.worker.explain(
            case.folder, answer, self.settings.case_seconds, lambda *at: self._heard(case, *at)
        )
        shutil.rmtree(case.folder / TEMPORARY, ignore_errors=True)
        if outcome.answer is not None:
            # the page is all that is asked for from now on
            shutil.rmtree(case.folder / KEPT, ignore_errors=True)
        with self._lock:
            case.end_step(time.monotonic())
            case.ended_at = time.monotonic()
            if outcome.answer is not None:
                case.explanation = "done"
            else:
                case.explanation, case.explanation_error = "failed", self._told(case, outcome)

    def _heard(self, case: Case, step: str, share: float | None) -> None:
        with self._lock:
            case.begin(step, share, time.monotonic())
            self._expire()

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
