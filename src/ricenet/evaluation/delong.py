"""Variance of the area under the ROC curve, and the test of two areas on the same subjects.

Source: DeLong, DeLong and Clarke-Pearson 1988; two-sided, by the normal distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.scores import Probabilities, Truth, pairs_won


def auc_covariance(
    scores: NDArray[np.float64], is_rice: Truth
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas (K,) of K classifications of the same subjects, and their covariance (K, K).

    scores: (K, N). At least two subjects of each label.
    """
    wins = np.stack([pairs_won(row, is_rice) for row in scores])
    of_rice, of_recurrence = wins.mean(axis=2), wins.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_rice)) / of_rice.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_recurrence)) / of_recurrence.shape[1]
    return wins.mean(axis=(1, 2)), covariance


def delong_estimate(p_rice: Probabilities, is_rice: Truth) -> Estimate:
    """The area with its 95 % interval, kept within 0 and 1."""
    from scipy import stats

    areas, covariance = auc_covariance(p_rice[np.newaxis], is_rice)
    half = float(stats.norm.ppf(0.975)) * math.sqrt(float(covariance[0, 0]))
    value = float(areas[0])
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half), method="delong")


def delong_p_value(a: Probabilities, b: Probabilities, is_rice: Truth) -> float:
    """How probable so large a difference of the two areas is, were they equal.

    1 where the difference has no variance (faultless or constant classifications), of which the test knows
    nothing.
    """
    from scipy import stats

    areas, covariance = auc_covariance(np.stack([a, b]), is_rice)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = float(areas[0] - areas[1])
    if variance <= np.finfo(np.float64).eps:
        return 1.0
    return float(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)))
