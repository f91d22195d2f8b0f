"""Every score of a classification, each with its 95 % interval.

Macro-F1, balanced accuracy, area under the ROC curve and Brier score: BCa bootstrap of subjects within their
labels. Sensitivity and specificity: exact. Where no resample differs, since every subject is right (or every
one wrong), a bound from the exact rates; for an area of 0 or 1 what the rarer label alone could tell. A Brier
score that no resample changes keeps its empty interval: it is that of a prediction which is the same for all.

The intervals are about other subjects, given the trained networks; not about other folds or other starts.
"""

from __future__ import annotations

import numpy as np

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling, score_of
from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.proportions import LEVEL, Rates, proportion
from ricenet.evaluation.scores import Probabilities, Truth
from ricenet.runtime.records import Record


class Scores(Record):
    """Scores of n subjects, pooled over folds; positive is RICE."""

    n: int
    macro_f1: Estimate
    balanced_accuracy: Estimate
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    brier: Estimate


def scores_with_intervals(p_rice: Probabilities, is_rice: Truth, seed: int, resamples: int) -> Scores:
    """All scores of some subjects, of whom each label has one at least."""
    resampling = Resampling.of(is_rice, seed, resamples)
    statistics = (scores.macro_f1, scores.balanced_accuracy, scores.auc, scores.brier)
    macro_f1, balanced, auc, brier = resampling.estimates([s(p_rice, is_rice) for s in statistics])
    rates = Rates.of(p_rice, is_rice)
    return Scores(
        n=len(p_rice),
        macro_f1=or_bound(macro_f1, rates),
        balanced_accuracy=or_bound(balanced, rates, balanced=True),
        auc=auc_or_bound(auc, resampling.subjects),
        sensitivity=rates.sensitivity,
        specificity=rates.specificity,
        brier=brier,
    )


def or_bound(found: Estimate, rates: Rates, balanced: bool = False) -> Estimate:
    """The bootstrap's interval of a macro-F1 (or balanced accuracy); the rates' where no resample differs."""
    return found if found.low < found.high else rates.bound(found.value, balanced)


def auc_or_bound(found: Estimate, subjects: tuple[int, int]) -> Estimate:
    """The bootstrap's interval of an area under the ROC curve.

    Where the labels are separated without an exception, the other end is what the rarer label alone could
    tell: so many subjects without a mistake.
    """
    if found.low < found.high or found.value not in (0, 1):
        return found
    rarer = min(subjects)
    return proportion(rarer if found.value == 1 else 0, rarer).model_copy(update={"method": "exact bound"})


def difference_or_bound(found: Estimate, a: Estimate, b: Estimate) -> Estimate:
    """The bootstrap's interval of a difference a - b; where no resample differs, one from both sides' own.

    a, b: intervals of 97.5 % at least, so that their difference's covers 95 % (Bonferroni). A difference that
    is 0 in every resample stays as it is: the two classify alike.
    """
    if found.low < found.high or found.value == 0:
        return found
    return Estimate(value=found.value, low=a.low - b.high, high=a.high - b.low, method="exact bound")


def bounds_of(p_rice: Probabilities, is_rice: Truth) -> dict[str, Estimate]:
    """Bounds of 97.5 % of macro-F1, balanced accuracy and AUC, by name, for `difference_or_bound`.

    The AUC's is that of as many subjects as the rarer label has, with as many mistakes as it would take.
    """
    rates, level = Rates.of(p_rice, is_rice), (1 + LEVEL) / 2
    rarer = min(rates.rice, rates.recurrence)
    area = score_of(scores.auc(p_rice, is_rice), (rates.recurrence, rates.rice))
    least, most = (proportion(int(n), rarer, level) for n in (np.floor(area * rarer), np.ceil(area * rarer)))
    return {
        "macro_f1": rates.bound(0.0, level=level),
        "balanced_accuracy": rates.bound(0.0, balanced=True, level=level),
        "auc": Estimate(value=area, low=least.low, high=most.high, method="exact bound"),
    }
