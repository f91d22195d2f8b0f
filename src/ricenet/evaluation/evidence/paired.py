"""Two trainings against each other, on the subjects that both held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ricenet.config.tuned import Searched
from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.comparison import WIDER, compare
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate, difference_or_bound, exact_bounds
from ricenet.evaluation.scores import Scores, scores_with_intervals
from ricenet.runtime.errors import ResultError
from ricenet.runtime.records import Record
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS, Label

LEAST_OF_A_LABEL = 2
"""Subjects of each label that both must have held out, for intervals by the bootstrap."""

FEWEST_FOR_A_WINNER = 10
"""Subjects of each label that both must have held out before a side is called better, whatever a test says.

Of fewer, all that differ have to fall to one side; whether they would in others is not known."""

FEW_OF_A_LABEL = 30
"""Below it a caution: 13 % more right answers are found in a third of cohorts with 17 of 40, and in three of
five with 34 of 80 (benchmarks/statistics_level.py)."""


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


def verdict(tested: Comparison, least: int) -> str:
    """What follows, in words. A side counts as better where the swap test of the macro-F1 says so.

    least: subjects of the rarer label; with fewer than FEWEST_FOR_A_WINNER no side is called better.
    """
    mcnemar = _test_sentence(tested.p_mcnemar, tested.only_a_right - tested.only_b_right)
    areas = _test_sentence(tested.p_auc, tested.auc.value)
    if not tested.auc_can_tell:
        areas = "cannot tell their areas apart, so alike do they rank these subjects"
    return f"{_better(tested, least)} McNemar's exact test {mcnemar}; the test of swapped ranks {areas}."


def _better(tested: Comparison, least: int) -> str:
    difference, p = tested.macro_f1, p_said(tested.p_macro_f1)
    alone = tested.only_a_right + tested.only_b_right
    minus = f"A's macro-F1 minus B's is {difference.text(signed=True)}"
    if tested.differs and least < FEWEST_FOR_A_WINNER:
        return (
            f"No side is called better from so few: {minus} ({p}), but only {least} of the {tested.n} "
            f"subjects have the rarer label, and {FEWEST_FOR_A_WINNER} of each are asked for."
        )
    if tested.differs:
        better, worse = ("A", "B") if difference.value > 0 else ("B", "A")
        gain = difference.text() if better == "A" else _turned(difference).text()
        return (
            f"{better} is better than {worse} on these {tested.n} subjects: its macro-F1 is higher by "
            f"{gain}, {p}."
        )
    if not alone:
        return f"A and B are right on the same of the {tested.n} subjects."
    if not tested.macro_f1_can_tell:
        return (
            f"Which is better cannot be told here: {minus}, but one alone is right on {alone} of the "
            f"{tested.n} subjects, too few to show a difference whichever it is."
        )
    if difference.low > 0 or difference.high < 0:
        return f"No difference is shown: {minus}, but swapping their answers gives as much by chance ({p})."
    return (
        f"No difference is shown: {minus} ({p}), so that A may be better by up to {difference.high:.2f} or "
        f"worse by up to {-difference.low:.2f}."
    )


def caution(common: Mapping[Label, int]) -> str:
    """What has to be said beside the verdict where a label has few subjects; else nothing."""
    label = min(common, key=lambda name: common[name])
    if common[label] >= FEW_OF_A_LABEL:
        return ""
    return (
        f"Caution: {common[label]} subjects have {label}. So few show large differences only, and those "
        "larger than they are: a side that is better here need not be so in others."
    )


def tuning_cautions(a: Searched | None, b: Searched | None) -> list[str]:
    """What has to be said of settings that were chosen on the very subjects that judge them here."""
    sides = {"A": a, "B": b}
    tuned = [name for name, searched in sides.items() if searched == "same folds"]
    unknown = [name for name, searched in sides.items() if searched is None]
    said = []
    if tuned:
        favoured = f" The difference favours {tuned[0]}." if len(tuned) == 1 else ""
        said.append(
            f"Tuning: the settings of {' and '.join(tuned)} were searched for on these very subjects, "
            f"without nesting, so that {'its' if len(tuned) == 1 else 'their'} scores are optimistic."
            f"{favoured} `tuning.nested: true` gives honest ones."
        )
    if unknown:
        said.append(
            f"Whether the settings of {' and '.join(unknown)} were chosen on these very subjects is not "
            "recorded."
        )
    return said


def _test_sentence(p: float, in_favour_of_a: float) -> str:
    if p > LEVEL:
        return f"does not separate them ({p_said(p)})"
    return f"separates them in favour of {'A' if in_favour_of_a > 0 else 'B'} ({p_said(p)})"


def _turned(estimate: Estimate) -> Estimate:
    ends = {"value": -estimate.value, "low": -estimate.high, "high": -estimate.low}
    return estimate.model_copy(update=ends)


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
