"""Two trainings against each other, on the subjects that both held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.evidence.comparison import compare_pairs
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.intervals import Scores, bounds_of, difference_or_bound, scores_with_intervals
from ricenet.evaluation.predictions import THRESHOLD
from ricenet.runtime.errors import ResultError
from ricenet.runtime.records import Record
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS, Label

LEAST_OF_A_LABEL = 2
"""Subjects of each label that both must have held out; DeLong's variance needs two."""

LEVEL = 0.05
_NAMED = 5


@dataclass(frozen=True)
class Side:
    """One of the two. name: for people. training: key of the training, equal where nothing was changed.

    predictions: by the fold that held each subject out. digests: content addresses of what it was made from,
    by name. parameters: settings as text, under dotted names.
    """

    name: str
    modality_set: str
    training: str
    predictions: tuple[Prediction, ...]
    digests: Mapping[str, str]
    parameters: Mapping[str, str]


class ComparedSide(Record):
    """A side in numbers. held_out: its subjects; scores: of those in common."""

    name: str
    modality_set: str
    held_out: int
    scores: Scores


class RightAnswers(Record):
    """On how many subjects both, one alone, or neither is right."""

    both: int
    only_a: int
    only_b: int
    neither: int


class PValues(Record):
    """Two-sided, of this one comparison, not corrected for others."""

    macro_f1: float
    mcnemar: float
    delong: float


class Differing(Record):
    """What the two were made from or trained with, where it differs; None: not recorded."""

    name: str
    a: str | None
    b: str | None


class Paired(Record):
    """The comparison. differences: a minus b by score. right: by label.

    common: subjects of each label that both held out. only_*_held_out: those left out. same_folds: whether
    the common ones were divided into folds alike.
    """

    a: ComparedSide
    b: ComparedSide
    common: dict[Label, int]
    only_a_held_out: int
    only_b_held_out: int
    same_folds: bool
    differences: dict[str, Estimate]
    p_values: PValues
    right: dict[Label, RightAnswers]
    verdict: str
    digests: tuple[Differing, ...]
    parameters: tuple[Differing, ...]
    seed: int
    resamples: int

    @property
    def n(self) -> int:
        """How many subjects both held out."""
        return sum(self.common.values())


def compare_two(a: Side, b: Side, seed: int, resamples: int) -> tuple[Paired, HeldOut]:
    """Both sides' scores and how they differ; and the subjects in common, as columns "a" and "b".

    Raises ResultError: one training named twice, a subject with two labels, too few subjects in common.
    """
    held_out = in_common(a, b)
    is_rice, resampling = held_out.is_rice, held_out.resampling(seed, resamples)
    (tested,) = compare_pairs(held_out, resampling, [("a", "b")])
    sides = {
        name: ComparedSide(
            name=side.name,
            modality_set=side.modality_set,
            held_out=len(side.predictions),
            scores=scores_with_intervals(held_out.p_rice[name], is_rice, seed, resamples),
        )
        for name, side in (("a", a), ("b", b))
    }
    right = right_answers(held_out)
    return Paired(
        **sides,
        common={label: int((is_rice == (label == "rice")).sum()) for label in LABELS},
        only_a_held_out=len(a.predictions) - tested.n,
        only_b_held_out=len(b.predictions) - tested.n,
        same_folds=_same_division(a, b, held_out.subjects),
        differences=_differences(held_out, resampling, tested),
        p_values=PValues(macro_f1=tested.p_macro_f1, mcnemar=tested.p_mcnemar, delong=tested.p_delong),
        right=right,
        verdict=verdict(tested),
        digests=differing(a.digests, b.digests),
        parameters=differing(a.parameters, b.parameters),
        seed=seed,
        resamples=resamples,
    ), held_out


def in_common(a: Side, b: Side) -> HeldOut:
    """The subjects that both held out, as columns "a" and "b"; folds are those of a.

    Raises ResultError: one training named twice, a subject in two folds or with two labels, too few
    subjects in common.
    """
    of_a, of_b = ({p.participant_id: p for p in side.predictions} for side in (a, b))
    if a.training == b.training and of_a == of_b:
        raise ResultError(
            f"{a.name} and {b.name} are one and the same training of {a.modality_set}. Name two that differ"
        )
    for side, known in ((a, of_a), (b, of_b)):
        if len(known) < len(side.predictions):
            raise ResultError(
                f"{side.name} predicts a subject in two folds, so that it is not held out. Train it again "
                "(`dvc repro`)"
            )
    subjects = sorted(of_a.keys() & of_b.keys())
    if unlike := [s for s in subjects if of_a[s].label != of_b[s].label]:
        raise ResultError(
            f"{a.name} and {b.name} call {_listed(unlike)} by different labels. Labels were changed in "
            "between: train the older one again (`dvc repro`), so that both are judged by one truth"
        )
    _require_enough(a, b, [of_a[s].label for s in subjects])
    ours = [of_a[s] for s in subjects]
    theirs = [Prediction(p.participant_id, p.label, p.fold, of_b[p.participant_id].p_rice) for p in ours]
    return HeldOut.of({"a": ours, "b": theirs})


