"""The recalibration that makes p_rice mean what it says, and reliability curves.

Whether p_rice means what it says as it is: `ricenet.evaluation.evidence.weak_calibration`.

Source: temperature scaling, Guo et al. 2017; Platt 1999. Deviations: both are shrunk towards no change by a
prior, since a few subjects fit any slope; reliability bins hold equally many subjects, since a cohort is
small; a fold's recalibration, and the choice between temperature and Platt scaling, come from the held-out
predictions of its own training subjects, so that its judges' labels have no part in it, nor do memorised
subjects. (The networks of the other folds did train on the judges.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.calibration_record import Bin, Calibration, Recalibration
from ricenet.evaluation.evidence.weak_calibration import logits_of, weak_calibration
from ricenet.evaluation.intervals import Probabilities, Truth, share_of
from ricenet.evaluation.scores import log_losses

SUBJECTS_PER_BIN, MOST_BINS = 8, 10
Method = Literal["temperature", "Platt"]
METHODS: tuple[Method, ...] = ("temperature", "Platt")

LOG_TEMPERATURES = (-3.0, 3.0)
"""Natural logarithm of the least and the largest temperature that is tried."""

LOG_TEMPERATURE_SD = 0.35
"""Of the prior of the temperature's logarithm around 0, in nats: a temperature from 1/2 to 2, as a rule.

Set by what it costs calibrated probabilities and gives others (benchmarks/statistics_level.py), not by any
cohort's labels.
"""

SLOPE_SD, INTERCEPT_SD = 0.3, 0.3
"""Of the normal priors of Platt's slope around 1 and intercept around 0, set likewise."""

SLOPES, INTERCEPTS = (0.0, 20.0), (-20.0, 20.0)
"""Bounds of Platt scaling: finite where subjects are separable, and never an inverted answer."""


def scaled(p_rice: Probabilities, temperature: NDArray[np.float64] | float) -> Probabilities:
    """Probabilities with their logits divided by a temperature: above 1, less sure.

    >>> float(scaled(np.array([0.9]), 2.0)[0])
    0.75
    """
    from scipy.special import expit

    result: Probabilities = expit(logits_of(p_rice) / temperature)
    return result


def recalibrated(p_rice: Probabilities, by: Recalibration) -> Probabilities:
    """Probabilities of any shape, recalibrated.

    >>> map = Recalibration(method="Platt", slope=0.0, intercept=0.0)
    >>> float(recalibrated(np.array([0.9]), map)[0])
    0.5
    """
    from scipy.special import expit

    result: Probabilities = expit(by.slope * logits_of(p_rice) + by.intercept)
    return result


def fit_temperature(p_rice: Probabilities, is_rice: Truth) -> float:
    """The most probable temperature by these subjects' labels and the prior, from 1/20 to 20."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: (
            float(log_losses(scaled(p_rice, float(np.exp(log))), is_rice).sum())
            + float((log / LOG_TEMPERATURE_SD) ** 2) / 2
        ),
        bounds=LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def fit_platt(p_rice: Probabilities, is_rice: Truth) -> tuple[float, float]:
    """The most probable slope, 0 or above, and intercept by these subjects' labels and the priors.

    Source: Platt 1999. Deviations: labels as they are, not smoothed, but priors; bounds.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    logits, middle = logits_of(p_rice), np.array([1.0, 0.0])
    precision = np.array([SLOPE_SD, INTERCEPT_SD]) ** -2.0

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        answers = x[0] * logits + x[1]
        excess, off = expit(answers) - is_rice, x - middle
        loss = np.logaddexp(0, np.where(is_rice, -answers, answers)).sum() + precision @ off**2 / 2
        return float(loss), np.array([excess @ logits, excess.sum()]) + precision * off

    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    bounds = (SLOPES, INTERCEPTS)
    found = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    slope, intercept = map(float, found.x)
    # where p_rice has no part in the answer, it is the share of RICE; rule of succession (Laplace)
    return slope, intercept if slope > 0 else float(np.log((is_rice.sum() + 1) / ((~is_rice).sum() + 1)))


def fit_recalibration(p_rice: Probabilities, is_rice: Truth, method: Method) -> Recalibration:
    """Temperature or Platt scaling of these subjects."""
    if method == "temperature":
        slope, intercept = 1 / fit_temperature(p_rice, is_rice), 0.0
    else:
        slope, intercept = fit_platt(p_rice, is_rice)
    return Recalibration(method=method, slope=slope, intercept=intercept)


def cross_fitted(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], method: Method
) -> Probabilities:
    """Every fold's probabilities (N,), recalibrated by what was fitted to all other folds."""
    found = np.empty(len(p_rice))
    for k in np.unique(fold):
        inside = fold == k
        found[inside] = recalibrated(
            p_rice[inside], fit_recalibration(p_rice[~inside], is_rice[~inside], method)
        )
    return found


def recalibration(p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64]) -> Recalibration:
    """The method with the lower cross-fitted log-loss over these folds, fitted to all of these subjects.

    Temperature scaling, which has one parameter less, where they are equal or there is one fold alone.
    """
    if len(np.unique(fold)) < 2:
        return fit_recalibration(p_rice, is_rice, "temperature")
    # the first of equal ones
    best = min(METHODS, key=lambda method: _cross_fitted_loss(p_rice, is_rice, fold, method))
    return fit_recalibration(p_rice, is_rice, best)


def fold_recalibrations(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64]
) -> dict[int, Recalibration]:
    """Each fold's recalibration: method and parameters come from all other folds' subjects."""
    folds = [(int(k), fold != k) for k in np.unique(fold)]
    return {k: recalibration(p_rice[others], is_rice[others], fold[others]) for k, others in folds}


def calibration(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], seed: int, draws: int
) -> Calibration:
    """Calibration of held-out probabilities as given, and as their fold's recalibration makes them.

    draws: cohorts simulated for the test against perfect calibration.
    """
    by_fold = fold_recalibrations(p_rice, is_rice, fold)
    rescaled = recalibrated_by_fold(p_rice, fold, by_fold)
    losses = {method: _cross_fitted_loss(p_rice, is_rice, fold, method) for method in METHODS}
    return Calibration(
        weak=weak_calibration(p_rice, is_rice, seed, draws),
        log_loss=float(log_losses(p_rice, is_rice).mean()),
        scaled_log_loss=float(log_losses(rescaled, is_rice).mean()),
        temperature_log_loss=losses["temperature"],
        platt_log_loss=losses["Platt"],
        recalibration=recalibration(p_rice, is_rice, fold),
        recalibrations=tuple(by_fold.values()),
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


def recalibrated_by_fold(
    p_rice: Probabilities, fold: NDArray[np.int64], by_fold: Mapping[int, Recalibration]
) -> Probabilities:
    """Held-out probabilities (N,) as the recalibration of each fold makes them."""
    found = np.empty(len(p_rice))
    for k, by in by_fold.items():
        found[fold == k] = recalibrated(p_rice[fold == k], by)
    return found


def _cross_fitted_loss(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], method: Method
) -> float:
    return float(log_losses(cross_fitted(p_rice, is_rice, fold, method), is_rice).mean())
