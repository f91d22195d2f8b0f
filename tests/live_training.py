"""A stand-in for training that reports epochs to an observer, and resumes from its last checkpoint.

python live_training.py PROJECT URI EXPERIMENT_ID EPOCHS SECONDS_PER_EPOCH
"""

from __future__ import annotations

import sqlite3
import sys
import time
from concurrent.futures import wait
from pathlib import Path

from mlflow.entities import Run

from ricenet.runtime.files import read_json
from ricenet.tracking import live
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.live import LiveObserver
from ricenet.training.history import EpochMetrics, EpochSpeed, FoldIdentity

SPEED = EpochSpeed(seconds=0.5, samples_per_second=16.0, data_wait_share=0.01, memory_gb=0.25)
LOSSES = ("train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1")
CHECKPOINT_EVERY = 5


def history_of(fold: int, epochs: int) -> list[EpochMetrics]:
    """The same whenever it is computed, as `small_results.write_fold` writes it."""
    return [
        EpochMetrics(0.7 / e + fold / 10, 1 - 0.5 / e, 0.8 / e + fold / 10, 1 - 0.6 / e)
        for e in range(1, epochs + 1)
    ]


def observer_of(project: Path, store: TrackingStore, every_s: float = 0.05) -> LiveObserver:
    records = [read_json(path) for path in sorted((project / "work/training").glob("dose/*/fold.json"))]
    return LiveObserver(store, records, every_s)


def fold_of(project: Path, fold: int = 0) -> FoldIdentity:
    return FoldIdentity("dose", fold, read_json(project / f"work/training/dose/fold-{fold}/fold.json")["key"])


def train(
    observer: LiveObserver, fold: FoldIdentity, epochs: int, seconds: float = 0.0, first: int = 1
) -> None:
    for epoch, metrics in enumerate(history_of(fold.fold, epochs)[first - 1 :], start=first):
        time.sleep(seconds)
        observer.on_epoch(fold, epoch, metrics, SPEED)


def train_to_the_end(observer: LiveObserver, epochs: int, fold: FoldIdentity) -> None:
    train(observer, fold, epochs)
    observer.on_finished(fold, history_of(fold.fold, epochs))


def leave_process() -> None:
    """As if this process had ended, and another went on."""
    for sender in live._senders.values():
        wait([sender._under_way] if sender._under_way is not None else [], 10)
    live._senders.clear()


def runs(store: TrackingStore) -> dict[str, Run]:
    return {run.info.run_name: run for run in store.client().search_runs([store.experiment_id])}


def steps(database: Path | None, experiment: str, fold: int = 0) -> dict[str, list[int]]:
    """Metric -> its steps in order, each as often as it lies in the database, of all runs of a fold."""
    assert database is not None
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "select m.key, m.step from metrics m join runs r on r.run_uuid = m.run_uuid "
        "where r.name = ? and r.experiment_id = ? and r.lifecycle_stage = 'active' order by m.key, m.step",
        (f"dose fold {fold}", experiment),
    ).fetchall()
    connection.close()
    found: dict[str, list[int]] = {}
    for key, step in rows:
        found.setdefault(key, []).append(step)
    return found


def losses(found: dict[str, list[int]]) -> list[list[int]]:
    """The different sequences of steps among the losses: one, where all have the same."""
    return [list(each) for each in {tuple(found.get(name, [])) for name in LOSSES}]


def main() -> None:
    """Train fold 0 from the last checkpoint, which is a number in a file."""
    project, uri, experiment, epochs, seconds = sys.argv[1:]
    observer, fold = observer_of(Path(project), TrackingStore(uri, experiment)), fold_of(Path(project))
    checkpoint = Path(project) / "checkpoint.txt"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    observer.start()
    history = history_of(0, int(epochs))
    for epoch in range(done + 1, int(epochs) + 1):
        time.sleep(float(seconds))
        observer.on_epoch(fold, epoch, history[epoch - 1], SPEED)
        if epoch % CHECKPOINT_EVERY == 0:
            checkpoint.write_text(str(epoch))
    observer.on_finished(fold, history)


if __name__ == "__main__":
    main()
