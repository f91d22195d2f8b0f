"""Which predictions are explained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ricenet.cohort.splits import Splits
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE
from ricenet.runtime.errors import ResultError
from ricenet.vocabulary import LABELS


def subjects_to_explain(splits: Splits, per_label: int | None) -> list[str]:
    """The first subjects of each label outside the test set, by name, in the order of LABELS.

    per_label: how many of each; None: all.
    """
    return [
        subject
        for label in LABELS
        for subject in [s for s in splits.development if splits.labels[s] == label][:per_label]
    ]


def require_explainable(subjects: Sequence[str], splits: Splits, preprocessed: Path, voted: bool) -> None:
    """Make sure that subjects named by a person can be explained.

    voted: the ensemble's vote on the test set is in the ledger, so that nothing of it is new.

    Raises ResultError: a subject that is not preprocessed, or of a test set that nobody has looked at.
    """
    known = sorted(path.parent.name for path in preprocessed.glob(f"*/{MEASUREMENTS_FILE}"))
    if unknown := [subject for subject in subjects if subject not in known]:
        there = f"{known[0]} to {known[-1]}, {len(known)} in all" if known else "none"
        raise ResultError(
            f"not preprocessed: {', '.join(unknown)}; {preprocessed} has {there}. Run "
            "`dvc repro preprocess`, or name another subject"
        )
    if not voted and (kept := [subject for subject in subjects if subject in splits.test]):
        raise ResultError(
            f"of the independent test set: {', '.join(kept)}; explaining shows the prediction, which is a "
            "look at that set. Promote this ensemble (`ricenet promote`) and run `dvc repro`, which votes "
            "and writes the look into the ledger; then its test subjects can be explained"
        )
