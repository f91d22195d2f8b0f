"""Scores of a classification with two labels, for many resamples of its subjects at once.

Each function makes, of probabilities of RICE, a `Statistic` of how often each subject is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import by_label
from ricenet.evaluation.predictions import THRESHOLD

if TYPE_CHECKING:
    from ricenet.evaluation.bootstrap import Counts, Statistic

Probabilities = NDArray[np.float64]
"""p_rice (N,)."""

Truth = NDArray[np.bool_]
"""Whether each subject has RICE (N,)."""


def macro_f1(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean of both labels' F1; one that neither occurs nor is predicted counts 0."""
    right = _right(p_rice, is_rice)

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        true_negative, true_positive = recurrence @ right[0], rice @ right[1]
        negatives, positives = recurrence.sum(axis=1), rice.sum(axis=1)
        errors = negatives - true_negative + positives - true_positive
        return (_f1(true_negative, errors) + _f1(true_positive, errors)) / 2

    return score


def balanced_accuracy(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean of sensitivity and specificity."""
    right = _right(p_rice, is_rice)

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        shares = (recurrence @ right[0] / recurrence.sum(axis=1), rice @ right[1] / rice.sum(axis=1))
        result: NDArray[np.float64] = (shares[0] + shares[1]) / 2
        return result

    return score


def auc(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Area under the ROC curve: how often RICE has the higher p_rice; ties count half."""
    wins = pairs_won(p_rice, is_rice)

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        won = ((rice @ wins) * recurrence).sum(axis=1)
        result: NDArray[np.float64] = won / (rice.sum(axis=1) * recurrence.sum(axis=1))
        return result

    return score


def brier(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean squared difference of p_rice and what was the case (Brier 1950); smaller is better."""
    return mean_of((p_rice - is_rice) ** 2, is_rice)


def mean_of(values: NDArray[np.float64], is_rice: Truth) -> Statistic:
    """The mean of one number a subject."""
    of_recurrence, of_rice = by_label(values, is_rice)

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        total = recurrence @ of_recurrence + rice @ of_rice
        result: NDArray[np.float64] = total / (recurrence.sum(axis=1) + rice.sum(axis=1))
        return result

    return score


def difference(a: Statistic, b: Statistic) -> Statistic:
    """One score minus another, of the same resamples."""
    return lambda recurrence, rice: a(recurrence, rice) - b(recurrence, rice)


def pairs_won(p_rice: Probabilities, is_rice: Truth) -> NDArray[np.float64]:
    """(RICE, recurrence): 1 where the subject with RICE has the higher p_rice, 0.5 for a tie, else 0."""
    of_recurrence, of_rice = by_label(p_rice, is_rice)
    result: NDArray[np.float64] = (np.sign(of_rice[:, np.newaxis] - of_recurrence) + 1) / 2
    return result


def log_losses(p_rice: Probabilities, is_rice: Truth) -> NDArray[np.float64]:
    """Each subject's negative log-likelihood in nats; probabilities stay off 0 and 1 by float64's epsilon.

    Source: as scikit-learn's `log_loss`.
    """
    epsilon = np.finfo(np.float64).eps
    likelihood = np.where(is_rice, p_rice, 1 - p_rice)
    losses: NDArray[np.float64] = -np.log(np.clip(likelihood, epsilon, 1 - epsilon))
    return losses


def _right(p_rice: Probabilities, is_rice: Truth) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    right = ((p_rice >= THRESHOLD) == is_rice).astype(np.float64)
    of_recurrence, of_rice = by_label(right, is_rice)
    return of_recurrence, of_rice


def _f1(hits: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    total = 2 * hits + errors
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
