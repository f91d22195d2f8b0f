"""The three-way vote: rice, recurrence, or indeterminate where the answer is not sure enough.

Source: selective classification by a threshold on the confidence (Chow 1970; Geifman and El-Yaniv 2017). The
threshold is the least with which a target share of wrong answers was kept; no guarantee for new subjects.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.calibration import fold_temperatures, scaled
from ricenet.evaluation.evidence.record import Abstention
from ricenet.evaluation.predictions import THRESHOLD
from ricenet.evaluation.proportions import proportion
from ricenet.evaluation.scores import Probabilities, Truth
from ricenet.training.ensemble import majority_vote
from ricenet.vocabulary import LABELS

ThreeWay = Literal["recurrence", "rice", "indeterminate"]
INDETERMINATE: ThreeWay = "indeterminate"


def confidence(p_rice: Probabilities) -> NDArray[np.float64]:
    """How sure each answer is (N,), from 0.5 to 1."""
    result: NDArray[np.float64] = np.maximum(p_rice, 1 - p_rice)
    return result


def coverage_risk(p_rice: Probabilities, is_rice: Truth) -> tuple[NDArray[np.float64], ...]:
    """Confidence, share answered and error among them, for every confidence that occurs, most sure first."""
    order = np.argsort(-confidence(p_rice), kind="stable")
    sure = confidence(p_rice)[order]
    wrong = ((p_rice >= THRESHOLD) != is_rice)[order]
    # equally sure answers are given together or not at all
    last = np.append(sure[1:] < sure[:-1], True)
    answered = np.arange(1, len(sure) + 1)
    return sure[last], (answered / len(sure))[last], (np.cumsum(wrong) / answered)[last]


def threshold_for(p_rice: Probabilities, is_rice: Truth, target_error: float) -> float | None:
    """The least confidence with which no more than a share of the answers is wrong; None if there is none."""
    sure, _, error = coverage_risk(p_rice, is_rice)
    enough = np.flatnonzero(error <= target_error)
    return float(sure[enough[-1]]) if len(enough) else None


def abstention(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], temperature: float, target_error: float
) -> Abstention:
    """The three-way vote on held-out subjects: temperature and threshold come from the other folds.

    temperature: for new cases, for whom the threshold is set from all held-out subjects.
    """
    temperatures = fold_temperatures(p_rice, is_rice, fold)
    rescaled = scaled(p_rice, np.array([temperatures[int(k)] for k in fold]))
    answered = np.zeros(len(fold), dtype=np.bool_)
    for k, t in temperatures.items():
        others = fold != k
        threshold = threshold_for(scaled(p_rice[others], t), is_rice[others], target_error)
        if threshold is not None:
            answered |= ~others & (confidence(rescaled) >= threshold)
    wrong = int((((p_rice >= THRESHOLD) != is_rice) & answered).sum())
    _, shares, errors = coverage_risk(rescaled, is_rice)
    return Abstention(
        target_error=target_error,
        threshold=threshold_for(scaled(p_rice, temperature), is_rice, target_error),
        coverage=proportion(int(answered.sum()), len(answered)),
        error=proportion(wrong, int(answered.sum())) if answered.any() else None,
        curve=tuple((float(share), float(error)) for share, error in zip(shares, errors, strict=True)),
    )


def three_way_vote(
    p_rice_folds: NDArray[np.float64], temperature: float, threshold: float | None
) -> list[ThreeWay]:
    """The ensemble's answer for each subject. p_rice_folds: (N, folds).

    It is the majority vote's, where the mean of the folds' scaled probabilities agrees and is sure enough.
    """
    mean = scaled(p_rice_folds, temperature).mean(axis=1)
    is_rice = majority_vote(p_rice_folds)
    sure = confidence(mean) >= (np.inf if threshold is None else threshold)
    agrees = (mean >= THRESHOLD) == is_rice
    return [
        LABELS[int(says_rice)] if answered else INDETERMINATE
        for says_rice, answered in zip(is_rice, sure & agrees, strict=True)
    ]
