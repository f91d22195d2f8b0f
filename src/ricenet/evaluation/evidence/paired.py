"""Two trainings against each other, on the subjects that both held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.config.tuned import Searched
from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.comparison import WIDER, compare
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.verdict import caution, tuning_cautions, verdict
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate, difference_or_bound, exact_bounds
from ricenet.evaluation.scores import Scores, scores_with_intervals
from ricenet.runtime.errors import ResultError
from ricenet.runtime.records import Record
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS, Label

LEAST_OF_A_LABEL = 2
"""Subjects of each label that both must have held out, for intervals by the bootstrap."""


@dataclass(frozen=True)
class Side:
    """One of the two. name: for people. training: key of the training, equal where nothing was changed.

    predictions: by the fold that held each subject out. digests: content addresses of what it was made from,
    by name. parameters: settings as text, under dotted names. searched: how its settings were found.
    """

    name: str
    modality_set: str
    training: str
    predictions: tuple[Prediction, ...]
    digests: Mapping[str, str]
    parameters: Mapping[str, str]
    searched: Searched | None = None


class ComparedSide(Record):
    """A side in numbers. held_out: its subjects; scores: of those in common. searched: None: not recorded."""

    name: str
    modality_set: str
    held_out: int
    scores: Scores
    searched: Searched | None


class RightAnswers(Record):
    """On how many subjects both, one alone, or neither is right."""

    both: int
    only_a: int
    only_b: int
    neither: int


class Differing(Record):
    """What the two were made from or trained with, where it differs; None: not recorded."""

    name: str
    a: str | None
    b: str | None


class Paired(Record):
    """The comparison. differences: a minus b by score. right: by label.

    common: subjects of each label that both held out. only_*_held_out: those excluded. same_folds: whether
    the common ones were divided into folds alike. p_values: two-sided, of this one comparison, not corrected
    for others; by test: macro_f1 and auc (swap tests), mcnemar. caution: empty where nothing is to be said.
    """

    a: ComparedSide
    b: ComparedSide
    common: dict[Label, int]
    only_a_held_out: int
    only_b_held_out: int
    same_folds: bool
    differences: dict[str, Estimate]
    p_values: dict[str, float]
    right: dict[Label, RightAnswers]
    verdict: str
    caution: str
    digests: tuple[Differing, ...]
    parameters: tuple[Differing, ...]
    seed: int
    resamples: int

    @property
    def n(self) -> int:
        """How many subjects both held out."""
        return sum(self.common.values())


def compare_two(a: Side, b: Side, seed: int, resamples: int) -> tuple[Paired, HeldOut]:
    """Both sides' scores and how they differ; and the subjects in common, as columns by the sides' names.

    Raises ResultError: one training named twice, a subject in two folds or with two labels, too few
    subjects in common.
    """
    if a.training == b.training and set(a.predictions) == set(b.predictions):
        raise ResultError(
            f"{a.name} and {b.name} are one and the same training of {a.modality_set}. Name two that differ"
        )
    held_out = HeldOut.of({a.name: a.predictions, b.name: b.predictions})
    is_rice = held_out.is_rice
    common: dict[Label, int] = {label: int((is_rice == (label == "rice")).sum()) for label in LABELS}
    if held_out.least < LEAST_OF_A_LABEL:
        found = " and ".join(f"{n} {label}" for label, n in common.items())
        raise ResultError(
            f"{a.name} and {b.name} held out {found} in common; a comparison needs {LEAST_OF_A_LABEL} of "
            "each label at least. Train both on one cohort: `dvc repro`"
        )
    tested = compare(held_out, a.name, b.name, seed, resamples)
    side_a, side_b = (
        ComparedSide(
            name=side.name,
            modality_set=side.modality_set,
            held_out=len(side.predictions),
            scores=scores_with_intervals(held_out.p_rice[side.name], is_rice, seed, resamples),
            searched=side.searched,
        )
        for side in (a, b)
    )
    return Paired(
        a=side_a,
        b=side_b,
        common=common,
        only_a_held_out=len(a.predictions) - tested.n,
        only_b_held_out=len(b.predictions) - tested.n,
        same_folds=_same_division(a, b, held_out.subjects),
        differences=_differences(held_out, tested, seed, resamples),
        p_values={"macro_f1": tested.p_macro_f1, "mcnemar": tested.p_mcnemar, "auc": tested.p_auc},
        right=right_answers(held_out, a.name, b.name),
        verdict=verdict(tested, held_out.least),
        caution=" ".join(
            text for text in (caution(common), *tuning_cautions(a.searched, b.searched)) if text
        ),
        digests=differing(a.digests, b.digests),
        parameters=differing(a.parameters, b.parameters),
        seed=seed,
        resamples=resamples,
    ), held_out


def right_answers(held_out: HeldOut, a: str, b: str) -> dict[Label, RightAnswers]:
    """Who is right on how many subjects of each label."""
    right_a, right_b = held_out.right(a), held_out.right(b)
    outcomes = {
        "both": right_a & right_b,
        "only_a": right_a & ~right_b,
        "only_b": right_b & ~right_a,
        "neither": ~right_a & ~right_b,
    }
    of_label = {label: held_out.is_rice == (label == "rice") for label in LABELS}
    return {
        label: RightAnswers(**{name: int((inside & found).sum()) for name, found in outcomes.items()})
        for label, inside in of_label.items()
    }


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Differing, ...]:
    """The names under which two descriptions differ, in alphabetical order."""
    names = sorted(a.keys() | b.keys())
    return tuple(Differing(name=n, a=a.get(n), b=b.get(n)) for n in names if a.get(n) != b.get(n))


def _differences(held_out: HeldOut, tested: Comparison, seed: int, resamples: int) -> dict[str, Estimate]:
    sides = [held_out.p_rice[name] for name in (tested.a, tested.b)]
    balanced, brier = held_out.resampling(seed, resamples).estimates(
        [
            difference(*(score(p_rice, held_out.is_rice) for p_rice in sides))
            for score in (scores.balanced_accuracy, scores.brier)
        ]
    )
    bounds = [exact_bounds(p_rice, held_out.is_rice, WIDER)["balanced_accuracy"] for p_rice in sides]
    return {
        "macro_f1": tested.macro_f1,
        "balanced_accuracy": difference_or_bound(balanced, *bounds),
        "auc": tested.auc,
        "brier": brier,
    }


def _same_division(a: Side, b: Side, subjects: tuple[str, ...]) -> bool:
    """Whether the subjects lie together in a's folds as they do in b's, whatever the folds' numbers."""
    fold_a, fold_b = ({p.participant_id: p.fold for p in side.predictions} for side in (a, b))
    pairs = {(fold_a[s], fold_b[s]) for s in subjects}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})
