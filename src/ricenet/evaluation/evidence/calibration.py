"""Whether p_rice means what it says, the temperature that makes it so, and the three-way vote.

Source: temperature scaling and the expected calibration error of Guo et al. 2017. Deviations: bins hold
equally many subjects, since a cohort is small; a fold's temperature is fitted to the held-out predictions of
its own training subjects, so that its judges' labels have no part in it, nor do memorised subjects. (The
networks of the other folds did train on the judges.)

Abstention: selective classification by a decision threshold on the confidence (Chow 1970; Geifman and
El-Yaniv 2017), the least with which a target share of wrong answers was kept; no guarantee for new subjects.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, total
from ricenet.evaluation.evidence.record import Abstention, Bin, Calibration
from ricenet.evaluation.intervals import Probabilities, Truth, share_of
from ricenet.evaluation.scores import log_losses
from ricenet.training.ensemble import majority_vote
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import LABELS

SUBJECTS_PER_BIN, MOST_BINS = 8, 10
ThreeWay = Literal["recurrence", "rice", "indeterminate"]
INDETERMINATE: ThreeWay = "indeterminate"

LOG_TEMPERATURES = (-3.0, 3.0)
"""Natural logarithm of the least and the largest temperature that is tried."""


def scaled(p_rice: Probabilities, temperature: NDArray[np.float64] | float) -> Probabilities:
    """Probabilities with their logits divided by a temperature: above 1, less sure.

    >>> float(scaled(np.array([0.9]), 2.0)[0])
    0.75
    """
    from scipy.special import expit, logit

    epsilon = np.finfo(np.float64).eps
    result: Probabilities = expit(logit(np.clip(p_rice, epsilon, 1 - epsilon)) / temperature)
    return result


def fit_temperature(p_rice: Probabilities, is_rice: Truth) -> float:
    """The temperature at which these subjects' labels are most likely, from 1/20 to 20."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: float(log_losses(scaled(p_rice, float(np.exp(log))), is_rice).mean()),
        bounds=LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def fold_temperatures(p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64]) -> dict[int, float]:
    """Each fold's temperature, from the held-out predictions of all other folds' subjects."""
    return {int(k): fit_temperature(p_rice[fold != k], is_rice[fold != k]) for k in np.unique(fold)}


def calibration(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], resampling: Resampling
) -> Calibration:
    """Calibration of held-out probabilities as given, and scaled by their fold's temperature."""
    temperatures = fold_temperatures(p_rice, is_rice, fold)
    rescaled = scaled(p_rice, np.array([temperatures[int(k)] for k in fold]))
    given, after = resampling.estimates(
        [calibration_error(p_rice, is_rice), calibration_error(rescaled, is_rice)]
    )
    return Calibration(
        ece=given,
        scaled_ece=after,
        log_loss=float(log_losses(p_rice, is_rice).mean()),
        scaled_log_loss=float(log_losses(rescaled, is_rice).mean()),
        temperature=fit_temperature(p_rice, is_rice),
        temperatures=tuple(temperatures.values()),
        bins=reliability(p_rice, is_rice),
        scaled_bins=reliability(rescaled, is_rice),
    )


def bin_of(p_rice: Probabilities) -> NDArray[np.int64]:
    """The bin of each subject (N,): about equally many in each, and equal probabilities in the same one."""
    bins = max(2, min(MOST_BINS, len(p_rice) // SUBJECTS_PER_BIN))
    edges = np.unique(np.quantile(p_rice, np.arange(1, bins) / bins))
    found: NDArray[np.int64] = np.searchsorted(edges, p_rice, side="left")
    return found


def reliability(p_rice: Probabilities, is_rice: Truth) -> tuple[Bin, ...]:
    """The reliability curve, with exact intervals of the share of RICE in each bin."""
    bins = bin_of(p_rice)
    return tuple(
        Bin(
            n=int(inside.sum()),
            mean_p_rice=float(p_rice[inside].mean()),
            share_rice=share_of(is_rice[inside]),
        )
        for inside in (bins == b for b in np.unique(bins))
    )


def calibration_error(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean distance of p_rice and the share of RICE over the bins (of the given subjects), by their size."""
    bins = bin_of(p_rice)
    excess = np.where(bins[:, np.newaxis] == np.unique(bins), (is_rice - p_rice)[:, np.newaxis], 0.0)

    def score(counts: Counts) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.abs(total(counts, excess, is_rice)).sum(axis=1) / counts.sum(axis=1)
        return result

    return score


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

    temperature: for new cases, whose threshold is set from all held-out subjects.
    """
    temperatures = fold_temperatures(p_rice, is_rice, fold)
    rescaled = scaled(p_rice, np.array([temperatures[int(k)] for k in fold]))
    answered = np.zeros(len(fold), dtype=np.bool_)
    for k, t in temperatures.items():
        others = fold != k
        threshold = threshold_for(scaled(p_rice[others], t), is_rice[others], target_error)
        if threshold is not None:
            answered |= ~others & (confidence(rescaled) >= threshold)
    wrong = (p_rice >= THRESHOLD) != is_rice
    _, shares, errors = coverage_risk(rescaled, is_rice)
    return Abstention(
        target_error=target_error,
        threshold=threshold_for(scaled(p_rice, temperature), is_rice, target_error),
        coverage=share_of(answered),
        error=share_of(wrong[answered]) if answered.any() else None,
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
