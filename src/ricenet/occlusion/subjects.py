"""Which predictions are explained, and by which fold's network."""

from __future__ import annotations

from ricenet.modalities import LABELS
from ricenet.splits import Splits


def subjects_to_explain(splits: Splits, per_label: int) -> list[str]:
    """The first subjects of each label outside the test set, by name, in the order of LABELS."""
    return [
        subject
        for label in LABELS
        for subject in [s for s in splits.development if splits.labels[s] == label][:per_label]
    ]


def held_out_fold(splits: Splits, subject: str) -> int:
    """The fold whose network did not train on a subject outside the test set."""
    return next(k for k, fold in enumerate(splits.folds) if subject in fold)
