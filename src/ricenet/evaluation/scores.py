"""Scores of a classification with two labels, each with its 95 % interval.

Macro-F1, balanced accuracy, area under the ROC curve and Brier score: BCa bootstrap of subjects within their
labels. Sensitivity and specificity: exact. Where no resample differs, since every subject is right (or every
one wrong), a bound from the exact rates; for an area of 0 or 1 what the rarer label alone could tell. A Brier
score that no resample changes keeps its empty interval: it is that of a prediction which is the same for all.

The intervals are about other subjects, given the trained networks; not about other folds or other starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, mean_of
from ricenet.evaluation.intervals import (
    Estimate,
    Probabilities,
    Truth,
    exact_bounds,
    or_bound,
    pairs_won,
    share_of,
)
from ricenet.runtime.records import Record
from ricenet.training.predictions import THRESHOLD

SCORES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "sensitivity": "sensitivity for RICE",
    "specificity": "specificity",
    "brier": "Brier (less is better)",
}
"""Titles for people, by field of `Scores`."""


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
    """All scores of some subjects, two of each label at least."""
    statistics = (macro_f1, balanced_accuracy, auc, brier)
    found = Resampling.of(is_rice, seed, resamples).estimates([s(p_rice, is_rice) for s in statistics])
    of_macro_f1, balanced, area, of_brier = found
    bounds, right = exact_bounds(p_rice, is_rice), (p_rice >= THRESHOLD) == is_rice
    return Scores(
        n=len(p_rice),
        macro_f1=or_bound(of_macro_f1, bounds["macro_f1"]),
        balanced_accuracy=or_bound(balanced, bounds["balanced_accuracy"]),
        auc=or_bound(area, bounds["auc"]) if area.value in (0, 1) else area,
        sensitivity=share_of(right[is_rice]),
        specificity=share_of(right[~is_rice]),
        brier=of_brier,
    )


def macro_f1(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean of both labels' F1, as `ricenet.training.predictions.macro_f1`, of many resamples at once."""
    right = (p_rice >= THRESHOLD) == is_rice

    def score(counts: Counts) -> NDArray[np.float64]:
        errors = counts @ ~right
        f1 = [_f1(counts @ (right & of_label), errors) for of_label in (~is_rice, is_rice)]
        result: NDArray[np.float64] = np.mean(f1, axis=0)
        return result

    return score


def balanced_accuracy(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean of sensitivity and specificity."""
    right = (p_rice >= THRESHOLD) == is_rice

    def score(counts: Counts) -> NDArray[np.float64]:
        rates = [counts @ (right & of_label) / (counts @ of_label) for of_label in (~is_rice, is_rice)]
        result: NDArray[np.float64] = np.mean(rates, axis=0)
        return result

    return score


def auc(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Area under the ROC curve: how often RICE has the higher p_rice; ties count half."""
    wins = pairs_won(p_rice, is_rice)

    def score(counts: Counts) -> NDArray[np.float64]:
        rice, recurrence = counts[:, is_rice], counts[:, ~is_rice]
        won = ((rice @ wins) * recurrence).sum(axis=1)
        result: NDArray[np.float64] = won / (rice.sum(axis=1) * recurrence.sum(axis=1))
        return result

    return score


def brier(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean squared difference of p_rice and what was the case (Brier 1950); smaller is better."""
    return mean_of((p_rice - is_rice) ** 2, is_rice)


def log_losses(p_rice: Probabilities, is_rice: Truth) -> NDArray[np.float64]:
    """Each subject's negative log-likelihood in nats; probabilities stay off 0 and 1 by float64's epsilon.

    Source: as scikit-learn's `log_loss`.
    """
    epsilon = np.finfo(np.float64).eps
    likelihood = np.where(is_rice, p_rice, 1 - p_rice)
    losses: NDArray[np.float64] = -np.log(np.clip(likelihood, epsilon, 1 - epsilon))
    return losses


def _f1(hits: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    total = 2 * hits + errors
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
