"""DeLong's interval and test of areas under the ROC curve, as the referee of what is used instead.

Source: DeLong, DeLong and Clarke-Pearson 1988; two-sided, by the normal distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ricenet.evaluation.intervals import Probabilities, Truth, pairs_won


def delong_interval(p_rice: Probabilities, is_rice: Truth) -> tuple[float, float]:
    """The area's 95 % interval, kept within 0 and 1."""
    areas, covariance = auc_covariance(p_rice[np.newaxis], is_rice)
    half = float(stats.norm.ppf(0.975)) * math.sqrt(float(covariance[0, 0]))
    return max(0.0, float(areas[0]) - half), min(1.0, float(areas[0]) + half)


def delong_p_value(a: Probabilities, b: Probabilities, is_rice: Truth) -> float:
    """How probable so large a difference of the two areas is, were they equal; 1 without variance."""
    areas, covariance = auc_covariance(np.stack([a, b]), is_rice)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= np.finfo(np.float64).eps:
        return 1.0
    return float(2 * stats.norm.sf(abs(areas[0] - areas[1]) / math.sqrt(variance)))


def auc_covariance(
    p_rice: NDArray[np.float64], is_rice: Truth
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas (K,) of K classifications of the same subjects, and their covariance (K, K).

    p_rice: (K, N). At least two subjects of each label.
    """
    wins = np.stack([pairs_won(row, is_rice) for row in p_rice])
    of_rice, of_recurrence = wins.mean(axis=2), wins.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_rice)) / of_rice.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_recurrence)) / of_recurrence.shape[1]
    return wins.mean(axis=(1, 2)), covariance
