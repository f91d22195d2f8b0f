"""Epochs of folds shown in MLflow while they train; what is missed here is published from files later."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ricenet.tracking.connection import TrackingStore, mlflow_failures, one_line
from ricenet.tracking.content import (
    RunContent,
    code_tags,
    common_params,
    fold_params,
    fold_run_name,
    set_key,
)
from ricenet.tracking.live_run import LiveRun
from ricenet.tracking.runs import FAILED, find_or_create, runs_of_set
from ricenet.tracking.sender import SEND_EVERY_S, require_database, sender_to, sending_failures
from ricenet.tracking.system_metrics import PREFIX
from ricenet.training.history import EpochMetrics, EpochObserver, EpochSpeed, FoldIdentity

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveObserver(EpochObserver):
    """An EpochObserver that shows epochs in the folds' runs; training does not wait for it.

    records: what fold.json will say, of every fold of every set to train. every_s: seconds between two
    batches of epochs. It holds no connection, so that it travels between processes.
    """

    store: TrackingStore
    records: Sequence[Mapping[str, Any]]
    every_s: float = SEND_EVERY_S

    def start(self) -> None:
        """Make the sets' runs, before several processes train their folds and look for them."""
        try:
            require_database(self.store)
            for modality_set in dict.fromkeys(record["modality_set"] for record in self.records):
                content = self._content(modality_set)
                with self.store.one_writer():
                    find_or_create(self.store, content, None, runs_of_set(self.store, content.set_key))
        except mlflow_failures() as error:
            logger.warning("MLflow fails, so the sets' runs are made later: %s", one_line(error))

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        """Take an epoch (from 1)."""
        values = {**asdict(metrics), **speed_metrics(speed)}
        sender_to(self.store, self.every_s).add(fold.key, lambda: self._live_run(fold), epoch, values)

    def on_finished(self, fold: FoldIdentity, history: Sequence[EpochMetrics]) -> None:
        """Take the end of a fold, which ends its run."""
        epochs = [(epoch, asdict(metrics)) for epoch, metrics in enumerate(history, start=1)]
        sender_to(self.store, self.every_s).finish(fold.key, lambda: self._live_run(fold), epochs)

    def on_failed(self, folds: Sequence[FoldIdentity]) -> None:
        """Mark the runs of folds and of their sets as failed, until a training goes on with them."""
        try:
            require_database(self.store)
            for fold in folds:
                set_key = self._content(fold.modality_set).set_key
                known = runs_of_set(self.store, set_key)
                for key in {fold.key, set_key} & known.keys():
                    self.store.client().set_terminated(known[key].info.run_id, FAILED)
        except sending_failures() as error:
            logger.warning("MLflow fails, so no run is marked as failed: %s", one_line(error))

    def _live_run(self, fold: FoldIdentity) -> LiveRun:
        return LiveRun(self.store, self._content(fold.modality_set, fold), self._content(fold.modality_set))

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
        PREFIX + "seconds_per_epoch": speed.seconds,
        PREFIX + "samples_per_second": speed.samples_per_second,
        PREFIX + "data_wait_share": speed.data_wait_share,
        PREFIX + "peak_memory_gb": speed.memory_gb,
    }
