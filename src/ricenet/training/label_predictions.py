"""Predictions of any number of labels: probabilities (N, K) in the order in which params.yaml declares them.

With the paper's two labels one number says all, and tables hold it alone (`ricenet.training.predictions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import write_text
from ricenet.runtime.tables import read_rows, table_text
from ricenet.training.predictions import Prediction, macro_f1, write_predictions
from ricenet.vocabulary import LABELS, is_rice_task


@dataclass(frozen=True)
class LabelPrediction:
    """What a fold's network says of a subject whom it did not see.

    probabilities: in the order of the labels.
    """

    participant_id: str
    label: str
    fold: int
    probabilities: tuple[float, ...]


def columns_of(label_names: Sequence[str]) -> list[str]:
    """The columns of tables that hold probabilities.

    >>> columns_of(["recurrence", "rice", "stable"])
    ['p_recurrence', 'p_rice', 'p_stable']
    """
    return [f"p_{name}" for name in label_names]


def top_labels(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The most probable label (N,), by position; of equal ones the last, as a p_rice of 0.5 says RICE.

    probabilities: (N, K).

    >>> top_labels(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])).tolist()
    [1, 1]
    """
    classes = probabilities.shape[1]
    found: NDArray[np.int64] = classes - 1 - np.argmax(probabilities[:, ::-1], axis=1)
    return found


def positions(labels: Sequence[str], label_names: Sequence[str]) -> NDArray[np.int64]:
    """The class (N,) of each label. Raises ValueError: a label that is not declared."""
    return np.array([label_names.index(label) for label in labels], dtype=np.int64)


def macro_f1_of_classes(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> float:
    """Mean of the K classes' F1; a class that neither occurs nor is said has 0.

    truth, said: (N,) positions. As scikit-learn's `f1_score` of all K labels, average macro, zero_division 0.
    """
    found = []
    for k in range(classes):
        hits, either = int(((truth == k) & (said == k)).sum()), int((truth == k).sum() + (said == k).sum())
        found.append(2 * hits / either if hits else 0.0)
    return float(np.mean(found))


def macro_f1_of(
    labels: Sequence[str], probabilities: NDArray[np.float64], label_names: Sequence[str]
) -> float:
    """The macro-F1 of the most probable labels. probabilities: (N, K)."""
    if is_rice_task(label_names):
        return macro_f1(labels, probabilities[:, LABELS.index("rice")])
    said = top_labels(probabilities)
    return macro_f1_of_classes(positions(labels, label_names), said, len(label_names))


def write_held_out(
    subjects: Sequence[str],
    labels: Sequence[str],
    fold: int,
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
    path: Path,
) -> None:
    """Write a fold's table, every digit: p_rice of the paper's two labels, else p_<label> of each."""
    rows = list(zip(subjects, labels, probabilities.tolist(), strict=True))
    if is_rice_task(label_names):
        rice = LABELS.index("rice")
        known = [(subject, LABELS[LABELS.index(label)], p[rice]) for subject, label, p in rows]
        write_predictions([Prediction(subject, label, fold, p) for subject, label, p in known], path)
        return
    header = ["participant_id", "label", "fold", *columns_of(label_names)]
    write_text(path, table_text(header, [[subject, label, fold, *p] for subject, label, p in rows]))


def read_label_predictions(path: Path, label_names: Sequence[str]) -> list[LabelPrediction]:
    """Read what `write_held_out` wrote for these labels.

    Raises ValueError: a column or cell is missing, a label is not declared, or a number is none.
    """
    try:
        return [
            LabelPrediction(
                row["participant_id"],
                label_names[label_names.index(row["label"])],
                int(row["fold"]),
                tuple(float(row[column]) for column in columns_of(label_names)),
            )
            for row in read_rows(path)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} lacks a column or a cell ({error})") from None


def majority_labels(folds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The label (N,) that most folds call most probable, by position.

    Of labels with equally many votes the one with the highest mean over the folds, of equal ones the last, as
    `ricenet.training.ensemble.majority_vote` has it. folds: (N, folds, K).
    """
    votes = votes_by_label(folds)
    leading = votes == votes.max(axis=1, keepdims=True)
    return top_labels(np.where(leading, folds.mean(axis=1), -1.0))


def votes_by_label(folds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many folds call each label most probable (N, K). folds: (N, folds, K)."""
    subjects, of_each, classes = folds.shape
    said = top_labels(folds.reshape(-1, classes)).reshape(subjects, of_each)
    votes: NDArray[np.int64] = (said[:, :, np.newaxis] == np.arange(classes)).sum(axis=1)
    return votes
