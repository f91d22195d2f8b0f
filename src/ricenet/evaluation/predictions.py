"""Predictions for held-out subjects: reading them and checking them against the splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.runtime.errors import ResultError
from ricenet.runtime.tables import require
from ricenet.training.predictions import Prediction, read_predictions
from ricenet.vocabulary import LABELS, Label

THRESHOLD = 0.5
"""A subject is predicted rice from this p_rice upwards."""


def predicted_label(p_rice: float) -> Label:
    """The label on the probability's side of the threshold."""
    return LABELS[int(p_rice >= THRESHOLD)]


def read_out_of_fold(training: Path, modality_set: str, splits: Splits) -> list[Prediction]:
    """Every training subject's prediction by the fold that held it out, alphabetically by subject.

    training: the folder with `<modality_set>/fold-<k>/predictions.tsv`.
    Raises ResultError: a missing file; a subject that is missing, predicted twice, in another fold
    than in the splits, with another label, or with a p_rice that is no probability.
    """
    predictions: list[Prediction] = []
    for k, expected in enumerate(splits.folds):
        path = require(training / modality_set / f"fold-{k}" / "predictions.tsv", "train")
        found = read_predictions(path)
        _check_fold(found, expected, splits.labels, where=f"{modality_set}, fold {k}")
        predictions += found
    return sorted(predictions, key=lambda p: p.participant_id)


def _check_fold(
    found: Sequence[Prediction], expected: Sequence[str], labels: Mapping[str, str], where: str
) -> None:
    remedy = "Train this fold again with the current splits"
    subjects = [p.participant_id for p in found]
    for subject in sorted(set(subjects)):
        if subjects.count(subject) > 1:
            raise ResultError(f"{where}: {subject} is predicted {subjects.count(subject)} times. {remedy}")
        if subject not in expected:
            raise ResultError(
                f"{where}: {subject} is predicted, but splits.json holds it out elsewhere. {remedy}"
            )
    for subject in sorted(set(expected) - set(subjects)):
        raise ResultError(f"{where}: {subject} has no prediction. {remedy}")
    for p in found:
        if not 0 <= p.p_rice <= 1:
            raise ResultError(f"{where}: {p.participant_id} has p_rice {p.p_rice}, which is no probability")
        if p.label != labels[p.participant_id]:
            raise ResultError(
                f"{where}: {p.participant_id} is {p.label} in the predictions and "
                f"{labels[p.participant_id]} in splits.json. {remedy}"
            )
