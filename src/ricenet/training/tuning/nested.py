"""Inner folds: a division of an outer fold's training subjects that knows nothing of its validation subjects.

Source: Varma and Simon 2006 (nested cross-validation); the paper of RICE-NET does not tune.
"""

from __future__ import annotations

from collections import Counter

from ricenet.cohort.splits import Splits
from ricenet.runtime.errors import SplitError
from ricenet.runtime.randomness import seed_for
from ricenet.vocabulary import LABELS


def inner_splits(splits: Splits, fold: int, seed: int) -> Splits:
    """As many stratified folds as there are outer ones, of an outer fold's training subjects alone.

    The result holds no one else: neither the fold's validation subjects nor the test set.
    Raises SplitError: too few training subjects of a label.
    """
    from sklearn.model_selection import StratifiedKFold

    subjects = splits.training_subjects(fold)
    labels = {subject: splits.labels[subject] for subject in subjects}
    count, found = len(splits.folds), Counter(labels.values())
    if min(found[label] for label in LABELS) < count:
        told = " and ".join(f"{found[label]} {label}" for label in LABELS)
        raise SplitError(
            f"tuning.nested: {count} inner folds need at least {count} training subjects of each label in "
            f"fold {fold}, found {told}; add subjects, lower split.folds, or set tuning.nested to false"
        )
    # scikit-learn takes 32 bits
    random_state = seed_for("inner folds", seed, fold) % 2**32
    divider = StratifiedKFold(count, shuffle=True, random_state=random_state)
    parts = divider.split(subjects, [labels[subject] for subject in subjects])
    return Splits(labels, tuple(tuple(subjects[i] for i in sorted(part)) for _, part in parts), ())
