"""A stand-in for training that tells an observer its epochs, and resumes from its last checkpoint.

python live_training.py PROJECT URI EXPERIMENT_ID EPOCHS SECONDS_PER_EPOCH
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.live import LiveObserver
from ricenet.training.history import EpochMetrics, EpochSpeed, FoldIdentity

SPEED = EpochSpeed(seconds=0.5, samples_per_second=16.0, data_wait_share=0.01, memory_gb=0.25)
LOSSES = ("train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1")
SPEEDS = (
    "system/seconds_per_epoch",
    "system/samples_per_second",
    "system/data_wait_share",
    "system/peak_memory_gb",
)
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


def end_of_a_fold(observer: LiveObserver, epochs: int, fold: FoldIdentity) -> int:
    """Fold 0 ends; fold 1 fails after its last epoch but one, which is told to nobody."""
    if fold.fold == 0:
        train(observer, fold, epochs)
        observer.on_finished(fold, history_of(0, epochs))
    else:
        train(observer, fold, epochs - 1)
    return os.getpid()


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
