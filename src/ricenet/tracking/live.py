"""Epochs of folds shown in MLflow while they train; what is missed here is published from files later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ricenet.tracking.content import (
    Epoch,
    RunContent,
    code_tags,
    common_params,
    fold_params,
    fold_run_name,
    set_key,
)
from ricenet.tracking.runs import create_run, log_epochs, log_params, runs_of_set
from ricenet.tracking.store import TrackingStore, mlflow_failures, one_line

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ricenet.training.history import EpochMetrics, FoldIdentity

logger = logging.getLogger(__name__)


@dataclass
class _LiveRun:
    pending: list[Epoch] = field(default_factory=list)
    run_id: str | None = None


@dataclass
class LiveObserver:
    """An EpochObserver that sends epochs to the folds' runs, several at a time.

    records: what fold.json will say, of every fold of every set to train. every_epochs: how many
    epochs are sent together. Training goes on without MLflow when it fails.
    """

    store: TrackingStore
    records: Sequence[Mapping[str, Any]]
    every_epochs: int = 10
    _live: dict[str, _LiveRun] = field(default_factory=dict, init=False, repr=False)
    _failed: bool = field(default=False, init=False, repr=False)

    def start(self) -> None:
        """Make the sets' runs, before several processes train their folds and look for them."""

        def make_missing() -> None:
            for modality_set in dict.fromkeys(record["modality_set"] for record in self.records):
                self._set_run(modality_set)

        self._unless_mlflow_fails(make_missing)

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics) -> None:
        """Take an epoch (from 1)."""
        live = self._live.setdefault(fold.key, _LiveRun())
        live.pending.append((epoch, asdict(metrics)))
        if len(live.pending) >= self.every_epochs:
            self._unless_mlflow_fails(lambda: self._send(fold, live))

    def on_finished(self, fold: FoldIdentity, history: Sequence[EpochMetrics]) -> None:
        """Send the epochs that are left, and end the run."""
        live = self._live.pop(fold.key, _LiveRun())
        live.pending = [(epoch, asdict(metrics)) for epoch, metrics in enumerate(history, start=1)]

        def finish() -> None:
            self.store.client().set_terminated(self._send(fold, live))

        self._unless_mlflow_fails(finish)

    def _send(self, fold: FoldIdentity, live: _LiveRun) -> str:
        live.run_id = live.run_id or str(self._fold_run(fold).info.run_id)
        log_epochs(self.store, live.run_id, live.pending)
        live.pending = []
        return live.run_id

    def _unless_mlflow_fails(self, action: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            self._require_database()
            action()
        except mlflow_failures() as error:
            self._failed = True
            logger.warning("MLflow fails, so runs appear only when all is trained: %s", one_line(error))

    def _require_database(self) -> None:
        database = self.store.database
        if database is not None and not database.exists():
            # on another computer MLflow would make an empty one
            raise FileNotFoundError(f"{database} does not exist here")

    def _set_run(self, modality_set: str) -> tuple[Run, dict[str, Run]]:
        content = self._content(modality_set)
        known = runs_of_set(self.store, content.set_key)
        if content.key not in known:
            known[content.key] = create_run(self.store, content, None)
            log_params(self.store, known[content.key], content.params)
        return known[content.key], known

    def _fold_run(self, fold: FoldIdentity) -> Run:
        parent, known = self._set_run(fold.modality_set)
        content = self._content(fold.modality_set, fold)
        run = known.get(content.key) or create_run(self.store, content, parent)
        log_params(self.store, run, content.params)
        return run

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
