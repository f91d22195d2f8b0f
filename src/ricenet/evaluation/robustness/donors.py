"""Whose dose a subject gets instead of its own."""

from __future__ import annotations

from collections.abc import Sequence

from ricenet.cohort.splits import Splits
from ricenet.evaluation.robustness.given import DonorLabel
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import LABELS


def draw_donors(splits: Splits, seed: int) -> dict[str, dict[DonorLabel, str]]:
    """A donor with the same and one with the other label for everyone outside the test set.

    Donors are of the subject's own fold: its network was trained on all others, and might recognise their
    doses. Within a label everyone gives to one other (a derangement); a fold's only subject of a label gets
    no dose of the same label. Between labels everyone gives as equally often as their numbers allow.
    """
    donors: dict[str, dict[DonorLabel, str]] = {}
    for fold, subjects in enumerate(splits.folds):
        drawn = [_shuffled([s for s in subjects if splits.labels[s] == x], seed, fold, x) for x in LABELS]
        for own, other in (drawn, drawn[::-1]):
            for place, subject in enumerate(own):
                donors[subject] = {}
                if len(own) > 1:
                    donors[subject]["same"] = own[(place + 1) % len(own)]
                if other:
                    donors[subject]["other"] = other[place % len(other)]
    return donors


def _shuffled(subjects: Sequence[str], seed: int, fold: int, label: str) -> list[str]:
    order = generator_for("robustness donors", seed, fold, label).permutation(len(subjects))
    return [sorted(subjects)[i] for i in order]
