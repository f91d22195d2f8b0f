"""Held-out predictions of any number of labels: read, checked, and as columns of the subjects in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.splits import Splits
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.held_out import misplaced
from ricenet.runtime.errors import ResultError
from ricenet.runtime.tables import require
from ricenet.training.label_predictions import (
    LabelPrediction,
    positions,
    read_label_predictions,
    top_labels,
)
from ricenet.vocabulary import LabelNames

Classes = NDArray[np.int64]
"""(N,) positions among the declared labels."""

LabelProbabilities = NDArray[np.float64]
"""(N, K) in the order of the declared labels."""

_ROUNDING = 1e-6


def read_out_of_fold_labels(
    training: Path, modality_set: str, splits: Splits, excluded: Collection[str] = ()
) -> list[LabelPrediction]:
    """As `ricenet.evaluation.held_out.read_out_of_fold`, of the labels that the splits declare; first events.

    Raises ResultError: as there, also where a table is of other labels.
    """
    predictions: list[LabelPrediction] = []
    labels = splits.labels_of_visits
    for k in range(len(splits.folds)):
        path = require(training / modality_set / f"fold-{k}" / "predictions.tsv", "train")
        remedy = "Train this fold again with the current splits"
        try:
            found = read_label_predictions(path, splits.label_names)
        except ValueError as error:
            names = ", ".join(splits.label_names)
            raise ResultError(
                f"{modality_set}, fold {k}: not a table of the labels {names} ({error}). {remedy}"
            ) from None
        for problem in (
            *misplaced(found, set(splits.validation_subjects(k)) - set(excluded)),
            *_unlike(found, labels),
        ):
            raise ResultError(f"{modality_set}, fold {k}: {problem}. {remedy}")
        predictions += [p for p in found if p.participant_id in splits.labels]
    return sorted(predictions, key=lambda p: p.participant_id)


def _unlike(found: Sequence[LabelPrediction], labels: Mapping[str, str]) -> Iterator[str]:
    for p in found:
        subject, truth = p.participant_id, labels[p.participant_id]
        if min(p.probabilities) < 0 or abs(sum(p.probabilities) - 1) > _ROUNDING:
            yield f"{subject} has probabilities that do not add up to 1"
        if p.label != truth:
            yield f"{subject} is {p.label} in the predictions and {truth} in splits.json"


@dataclass(frozen=True)
class LabelHeldOut:
    """Subjects in alphabetical order, and the labels in the order of columns.

    truth, fold: (N,). probabilities: by name of the classification, (N, K).
    """

    subjects: tuple[str, ...]
    label_names: LabelNames
    truth: Classes
    fold: NDArray[np.int64]
    probabilities: Mapping[str, LabelProbabilities]

    @classmethod
    def of(cls, predictions: Mapping[str, Sequence[LabelPrediction]], label_names: LabelNames) -> Self:
        """The subjects that all classifications predict; folds are those of the first.

        Raises ResultError: a subject that is predicted twice, or has two labels.
        """
        by_subject = {name: {p.participant_id: p for p in rows} for name, rows in predictions.items()}
        for name, rows in predictions.items():
            if len(by_subject[name]) < len(rows):
                raise ResultError(f"{name} predicts a subject in two folds. Train it again (`dvc repro`)")
        known = next(iter(by_subject.values()))
        subjects = sorted(set(known).intersection(*by_subject.values()))
        for name, other in by_subject.items():
            if any(other[s].label != known[s].label for s in subjects):
                raise ResultError(
                    f"{name} was trained with other labels of some subjects than another set. Train the "
                    "older one again (`dvc repro`)"
                )
        return cls(
            subjects=tuple(subjects),
            label_names=label_names,
            truth=positions([known[s].label for s in subjects], label_names),
            fold=np.array([known[s].fold for s in subjects], dtype=np.int64),
            probabilities={
                name: np.array([of_name[s].probabilities for s in subjects], dtype=np.float64).reshape(
                    len(subjects), len(label_names)
                )
                for name, of_name in by_subject.items()
            },
        )

    def among(self, label_names: LabelNames) -> LabelHeldOut:
        """The subjects who truly have one of some labels, with probabilities that add up to 1 over these.

        A subject to whom none of them is given any probability gets the same of each.
        """
        columns = [self.label_names.index(name) for name in label_names]
        inside = np.isin(self.truth, columns)
        return LabelHeldOut(
            subjects=tuple(s for s, kept in zip(self.subjects, inside, strict=True) if kept),
            label_names=label_names,
            truth=np.array([columns.index(k) for k in self.truth[inside]], dtype=np.int64),
            fold=self.fold[inside],
            probabilities={
                name: renormalised(p[inside][:, columns]) for name, p in self.probabilities.items()
            },
        )

    def is_label(self, k: int) -> NDArray[np.bool_]:
        """Whether each subject has the label at a position (N,)."""
        found: NDArray[np.bool_] = self.truth == k
        return found

    @property
    def counts(self) -> list[int]:
        """Subjects of each label."""
        return [int(self.is_label(k).sum()) for k in range(len(self.label_names))]

    @property
    def least(self) -> int:
        """Subjects of the rarest label; intervals and tests need two."""
        return int(min(self.counts))

    def said(self, name: str) -> Classes:
        """What a classification calls each subject (N,)."""
        return top_labels(self.probabilities[name])

    def resampling(self, seed: int, resamples: int) -> Resampling:
        """Draws of these subjects, each label among itself; the same ones for whatever is estimated."""
        strata = tuple(np.flatnonzero(self.truth == k) for k in range(len(self.label_names)))
        return Resampling(strata, seed, resamples)


def renormalised(probabilities: LabelProbabilities) -> LabelProbabilities:
    """Rows that add up to 1; equal shares where nothing is left to divide.

    >>> renormalised(np.array([[0.125, 0.375], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    total = probabilities.sum(axis=1, keepdims=True)
    equal = np.full_like(probabilities, 1 / probabilities.shape[1])
    found: LabelProbabilities = np.divide(probabilities, total, out=equal, where=total > 0)
    return found
