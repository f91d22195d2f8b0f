"""Epochs of folds in MLflow while they train; the stage `register` completes them from the files.

A training only appends to a list. Every few seconds one thread of its process sends what has come together,
and only what the run lacks: an epoch is there once, although a training goes on from an older checkpoint, or
an answer was lost and the epoch is sent again. While MLflow fails, epochs wait, and training goes on.

MLflow's own asynchronous logging (3.17.2) is not used: where a run ends it waits for a server that hangs
without limit, in a pool's workers it drops what waits, and it does not ask what a run has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any

from ricenet.tracking.connection import TrackingStore, mlflow_failures, one_line
from ricenet.tracking.run_content import (
    RunContent,
    code_tags,
    common_params,
    fold_params,
    fold_run_name,
    set_key,
)
from ricenet.tracking.runs import FAILED, create_run, find_or_create, logged_epochs, runs_of_set
from ricenet.training.history import EpochMetrics, EpochObserver, EpochSpeed, FoldIdentity

logger = logging.getLogger(__name__)

EVERY_S, PAUSE_S = 6.0, 60.0
"""Between two batches of epochs, and between two tries while MLflow fails.

MLflow's server closes a connection that was idle for 5 s, so that a request at just that moment fails.
"""
END_WAIT_S, REQUEST_S = 10.0, 20
"""How long the end of a fold waits for what is under way; how long one request to a server may take."""
THREAD = "ricenet-live-view"
SYSTEM = "system/"
"""What MLflow's page shows under `System metrics`."""


@dataclass(frozen=True)
class LiveObserver(EpochObserver):
    """An EpochObserver that shows epochs in the folds' runs.

    records: what fold.json will say, of every fold of every set to train. every_s: seconds between two
    batches of epochs. It holds no connection, so that it travels between processes.
    """

    store: TrackingStore
    records: Sequence[Mapping[str, Any]]
    every_s: float = EVERY_S

    def start(self) -> None:
        """Make the sets' runs, before several processes train their folds and look for them."""
        try:
            self.store.require_database()
            for modality_set in dict.fromkeys(record["modality_set"] for record in self.records):
                content = self._content(modality_set)
                with self.store.one_writer():
                    find_or_create(self.store, content, None, runs_of_set(self.store, content.set_key))
        except mlflow_failures() as error:
            logger.warning("MLflow fails, so the sets' runs are made later: %s", one_line(error))

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        """Take an epoch (from 1)."""
        _sender_to(self).add(_Epoch(self, fold, epoch, {**asdict(metrics), **speed_metrics(speed)}))

    def on_finished(self, fold: FoldIdentity, history: Sequence[EpochMetrics]) -> None:
        """Take the end of a fold, which ends its run; wait until it is sent, at most END_WAIT_S."""
        _sender_to(self).add(_Epoch(self, fold, len(history), {}, ends=True))

    def on_failed(self, folds: Sequence[FoldIdentity]) -> None:
        """Mark the runs of folds and of their sets as failed, until a training goes on with them."""
        try:
            self.store.require_database()
            for fold in folds:
                set_key = self._content(fold.modality_set).set_key
                known = runs_of_set(self.store, set_key)
                for key in {fold.key, set_key} & known.keys():
                    self.store.client().set_terminated(known[key].info.run_id, FAILED)
        except mlflow_failures() as error:
            logger.warning("MLflow fails, so no run is marked as failed: %s", one_line(error))

    def fold_run_id(self, fold: FoldIdentity) -> str:
        """The fold's run below its set's, both made where they are missing."""
        of_set, of_fold = self._content(fold.modality_set), self._content(fold.modality_set, fold)
        known = runs_of_set(self.store, of_set.set_key)
        parent = find_or_create(self.store, of_set, None, known).info.run_id
        if of_fold.key not in known:
            # nobody else trains this fold, so nobody makes its run at this moment
            known[of_fold.key] = create_run(self.store, of_fold, parent)
        return str(find_or_create(self.store, of_fold, parent, known).info.run_id)

    def _content(self, modality_set: str, fold: FoldIdentity | None = None) -> RunContent:
        of_set = sorted(
            (record for record in self.records if record["modality_set"] == modality_set),
            key=lambda record: int(record["fold"]),
        )
        key = set_key(modality_set, [record["key"] for record in of_set])
        record = None if fold is None else next(r for r in of_set if r["key"] == fold.key)
        return RunContent(
            kind="set" if fold is None else "fold",
            name=modality_set if fold is None else fold_run_name(modality_set, fold.fold),
            set_key=key,
            key=key if fold is None else fold.key,
            params=common_params(of_set) if record is None else fold_params(record),
            tags={
                "ricenet.modality_set": modality_set,
                **code_tags(of_set if record is None else [record]),
            },
        )


def speed_metrics(speed: EpochSpeed) -> dict[str, float]:
    """An epoch's speed among the system metrics, so that the charts of the model are those of learning."""
    return {
        SYSTEM + "seconds_per_epoch": speed.seconds,
        SYSTEM + "samples_per_second": speed.samples_per_second,
        SYSTEM + "data_wait_share": speed.data_wait_share,
        SYSTEM + "peak_memory_gb": speed.memory_gb,
    }


@dataclass(frozen=True)
class _Epoch:
    """An epoch of a fold that waits to be sent; or, with `ends`, that no more will come."""

    observer: LiveObserver
    fold: FoldIdentity
    epoch: int
    values: Mapping[str, float]
    ends: bool = False
    at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)


