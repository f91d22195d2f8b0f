"""Predictions of a fold's validation subjects, and the figure of merit of the training log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import write_text
from ricenet.runtime.tables import read_rows, table_text
from ricenet.vocabulary import LABELS, Label

THRESHOLD = 0.5
"""A subject is predicted rice from this p_rice upwards."""


@dataclass(frozen=True)
class Prediction:
    """Probability of RICE of one held-out subject."""

    participant_id: str
    label: Label
    fold: int
    p_rice: float


def predictions_file(subset: str) -> str:
    """The file with the answers of a network that saw these volumes of its set alone.

    >>> predictions_file("post_op+event")
    'predictions.post_op+event.tsv'
    """
    return f"predictions.{subset}.tsv"


def predicted_label(p_rice: float) -> Label:
    """The label on the probability's side of the threshold."""
    return LABELS[int(p_rice >= THRESHOLD)]


def macro_f1(labels: Sequence[str], p_rice: NDArray[np.float64]) -> float:
    """Mean of the two classes' F1; a subject is called RICE from 0.5. A class that never occurs has 0.

    As scikit-learn's `f1_score`, which takes a thousand times as long for a fold, once an epoch and twice.
    """
    truth, called = np.array([label == "rice" for label in labels]), np.asarray(p_rice) >= THRESHOLD
    wrong = int((truth != called).sum())
    right = [int((truth & called).sum()), int((~truth & ~called).sum())]
    return float(np.mean([2 * n / (2 * n + wrong) if n else 0.0 for n in right]))


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """Write a table with a row a subject, and every digit of the probability."""
    header = [field.name for field in fields(Prediction)]
    write_text(path, table_text(header, [astuple(prediction) for prediction in predictions]))


def read_predictions(path: Path) -> list[Prediction]:
    """Read what `write_predictions` wrote.

    Raises ValueError: a column or cell is missing, a label is none, or a number is none.
    """
    try:
        return [
            Prediction(
                row["participant_id"],
                LABELS[LABELS.index(row["label"])],
                int(row["fold"]),
                float(row["p_rice"]),
            )
            for row in read_rows(path)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} lacks a column or a cell ({error})") from None
