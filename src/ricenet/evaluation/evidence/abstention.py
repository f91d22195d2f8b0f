"""The three-way vote: rice, recurrence, or no answer where the recalibrated probability is not sure enough.

Source: selective classification by a decision threshold on the confidence (Chow 1970; Geifman and El-Yaniv
2017), the least with which a target share of wrong answers was kept; no guarantee for new subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.calibration import fold_recalibrations, recalibrated, recalibrated_by_fold
from ricenet.evaluation.evidence.calibration_record import Abstention, Recalibration
from ricenet.evaluation.intervals import Probabilities, Truth, share_of
from ricenet.training.ensemble import majority_vote
from ricenet.training.predictions import THRESHOLD
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


def threshold_for_new(
    p_rice: Probabilities, is_rice: Truth, by: Recalibration, target_error: float
) -> float | None:
    """The threshold for new cases, from all held-out subjects; None where no confidence is high enough."""
    return threshold_for(_on_given_side(recalibrated(p_rice, by), p_rice), is_rice, target_error)


def answered(
    p_rice: Probabilities,
    is_rice: Truth,
    fold: NDArray[np.int64],
    by_fold: Mapping[int, Recalibration],
    target_error: float,
) -> NDArray[np.bool_]:
    """Which held-out subjects the three-way vote answers (N,), each by its fold's recalibration and by a
    threshold from the other folds.
    """
    rescaled = recalibrated_by_fold(p_rice, fold, by_fold)
    agrees = (rescaled >= THRESHOLD) == (p_rice >= THRESHOLD)
    found = np.zeros(len(fold), dtype=np.bool_)
    for k, of_fold in by_fold.items():
        others = fold != k
        own_side = _on_given_side(recalibrated(p_rice[others], of_fold), p_rice[others])
        threshold = threshold_for(own_side, is_rice[others], target_error)
        if threshold is not None:
            found |= ~others & agrees & (confidence(rescaled) >= threshold)
    return found


def abstention(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], by: Recalibration, target_error: float
) -> Abstention:
    """The three-way vote on held-out subjects: recalibration and threshold come from the other folds.

    by: for new cases, whose threshold is set from all held-out subjects. Nobody is answered whose
    recalibrated probability lies on the other side than the given one.
    """
    by_fold = fold_recalibrations(p_rice, is_rice, fold)
    rescaled = recalibrated_by_fold(p_rice, fold, by_fold)
    has_answer = answered(p_rice, is_rice, fold, by_fold, target_error)
    wrong = (p_rice >= THRESHOLD) != is_rice
    _, shares, errors = coverage_risk(_on_given_side(rescaled, p_rice), is_rice)
    return Abstention(
        target_error=target_error,
        threshold=threshold_for_new(p_rice, is_rice, by, target_error),
        coverage=share_of(has_answer),
        error=share_of(wrong[has_answer]) if has_answer.any() else None,
        curve=tuple((float(share), float(error)) for share, error in zip(shares, errors, strict=True)),
    )


def three_way_vote(
    p_rice_folds: NDArray[np.float64], by: Recalibration, threshold: float | None
) -> list[ThreeWay]:
    """The ensemble's answer for each subject. p_rice_folds: (N, folds).

    It is the majority vote's, where the mean of the folds' recalibrated probabilities agrees and is sure
    enough.
    """
    mean = recalibrated(p_rice_folds, by).mean(axis=1)
    is_rice = majority_vote(p_rice_folds)
    sure = confidence(mean) >= (np.inf if threshold is None else threshold)
    agrees = (mean >= THRESHOLD) == is_rice
    return [
        LABELS[int(says_rice)] if answered else INDETERMINATE
        for says_rice, answered in zip(is_rice, sure & agrees, strict=True)
    ]


def _on_given_side(rescaled: Probabilities, given: Probabilities) -> Probabilities:
    """The answer stays that of the given probability; one that changed sides is as unsure as can be."""
    below = np.nextafter(THRESHOLD, 0)
    return np.where(given >= THRESHOLD, np.maximum(rescaled, THRESHOLD), np.minimum(rescaled, below))