class _Sender:
    """What the trainings of this process have to send to a store, and the thread that sends it."""

    def __init__(self, store: TrackingStore, every_s: float) -> None:
        import psutil

        self._store, self._every_s = store, every_s
        # psutil counts the use of the CPU since the last call of the same thread
        self._thread = ThreadPoolExecutor(1, THREAD, initializer=psutil.cpu_percent)
        self._under_way: Future[None] | None = None
        self._waiting: list[_Epoch] = []
        self._run_ids: dict[str, str] = {}
        self._next_s = 0.0
        self._fails = False

    def add(self, epoch: _Epoch) -> None:
        """Take an epoch, and send what waits where it is time or the fold ends."""
        self._waiting.append(epoch)
        idle = self._under_way is None or self._under_way.done()
        if (epoch.ends and not self._fails) or (idle and time.monotonic() >= self._next_s):
            self._under_way = self._thread.submit(self._send)
            self._under_way.add_done_callback(_report_unforeseen)
        if epoch.ends and self._under_way is not None and not self._fails:
            wait([self._under_way], END_WAIT_S)

    def _send(self) -> None:
        # after an error that nobody foresaw, no more is sent
        self._next_s, waiting = float("inf"), list(self._waiting)
        try:
            self._store.require_database()
            with self._store.one_writer():
                for fold in dict.fromkeys(epoch.fold for epoch in waiting):
                    self._log(fold, [epoch for epoch in waiting if epoch.fold == fold])
        except mlflow_failures() as error:
            if not self._fails:
                logger.warning(
                    "MLflow fails, so epochs wait until it is back, or until the stage `register` publishes "
                    "them from the files: %s",
                    one_line(error),
                )
            # whether the runs are there is not known any more
            self._run_ids.clear()
            self._fails, self._next_s = True, time.monotonic() + PAUSE_S
        else:
            if self._fails:
                logger.info("MLflow is back: %d epoch(s) that waited are sent", len(waiting))
            del self._waiting[: len(waiting)]
            self._fails, self._next_s = False, time.monotonic() + self._every_s

    def _log(self, fold: FoldIdentity, epochs: Sequence[_Epoch]) -> None:
        from mlflow.entities import Metric

        run_id = self._run_ids.get(fold.key) or epochs[0].observer.fold_run_id(fold)
        self._run_ids[fold.key] = run_id
        logged = logged_epochs(self._store, run_id, "train_loss")
        missing = [epoch for epoch in epochs if epoch.epoch not in logged and not epoch.ends]
        metrics = [
            Metric(name, value, epoch.at_ms, epoch.epoch)
            for epoch in missing
            for name, value in {**epoch.values, **(machine_use() if epoch is missing[-1] else {})}.items()
        ]
        self._store.client().log_batch(run_id, metrics)
        if epochs[-1].ends:
            self._store.client().set_terminated(run_id)


_senders: dict[TrackingStore, _Sender] = {}


def _sender_to(observer: LiveObserver) -> _Sender:
    """This process's sender to an observer's store."""
    if observer.store not in _senders:
        # by itself MLflow repeats a request whose answer was lost: a second run, where it was to make one
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_S))
        # MLflow prints a traceback of every failure of a database, which is one line here
        of_others = logging.getLogger("mlflow.store.db.utils")
        of_others.addFilter(lambda record: not str(record.threadName).startswith(THREAD))
        _senders[observer.store] = _Sender(observer.store, observer.every_s)
    return _senders[observer.store]


def _report_unforeseen(sent: Future[None]) -> None:
    if (error := sent.exception()) is not None:
        logger.error("the live view of this process has ended by an error of the program", exc_info=error)


def machine_use() -> dict[str, float]:
    """Use of this machine now, by MLflow's names: CPU since the last call, memory, and the GPU that trains.

    MLflow's own monitor would give up at the first failed request, log every GPU of a machine at the run of
    every fold, and start again from step 0 in a training that goes on.
    """
    import psutil

    memory = psutil.virtual_memory()
    use = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
        **gpu_use(),
    }
    return {SYSTEM + name: round(value, 1) for name, value in use.items()}


def gpu_use() -> dict[str, float]:
    """Use of the GPU on which this process trains, as far as its driver says; nothing without one.

    GPUs that CUDA_VISIBLE_DEVICES hides are not counted. A share of a GPU (MIG) has its memory only.
    """
    torch = sys.modules.get("torch")
    # asking a GPU on which nobody trains would open it
    if torch is None or torch.version.cuda is None or not torch.cuda.is_initialized():
        return {}
    import pynvml

    total = torch.cuda.get_device_properties(0).total_memory
    questions: dict[str, Callable[[], float]] = {
        "gpu_0_utilization_percentage": lambda: torch.cuda.utilization(0),
        "gpu_0_memory_usage_megabytes": lambda: torch.cuda.device_memory_used(0) / 1e6,
        "gpu_0_memory_usage_percentage": lambda: 100 * torch.cuda.device_memory_used(0) / total,
        "gpu_0_power_usage_watts": lambda: torch.cuda.power_draw(0) / 1000,
    }
    answers = {}
    for name, question in questions.items():
        with contextlib.suppress(pynvml.NVMLError, RuntimeError):
            answers[name] = float(question())
    return answers
