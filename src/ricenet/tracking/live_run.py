"""The run of one fold while it trains: what of it waits to be sent, and what MLflow holds already."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.content import Epoch, RunContent
from ricenet.tracking.runs import (
    PUBLISHED,
    create_run,
    find_or_create,
    logged_epochs,
    missing_params,
    runs_of_set,
    take_up,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param


@dataclass(frozen=True)
class _Entry:
    """An epoch's metrics, and when it ended: a repeated entry is the same to MLflow's database."""

    epoch: int
    at_ms: int
    values: Mapping[str, float]

    @classmethod
    def now(cls, epoch: int, values: Mapping[str, float]) -> _Entry:
        return cls(epoch, time.time_ns() // 1_000_000, values)

    def metrics(self) -> list[Metric]:
        from mlflow.entities import Metric

        return [Metric(name, value, self.at_ms, self.epoch) for name, value in self.values.items()]


class LiveRun:
    """Epochs of one fold on their way to its run.

    An epoch is taken once, and sent only where the run does not have it. After a failure nothing is known
    about the run any more, since only the answer may have been lost: it is looked for again, or made, and
    asked for what it holds.
    """

    def __init__(self, store: TrackingStore, content: RunContent, parent: RunContent) -> None:
        self._store, self._content, self._parent = store, content, parent
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._entries: list[_Entry] = []
        self._finished = self._ended = False
        self._run_id: str | None = None
        self._params: list[Param] = []
        self._logged: dict[str, set[int]] | None = None
        """Steps that the run had when it was found, by metric, as far as asked; None where it had nothing."""

    @property
    def waits(self) -> bool:
        """Whether there is anything to send."""
        with self._lock:
            return bool(self._entries) or (self._finished and not self._ended)

    @property
    def ended(self) -> bool:
        """Whether the fold is finished and all of it is sent."""
        return self._ended

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Take an epoch (from 1)."""
        with self._lock:
            self._take(epoch, values)

    def finish(self, history: Sequence[Epoch]) -> None:
        """Take the epochs that were trained before this process went on with the fold; no more will come."""
        with self._lock:
            for epoch, values in history:
                self._take(epoch, values)
            self._finished = True

    def send(self) -> int:
        """Bring the run up to date; returns how many epochs waited. Raises what MLflow raises."""
        with self._lock:
            entries, finished = list(self._entries), self._finished
        with self._store.one_writer():
            self._log(entries, finished)
        with self._lock:
            del self._entries[: len(entries)]
        self._ended = finished
        return len(entries)

    def _log(self, entries: Sequence[_Entry], finished: bool) -> None:
        # known again only when all of this has worked
        run_id, self._run_id = self._run_id, None
        if run_id is None or self._was_published(run_id):
            run_id = self._open()
        metrics = [metric for entry in entries for metric in entry.metrics()]
        missing = [metric for metric in metrics if not self._has(run_id, metric)]
        self._store.client().log_batch(run_id, missing, self._params)
        if finished:
            self._store.client().set_terminated(run_id)
        self._run_id, self._params = run_id, []

    def _was_published(self, run_id: str) -> bool:
        """Whether the run was filled from the fold's files meanwhile, so that it may have what waits."""
        return PUBLISHED in self._store.client().get_run(run_id).data.tags

    def _take(self, epoch: int, values: Mapping[str, float]) -> None:
        if epoch not in self._taken:
            self._taken.add(epoch)
            self._entries.append(_Entry.now(epoch, values))

    def _open(self) -> str:
        known = runs_of_set(self._store, self._content.set_key)
        parent = find_or_create(self._store, self._parent, None, known)
        # nobody else trains this fold, so nobody makes its run at this moment
        run = known.get(self._content.key) or create_run(self._store, self._content, parent)
        take_up(self._store, run)
        self._params = missing_params(run, self._content.params)
        self._logged = {} if run.data.metrics else None
        return str(run.info.run_id)

    def _has(self, run_id: str, metric: Metric) -> bool:
        if self._logged is None:
            return False
        if metric.key not in self._logged:
            self._logged[metric.key] = set(logged_epochs(self._store, run_id, metric.key))
        return metric.step in self._logged[metric.key]
