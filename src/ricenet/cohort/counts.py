"""What the numbers of subjects forbid, found from the table alone: before hours of preprocessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.first_events import first_events
from ricenet.cohort.site_folds import uneven_sites
from ricenet.cohort.splits import Splits, make_splits
from ricenet.config.params import Params
from ricenet.config.types import DivideBy
from ricenet.runtime.errors import SplitError
from ricenet.vocabulary import LABELS, LabelNames, volumes_and_recipe


@dataclass(frozen=True)
class Demands:
    """What is asked of a cohort's numbers.

    volumes: names of those that each modality set needs. fitted: sets whose fusion holds two folds out at
    once. nested: sets that are tuned within each fold. by_site: whether intensities are harmonised by site.
    label_names: the classes.
    """

    folds: int
    test_fraction: float
    seed: int
    volumes: Mapping[str, frozenset[str]]
    fitted: Collection[str] = ()
    nested: Collection[str] = ()
    by: DivideBy = "subject"
    by_site: bool = False
    label_names: LabelNames = LABELS

    @property
    def of_folds(self) -> str:
        """What makes more training subjects, in words."""
        return "raise split.folds" if self.by == "subject" else "set split.by: subject"

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
            params.split.by,
            params.evidence.harmonisation != "none",
            params.labels,
        )


def forbidden_by_counts(subjects: Sequence[CheckedSubject], demands: Demands) -> list[str]:
    """Why subjects cannot be divided and trained on as demanded, with what to do; nothing where they can.

    By the division that the stage `split` makes of a new cohort; one that grew keeps its folds, which hold as
    many of each label, give or take one.
    """
    try:
        names, by = demands.label_names, demands.by
        splits = make_splits(
            subjects, demands.folds, demands.test_fraction, demands.seed, by=by, label_names=names
        )
    except SplitError as error:
        return [str(error)]
    held = {s.participant_id: frozenset(s.scans) for s in subjects}
    sites = {s.site for s in subjects if s.participant_id in splits.development} - {None}
    return [
        *(_too_few_sites(len(sites)) if demands.by_site and len(sites) < 2 else ()),
        *_of_sets(splits, held, demands),
    ]


def _too_few_sites(known: int) -> list[str]:
    return [
        "evidence.harmonisation: combat brings sites to one another, and the column site of "
        f"participants.tsv names {known} among the subjects of the folds; fill it, or set "
        "evidence.harmonisation to none"
    ]


def _of_sets(splits: Splits, held: Mapping[str, frozenset[str]], demands: Demands) -> list[str]:
    """held: names of the volumes of each subject."""
    return [
        problem
        for name, needed in sorted(demands.volumes.items())
        for problem in _of_set(splits, name, frozenset(s for s in held if needed <= held[s]), demands)
    ]


def _of_first_events(splits: Splits, usable: frozenset[str]) -> str:
    """Why many visits can be too few: a set is judged by first events alone; "" where nobody has others."""
    if not splits.later:
        return ""
    there = len(usable.intersection(splits.development))
    return (
        f". Sets are judged by first events, and {there} of {len(splits.development)} have all its volumes: "
        "at a first visit there is none of session previous (docs/visits.md)"
    )


def doubtful_by_counts(
    subjects: Sequence[CheckedSubject], by: DivideBy = "subject", label_names: LabelNames = LABELS
) -> list[str]:
    """What the numbers allow, and who reads the results should know. by: what folds hold."""
    subjects = list(first_events(subjects).values())
    declared = Counter(s.label for s in subjects if s.subset == "test" and s.label is not None)
    every = "both labels" if len(label_names) == 2 else "every label"
    lacking = [label for label in label_names if declared and not declared[label]]
    sites: dict[str | None, list[str]] = {}
    for subject in subjects:
        if subject.label is not None and subject.subset != "test":
            sites.setdefault(subject.site, []).append(subject.participant_id)
    uneven = uneven_sites(list(sites.values())) if by == "site" else []
    return uneven + [
        f"the test set holds {declared.total()} subject(s), none of them {label}: macro-F1 on it says "
        f"nothing of {label}. Put subjects of {every} into the subset test"
        for label in lacking
    ]


def _of_set(splits: Splits, name: str, usable: frozenset[str], demands: Demands) -> Iterator[str]:
    """usable: subjects who have all volumes of the set."""
    folds = range(len(splits.folds))
    trained = {fold: [s for s in splits.training_subjects(fold) if s in usable] for fold in folds}
    labels = splits.labels_of_visits
    counts = {fold: Counter(labels[s] for s in trained[fold]) for fold in folds}
    for fold in folds:
        if not set(demands.label_names) <= counts[fold].keys() or not usable.intersection(splits.folds[fold]):
            yield (
                f"{name}, fold {fold}: of the subjects who have all its volumes, a label has none to train "
                "on or nobody is left to validate on; take the set out of modality_sets, or add subjects"
                + _of_first_events(splits, usable)
            )
            return
    if name in demands.fitted:
        for a, b in combinations(folds, 2):
            left = {splits.labels[s] for s in trained[a] if s not in splits.folds[b]}
            if left != set(demands.label_names):
                yield (
                    f"{name}: fusion: fitted holds folds {a} and {b} out at once, and not both labels are "
                    f"left; set fusion: mean, add subjects, or {demands.of_folds}"
                )
                return
    if name in demands.nested:
        # of all training subjects, as the search divides them
        all_trained = [
            Counter(splits.labels[s] for s in splits.training_subjects(fold) if s in splits.labels)
            for fold in folds
        ]
        fewest = min(of_fold[label] for of_fold in all_trained for label in demands.label_names)
        if fewest < len(folds):
            yield (
                f"{name}: tuning.nested divides the training subjects of each fold into {len(folds)} inner "
                f"folds, and one label has {fewest} there; add subjects, lower split.folds, or set "
                "tuning.nested to false"
            )
