"""Whether p_rice means what it says, and the temperature that makes it so.

Source: temperature scaling and the expected calibration error of Guo et al. 2017. Deviations: bins hold
equally many subjects, since a cohort is small; a fold's temperature is fitted to the held-out predictions of
its own training subjects, so that its judges' labels have no part in it, nor do memorised subjects. (The
networks of the other folds did train on the judges.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, by_label
from ricenet.evaluation.evidence.record import Bin, Calibration
from ricenet.evaluation.proportions import proportion
from ricenet.evaluation.scores import Probabilities, Truth, log_losses

SUBJECTS_PER_BIN, MOST_BINS = 8, 10
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
            share_rice=proportion(int(is_rice[inside].sum()), int(inside.sum())),
        )
        for inside in (bins == b for b in np.unique(bins))
    )


def calibration_error(p_rice: Probabilities, is_rice: Truth) -> Statistic:
    """Mean distance of p_rice and the share of RICE over the bins (of the given subjects), by their size."""
    bins = bin_of(p_rice)
    excess = np.where(bins[:, np.newaxis] == np.unique(bins), (is_rice - p_rice)[:, np.newaxis], 0.0)
    of_recurrence, of_rice = by_label(excess, is_rice)

    def score(recurrence: Counts, rice: Counts) -> NDArray[np.float64]:
        subjects = recurrence.sum(axis=1) + rice.sum(axis=1)
        result: NDArray[np.float64] = (
            np.abs(recurrence @ of_recurrence + rice @ of_rice).sum(axis=1) / subjects
        )
        return result

    return score
