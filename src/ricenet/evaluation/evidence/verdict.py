"""What a comparison of two trainings means, in words: which is better, if any, and what to be careful of."""

from __future__ import annotations

from collections.abc import Mapping

from ricenet.config.tuned import Searched
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said
from ricenet.evaluation.intervals import Estimate
from ricenet.vocabulary import Label

FEWEST_FOR_A_WINNER = 10
"""Subjects of each label that both must have held out before a side is called better, whatever a test says.

Of fewer, all that differ have to fall to one side; whether they would in others is not known."""

FEW_OF_A_LABEL = 30
"""Below it a caution: 13 % more right answers are found in a third of cohorts with 17 of 40, and in three of
five with 34 of 80 (benchmarks/statistics_level.py)."""


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
