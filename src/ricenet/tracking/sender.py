"""One thread a process that brings what its trainings tell to MLflow, so that training never waits for it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize

from ricenet.tracking.connection import TrackingStore, mlflow_failures, one_line
from ricenet.tracking.content import Epoch
from ricenet.tracking.live_run import LiveRun
from ricenet.tracking.system_metrics import SystemUse

logger = logging.getLogger(__name__)

SEND_EVERY_S = 6.0
"""The first epoch of a process goes at once; a batch costs a fifth of what its epochs would one by one.

MLflow's server closes a connection that was idle for 5 s, so that a request at just that moment fails.
"""
LOOK_EVERY_S = 1.0
"""How often the use of the machine is sampled."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between tries while MLflow fails; each pause is twice the one before."""
END_WAIT_S = 10.0
"""How long the end of a fold, and the end of a process, wait for what is under way."""

THREAD = "ricenet-live-view"
REQUEST_S = 20
"""How long one request to a server may take; the environment may say otherwise."""


class Sender:
    """Runs of folds that train in this process, and the thread that sends their epochs together.

    While MLflow fails, epochs are kept and tried again after growing pauses.
    """

    def __init__(self, store: TrackingStore, every_s: float = SEND_EVERY_S) -> None:
        self._store, self._every_s = store, every_s
        self._changed = threading.Condition()
        self._runs: dict[str, LiveRun] = {}
        self._use = SystemUse()
        self._thread: threading.Thread | None = None
        self._next_turn = self._pause_s = 0.0
        self._hurry = self._stopped = False
        self._failures = 0

    def add(self, key: str, make: Callable[[], LiveRun], epoch: int, values: Mapping[str, float]) -> None:
        """Take an epoch of the fold with a key. make: its run, where it is the first."""
        with self._changed:
            use = self._use.take() if self._use.seconds >= self._every_s else {}
            self._run(key, make).add(epoch, {**values, **use})

    def finish(self, key: str, make: Callable[[], LiveRun], history: Sequence[Epoch]) -> None:
        """Take the end of a fold; waits until it is sent, but no longer than END_WAIT_S, and not at all for
        a store that fails.
        """
        with self._changed:
            run = self._run(key, make)
            run.finish(history)
            if not self._pause_s:
                self._wait_for(lambda: run.ended)

    def close(self) -> None:
        """Before the process ends: send what waits, in at most END_WAIT_S."""
        with self._changed:
            if self._waits():
                self._wait_for(lambda: not self._waits())

    def _wait_for(self, sent: Callable[[], bool]) -> None:
        failures, self._hurry = self._failures, True
        self._changed.notify_all()
        self._changed.wait_for(lambda: sent() or self._stopped or self._failures > failures, END_WAIT_S)

    def _run(self, key: str, make: Callable[[], LiveRun]) -> LiveRun:
        if key not in self._runs:
            self._runs[key] = make()
            self._changed.notify_all()
        if self._thread is None:
            self._start()
        return self._runs[key]

    def _start(self) -> None:
        # by itself MLflow repeats a request whose answer was lost: a second run, where it was to make one
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_S))
        # MLflow's database module prints a traceback of every failure, which is told in a line here
        logging.getLogger("mlflow.store.db.utils").addFilter(lambda record: record.threadName != THREAD)
        # a daemon, so that the process can end; in the workers of a pool `atexit` is not enough
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        Finalize(None, self.close, exitpriority=10)
        self._thread.start()

    def _waits(self) -> bool:
        return any(run.waits for run in self._runs.values())

    def _work(self) -> None:
        try:
            while True:
                if self._await_turn():
                    self._deliver()
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()

    def _await_turn(self) -> bool:
        """Sleep for a moment, look at the machine; whether it is time to send."""
        with self._changed:
            while not self._runs:
                self._changed.wait()
            rest_s = self._next_turn - time.monotonic() if self._waits() else self._every_s
            if not self._hurry and rest_s > 0:
                self._changed.wait(min(rest_s, LOOK_EVERY_S))
            is_time = self._waits() and (self._hurry or time.monotonic() >= self._next_turn)
        # not with the lock, which would let the training wait for a driver's answer
        self._use.look()
        return is_time

    def _deliver(self) -> None:
        with self._changed:
            self._hurry = False
            runs = list(self._runs.values())
        try:
            require_database(self._store)
            sent = sum(run.send() for run in runs if run.waits)
        except sending_failures() as error:
            self._failed(error)
        else:
            self._succeeded(sent)
        with self._changed:
            self._runs = {key: run for key, run in self._runs.items() if not run.ended}
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        if not self._pause_s:
            logger.warning(
                "MLflow fails, so epochs wait until it is back, or until the stage `register` publishes "
                "them from the files: %s",
                one_line(error),
            )
        self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._next_turn = time.monotonic() + self._pause_s
        self._failures += 1

    def _succeeded(self, sent: int) -> None:
        if self._pause_s:
            logger.info("MLflow is back: %d epoch(s) that waited are sent", sent)
        self._pause_s = 0.0
        self._next_turn = time.monotonic() + self._every_s


_senders: dict[TrackingStore, Sender] = {}
# a thread does not survive a fork, and its locks may be taken at that moment
os.register_at_fork(after_in_child=_senders.clear)


def sender_to(store: TrackingStore, every_s: float = SEND_EVERY_S) -> Sender:
    """This process's sender to a store."""
    if store not in _senders:
        _senders[store] = Sender(store, every_s)
    return _senders[store]


def require_database(store: TrackingStore) -> None:
    """Raise FileNotFoundError on a computer without the database, where MLflow would make an empty one."""
    if store.database is not None and not store.database.exists():
        raise FileNotFoundError(f"{store.database} does not exist here")


def sending_failures() -> tuple[type[Exception], ...]:
    """What may be raised where epochs are sent, and shall not end a training."""
    from sqlalchemy.exc import SQLAlchemyError

    # an answer that is no JSON, as of a proxy in front of a server that is down, is a ValueError
    return *mlflow_failures(), SQLAlchemyError, ValueError
