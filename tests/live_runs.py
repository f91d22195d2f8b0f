"""What the live view left in a project's store, and the end of a process that showed it."""

from __future__ import annotations

from live_training import LOSSES
from mlflow.entities import Run
from tracking_servers import steps_by_metric

from ricenet.tracking import sender
from ricenet.tracking.connection import TrackingStore


def leave_process() -> None:
    """As if this process had ended, and another went on."""
    for each in sender._senders.values():
        each.close()
        each._runs.clear()
    sender._senders.clear()


def steps(store: TrackingStore, fold: int = 0) -> dict[str, list[int]]:
    assert store.database is not None
    return steps_by_metric(store.database, f"dose fold {fold}", store.experiment_id)


def losses(store: TrackingStore, fold: int = 0) -> dict[str, list[int]]:
    return {name: found for name, found in steps(store, fold).items() if name in LOSSES}


def once_each(epochs: list[int]) -> dict[str, list[int]]:
    return dict.fromkeys(sorted(LOSSES), epochs)


def runs(store: TrackingStore) -> dict[str, Run]:
    return {run.info.run_name: run for run in store.client().search_runs([store.experiment_id])}
