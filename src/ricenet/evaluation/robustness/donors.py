"""Whose dose a subject is given in place of its own."""

from __future__ import annotations

from collections.abc import Collection
from itertools import zip_longest

from ricenet.cohort.splits import Splits
from ricenet.evaluation.robustness.perturbations import DonorLabel
from ricenet.runtime.randomness import generator_for


def draw_donors(splits: Splits, with_dose: Collection[str], seed: int) -> dict[str, dict[DonorLabel, str]]:
    """A donor with the same and one with another label for everyone with a dose outside the test set.

    Donors are of the subject's own fold: its network was trained on all others, and might recognise their
    doses. Within a label everyone gives to one other (a derangement); a fold's only subject of a label gets
    no dose of the same label. Between labels everyone gives as equally often as their numbers allow.
    """
    donors: dict[str, dict[DonorLabel, str]] = {}
    for fold, subjects in enumerate(splits.folds):
        drawn = []
        for label in splits.label_names:
            of_label = sorted(s for s in subjects if s in with_dose and splits.labels[s] == label)
            order = generator_for("robustness donors", seed, fold, label).permutation(len(of_label))
            drawn.append([of_label[i] for i in order])
        for which, own in enumerate(drawn):
            rest = [of_label for k, of_label in enumerate(drawn) if k != which]
            # by turns, so that no label of several gives more than another
            other = [subject for turn in zip_longest(*rest) for subject in turn if subject is not None]
            for place, subject in enumerate(own):
                donors[subject] = {}
                if len(own) > 1:
                    donors[subject]["same"] = own[(place + 1) % len(own)]
                if other:
                    donors[subject]["other"] = other[place % len(other)]
    return donors
