"""What the numbers of subjects forbid, found from the table alone: before hours of preprocessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.splits import Splits, make_splits
from ricenet.config.params import Params
from ricenet.runtime.errors import SplitError
from ricenet.vocabulary import LABELS, LabelNames, volumes_and_recipe


@dataclass(frozen=True)
class Demands:
    """What is asked of a cohort's numbers.

    volumes: names of those that each modality set needs. fitted: sets whose fusion holds two folds out at
    once. nested: sets that are tuned within each fold. label_names: the classes.
    """

    folds: int
    test_fraction: float
    seed: int
    volumes: Mapping[str, frozenset[str]]
    fitted: Collection[str] = ()
    nested: Collection[str] = ()
    label_names: LabelNames = LABELS

    @classmethod
    def of(cls, params: Params) -> Self:
        """Those of a project."""
        recipes = params.by_recipe
        rules = {
            name: recipes[volumes_and_recipe(name)[1]].training.of_set(name).fusion
            for name in params.modality_sets
        }
        return cls(
            params.split.folds,
            params.split.test_fraction,
            params.seed,
            {name: frozenset(v.name for v in params.volumes.members(name)) for name in params.modality_sets},
            [name for name, rule in rules.items() if rule == "fitted"],
            params.tuning.modality_sets if params.tuning.nested else (),
            params.labels,
        )


def forbidden_by_counts(subjects: Sequence[CheckedSubject], demands: Demands) -> list[str]:
    """Why subjects cannot be divided and trained on as demanded, with what to do; nothing where they can.

    By the division that the stage `split` makes of a new cohort; one that grew keeps its folds, which hold as
    many of each label, give or take one.
    """
    try:
        splits = make_splits(
            subjects, demands.folds, demands.test_fraction, demands.seed, None, demands.label_names
        )
    except SplitError as error:
        return [str(error)]
    held = {s.participant_id: frozenset(s.scans) for s in subjects}
    return [
        problem
        for name, needed in sorted(demands.volumes.items())
        for problem in _of_set(splits, name, frozenset(s for s in held if needed <= held[s]), demands)
    ]


def doubtful_by_counts(subjects: Iterable[CheckedSubject], label_names: LabelNames = LABELS) -> list[str]:
    """What the numbers allow, and who reads the results should know."""
    declared = Counter(s.label for s in subjects if s.subset == "test" and s.label is not None)
    every = "both labels" if len(label_names) == 2 else "every label"
    lacking = [label for label in label_names if declared and not declared[label]]
    return [
        f"the test set holds {declared.total()} subject(s), none of them {label}: macro-F1 on it says "
        f"nothing of {label}. Put subjects of {every} into the subset test"
        for label in lacking
    ]


def _of_set(splits: Splits, name: str, usable: frozenset[str], demands: Demands) -> Iterator[str]:
    """usable: subjects who have all volumes of the set."""
    folds = range(len(splits.folds))
    trained = {fold: [s for s in splits.training_subjects(fold) if s in usable] for fold in folds}
    counts = {fold: Counter(splits.labels[s] for s in trained[fold]) for fold in folds}
    for fold in folds:
        if not set(demands.label_names) <= counts[fold].keys() or not usable.intersection(splits.folds[fold]):
            yield (
                f"{name}, fold {fold}: of the subjects who have all its volumes, a label has none to train "
                "on or nobody is left to validate on; take the set out of modality_sets, or add subjects"
            )
            return
    if name in demands.fitted:
        for a, b in combinations(folds, 2):
            left = {splits.labels[s] for s in trained[a] if s not in splits.folds[b]}
            if left != set(demands.label_names):
                yield (
                    f"{name}: fusion: fitted holds folds {a} and {b} out at once, and not both labels are "
                    "left; set fusion: mean, add subjects, or raise split.folds"
                )
                return
    if name in demands.nested:
        # of all training subjects, as the search divides them
        all_trained = [Counter(splits.labels[s] for s in splits.training_subjects(fold)) for fold in folds]
        fewest = min(of_fold[label] for of_fold in all_trained for label in demands.label_names)
        if fewest < len(folds):
            yield (
                f"{name}: tuning.nested divides the training subjects of each fold into {len(folds)} inner "
                f"folds, and one label has {fewest} there; add subjects, lower split.folds, or set "
                "tuning.nested to false"
            )