def right_answers(held_out: HeldOut) -> dict[Label, RightAnswers]:
    """Who is right on how many subjects of each label."""
    right_a, right_b = ((held_out.p_rice[name] >= THRESHOLD) == held_out.is_rice for name in ("a", "b"))
    return {
        label: RightAnswers(
            both=_count(of_label, right_a & right_b),
            only_a=_count(of_label, right_a & ~right_b),
            only_b=_count(of_label, right_b & ~right_a),
            neither=_count(of_label, ~right_a & ~right_b),
        )
        for label in LABELS
        for of_label in [held_out.is_rice == (label == "rice")]
    }


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Differing, ...]:
    """The names under which two descriptions differ, in alphabetical order."""
    names = sorted(a.keys() | b.keys())
    return tuple(Differing(name=n, a=a.get(n), b=b.get(n)) for n in names if a.get(n) != b.get(n))


def verdict(tested: Comparison) -> str:
    """What follows, in words. A side counts as better where the interval of the macro-F1 says so."""
    difference = tested.macro_f1
    if difference.low > 0 or difference.high < 0:
        better, worse = ("A", "B") if difference.value > 0 else ("B", "A")
        gain = difference.text() if better == "A" else _turned(difference).text()
        first = (
            f"{better} is better than {worse} on these {tested.n} subjects: its macro-F1 is higher by {gain}."
        )
    elif not tested.only_a_right and not tested.only_b_right:
        first = f"A and B are right on the same of the {tested.n} subjects."
    else:
        first = (
            f"No difference is shown: A's macro-F1 minus B's is {difference.text(signed=True)}, so that A "
            f"may be better by up to {max(difference.high, 0):.2f} or worse by up to "
            f"{max(-difference.low, 0):.2f}."
        )
    mcnemar = _told(tested.p_mcnemar, tested.only_a_right - tested.only_b_right)
    delong = _told(tested.p_delong, tested.auc.value)
    return f"{first} McNemar's exact test {mcnemar}; DeLong's test of the areas {delong}."


def p_text(p: float) -> str:
    """A p-value with the digits that matter.

    >>> p_text(0.3512), p_text(0.0312), p_text(0.00001)
    ('0.35', '0.031', '<0.001')
    """
    if p < 0.001:
        return "<0.001"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"


def _told(p: float, in_favour_of_a: float) -> str:
    p_value = f"p {p_text(p)}" if p < 0.001 else f"p = {p_text(p)}"
    if p >= LEVEL:
        return f"does not tell them apart ({p_value})"
    return f"tells them apart in favour of {'A' if in_favour_of_a > 0 else 'B'} ({p_value})"


def _turned(estimate: Estimate) -> Estimate:
    ends = {"value": -estimate.value, "low": -estimate.high, "high": -estimate.low}
    return estimate.model_copy(update=ends)


def _differences(held_out: HeldOut, resampling: Resampling, tested: Comparison) -> dict[str, Estimate]:
    a, b = held_out.p_rice["a"], held_out.p_rice["b"]
    statistics = [
        scores.difference(score(a, held_out.is_rice), score(b, held_out.is_rice))
        for score in (scores.balanced_accuracy, scores.brier)
    ]
    balanced, brier = resampling.estimates(statistics)
    bounds = [bounds_of(p_rice, held_out.is_rice)["balanced_accuracy"] for p_rice in (a, b)]
    return {
        "macro_f1": tested.macro_f1,
        "balanced_accuracy": difference_or_bound(balanced, *bounds),
        "auc": tested.auc,
        "brier": brier,
    }


def _require_enough(a: Side, b: Side, labels: list[Label]) -> None:
    counts = {label: labels.count(label) for label in LABELS}
    if min(counts.values()) < LEAST_OF_A_LABEL:
        found = " and ".join(f"{n} {label}" for label, n in counts.items())
        raise ResultError(
            f"{a.name} and {b.name} held out {found} in common; a comparison needs {LEAST_OF_A_LABEL} of "
            "each label at least. Train both on one cohort: `dvc repro`"
        )


def _same_division(a: Side, b: Side, subjects: tuple[str, ...]) -> bool:
    """Whether the subjects lie together in a's folds as they do in b's, whatever the folds' numbers."""
    fold_a, fold_b = ({p.participant_id: p.fold for p in side.predictions} for side in (a, b))
    pairs = {(fold_a[s], fold_b[s]) for s in subjects}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def _count(of_label: NDArray[np.bool_], right: NDArray[np.bool_]) -> int:
    return int((of_label & right).sum())


def _listed(subjects: list[str]) -> str:
    more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    return ", ".join(subjects[:_NAMED]) + more
