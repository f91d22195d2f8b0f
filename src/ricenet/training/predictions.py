"""Predictions of a fold's validation subjects, and the figure of merit of the training log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.files import write_text
from ricenet.vocabulary import LABELS, Label

COLUMNS = ("participant_id", "label", "fold", "p_rice")

THRESHOLD = 0.5
"""A subject is predicted rice from this p_rice upwards."""


@dataclass(frozen=True)
class Prediction:
    """Probability of RICE of one held-out subject."""

    participant_id: str
    label: Label
    fold: int
    p_rice: float


def predicted_label(p_rice: float) -> Label:
    """The label on the probability's side of the threshold."""
    return LABELS[int(p_rice >= THRESHOLD)]


def predicted_labels(p_rice: Iterable[float]) -> list[Label]:
    """The same of several subjects."""
    return [predicted_label(p) for p in p_rice]


def macro_f1(labels: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean of the two labels' F1; one that neither occurs nor is predicted counts 0."""
    from sklearn.metrics import f1_score

    truth, guess = ([LABELS.index(label) for label in of] for of in (labels, predicted))
    return float(f1_score(truth, guess, labels=[0, 1], average="macro", zero_division=0))


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """Write a table with a row a subject, and every digit of the probability."""
    rows = [f"{p.participant_id}\t{p.label}\t{p.fold}\t{p.p_rice!r}" for p in predictions]
    write_text(path, "\n".join(["\t".join(COLUMNS), *rows]) + "\n")


def read_predictions(path: Path) -> list[Prediction]:
    """Read what `write_predictions` wrote."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [
        Prediction(subject, LABELS[LABELS.index(label)], int(fold), float(p))
        for subject, label, fold, p in rows
    ]
