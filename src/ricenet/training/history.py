"""What a training reports: who it is, its metrics epoch by epoch, and who follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ricenet.runtime.files import write_text
from ricenet.runtime.tables import read_rows, table_text


@dataclass(frozen=True)
class FoldIdentity:
    """Which training: a modality set, a fold from 0, and the content address of its inputs.

    left_out: another fold that it does not see either.
    """

    modality_set: str
    fold: int
    key: str
    left_out: int | None = None

    def __str__(self) -> str:
        besides = "" if self.left_out is None else f" without fold {self.left_out}"
        return f"{self.modality_set}, fold {self.fold}{besides}"


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of one epoch: losses are mean cross-entropies, the training part on augmented samples."""

    train_loss: float
    train_macro_f1: float
    validation_loss: float
    validation_macro_f1: float


@dataclass(frozen=True)
class EpochSpeed:
    """How fast an epoch was; reported to observers, but no part of the results, which repeat.

    data_wait_share: of the epoch, spent waiting for volumes to be read. memory_gb: the peak so far, of the
    GPU where one trains, else of the process.
    """

    seconds: float
    samples_per_second: float
    data_wait_share: float
    memory_gb: float


class EpochObserver:
    """Follows trainings, and does nothing by itself.

    It is called in the process that trains, and has to be picklable.
    """

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        """An epoch (from 1) is done."""

    def on_finished(self, fold: FoldIdentity, history: Sequence[EpochMetrics]) -> None:
        """The last epoch is done and the results are written."""

    def on_failed(self, folds: Sequence[FoldIdentity]) -> None:
        """Trainings ended with errors, or their processes did; called in the process that began them."""


def write_history(history: Sequence[EpochMetrics], path: Path) -> None:
    """Write a CSV with a row an epoch, counted from 1, and every digit of the metrics."""
    header = ["epoch", *(field.name for field in fields(EpochMetrics))]
    rows = [[epoch, *astuple(metrics)] for epoch, metrics in enumerate(history, start=1)]
    write_text(path, table_text(header, rows, delimiter=","))


def read_history(path: Path) -> list[EpochMetrics]:
    """Read what `write_history` wrote."""
    names = [field.name for field in fields(EpochMetrics)]
    rows = read_rows(path, delimiter=",")
    return [EpochMetrics(**{name: float(row[name]) for name in names}) for row in rows]
