"""The recalibration that makes K probabilities mean what they say, and reliability curves label by label.

Source: temperature scaling, Guo et al. 2017; bias-corrected temperature scaling, Alexandari, Kundaje and
Shrikumar 2020: one slope of all log-probabilities, as a temperature, and an offset for each label. With two
labels this is Platt scaling. Deviations: as of `ricenet.evaluation.evidence.calibration`, whose priors these
are (with two labels, exactly): shrunk towards no change, equally many subjects a bin, parameters of a fold
from the other folds. The slope is 0 or above, so that no answer is turned round; where it is 0, every answer
is the labels' shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ricenet.evaluation.evidence.calibration import (
    INTERCEPT_SD,
    LOG_TEMPERATURE_SD,
    LOG_TEMPERATURES,
    SLOPE_SD,
    SLOPES,
    bin_of,
)
from ricenet.evaluation.evidence.weak_calibration import WeakCalibration, weak_calibration
from ricenet.evaluation.intervals import Estimate, share_of
from ricenet.evaluation.labels.held_out import Classes, LabelHeldOut, LabelProbabilities
from ricenet.evaluation.labels.scores import log_losses, one_hot
from ricenet.runtime.records import Record

LabelMethod = Literal["temperature", "bias-corrected temperature"]
LABEL_METHODS: tuple[LabelMethod, ...] = ("temperature", "bias-corrected temperature")

OFFSETS = (-20.0, 20.0)
"""Bounds: finite where labels are separable."""


class LabelRecalibration(Record):
    """Probabilities become softmax(slope * log(p) + offsets). offsets: by label, 0 of temperature scaling."""

    method: LabelMethod
    slope: float = Field(ge=0)
    offsets: dict[str, float]

    @property
    def says_the_share(self) -> bool:
        """Whether the probabilities have no part in the answer."""
        return self.slope == 0

    @property
    def text(self) -> str:
        """Method and parameters."""
        if self.says_the_share:
            return "the labels' shares for everyone (slope 0)"
        if self.method == "temperature":
            return f"temperature {1 / self.slope:.2f}"
        offsets = ", ".join(f"{label} {offset:+.2f}" for label, offset in self.offsets.items())
        return f"temperature {1 / self.slope:.2f}, offsets {offsets}"


class LabelBin(Record):
    """One bin of a label's reliability curve. share: of subjects with the label."""

    n: int
    mean_p: float
    share: Estimate


class LabelCalibration(Record):
    """Whether probabilities mean what they say.

    weak: of each label against the rest, as given. recalibration: for new cases; recalibrations: of each
    fold, from the other folds' subjects. *_log_loss: of held-out subjects, by parameters from the other
    folds; the lower one decides the method. bins: by label.
    """

    weak: dict[str, WeakCalibration]
    log_loss: float
    scaled_log_loss: float
    temperature_log_loss: float
    corrected_log_loss: float
    recalibration: LabelRecalibration
    recalibrations: tuple[LabelRecalibration, ...]
    bins: dict[str, tuple[LabelBin, ...]]
    scaled_bins: dict[str, tuple[LabelBin, ...]]

    def by_fold(self, folds: Iterable[int]) -> dict[int, LabelRecalibration]:
        """The recalibration of each fold. folds: those that occur, rising."""
        return dict(zip(folds, self.recalibrations, strict=True))


def recalibrated(p: LabelProbabilities, by: LabelRecalibration) -> LabelProbabilities:
    """Probabilities of any shape with labels last, recalibrated.

    >>> by = LabelRecalibration(method="temperature", slope=0.5, offsets={"a": 0.0, "b": 0.0})
    >>> recalibrated(np.array([0.9, 0.1]), by).round(2).tolist()
    [0.75, 0.25]
    """
    return _scaled(_logs(p), by.slope, np.array([*by.offsets.values()]))


def fit_label_recalibration(held_out: LabelHeldOut, name: str, method: LabelMethod) -> LabelRecalibration:
    """The most probable parameters by these subjects' labels and the priors."""
    logs, truth, names = _logs(held_out.probabilities[name]), held_out.truth, held_out.label_names
    if method == "temperature":
        slope, offsets = 1 / _fit_temperature(logs, truth), np.zeros(len(names))
    else:
        slope, offsets = _fit_corrected(logs, truth)
    if slope == 0:
        # rule of succession (Laplace)
        shares = np.array(held_out.counts) + 1.0
        offsets = np.log(shares / shares.sum())
    return LabelRecalibration(
        method=method, slope=slope, offsets=dict(zip(names, offsets.tolist(), strict=True))
    )


def label_recalibration(held_out: LabelHeldOut, name: str) -> LabelRecalibration:
    """The method with the lower cross-fitted log-loss over these folds, fitted to all of these subjects.

    Temperature scaling, which has fewer parameters, where they are equal or there is one fold alone.
    """
    if len(set(held_out.fold.tolist())) < 2:
        return fit_label_recalibration(held_out, name, "temperature")
    best = min(LABEL_METHODS, key=lambda method: _cross_fitted_loss(held_out, name, method))
    return fit_label_recalibration(held_out, name, best)


def label_calibration(held_out: LabelHeldOut, name: str, seed: int, draws: int) -> LabelCalibration:
    """Calibration of held-out probabilities as given, and as their fold's recalibration makes them.

    draws: cohorts simulated for each label's test against perfect calibration.
    """
    p, truth, names = held_out.probabilities[name], held_out.truth, held_out.label_names
    by_fold = fold_label_recalibrations(held_out, name)
    rescaled = label_recalibrated_by_fold(p, held_out.fold, by_fold)
    losses = {method: _cross_fitted_loss(held_out, name, method) for method in LABEL_METHODS}
    return LabelCalibration(
        weak={label: weak_calibration(p[:, k], truth == k, seed, draws) for k, label in enumerate(names)},
        log_loss=float(log_losses(p, truth).mean()),
        scaled_log_loss=float(log_losses(rescaled, truth).mean()),
        temperature_log_loss=losses["temperature"],
        corrected_log_loss=losses["bias-corrected temperature"],
        recalibration=label_recalibration(held_out, name),
        recalibrations=tuple(by_fold.values()),
        bins={label: label_reliability(p[:, k], truth == k) for k, label in enumerate(names)},
        scaled_bins={label: label_reliability(rescaled[:, k], truth == k) for k, label in enumerate(names)},
    )


def label_reliability(p: NDArray[np.float64], has_it: NDArray[np.bool_]) -> tuple[LabelBin, ...]:
    """A label's reliability curve, with exact intervals of its share in each bin."""
    bins = bin_of(p)
    return tuple(
        LabelBin(n=int(inside.sum()), mean_p=float(p[inside].mean()), share=share_of(has_it[inside]))
        for inside in (bins == b for b in np.unique(bins))
    )


def fold_label_recalibrations(held_out: LabelHeldOut, name: str) -> dict[int, LabelRecalibration]:
    """Each fold's recalibration: method and parameters come from all other folds' subjects."""
    folds = sorted(set(held_out.fold.tolist()))
    return {k: label_recalibration(_without(held_out, name, k), name) for k in folds}


def label_recalibrated_by_fold(
    p: LabelProbabilities, fold: NDArray[np.int64], by_fold: Mapping[int, LabelRecalibration]
) -> LabelProbabilities:
    """Held-out probabilities (N, K) as the recalibration of each fold makes them."""
    found = np.empty_like(p)
    for k, by in by_fold.items():
        found[fold == k] = recalibrated(p[fold == k], by)
    return found


def _without(held_out: LabelHeldOut, name: str, fold: int) -> LabelHeldOut:
    kept = held_out.fold != fold
    return LabelHeldOut(
        tuple(s for s, there in zip(held_out.subjects, kept, strict=True) if there),
        held_out.label_names,
        held_out.truth[kept],
        held_out.fold[kept],
        {name: held_out.probabilities[name][kept]},
    )


def _cross_fitted_loss(held_out: LabelHeldOut, name: str, method: LabelMethod) -> float:
    folds = sorted(set(held_out.fold.tolist()))
    by = {k: fit_label_recalibration(_without(held_out, name, k), name, method) for k in folds}
    rescaled = label_recalibrated_by_fold(held_out.probabilities[name], held_out.fold, by)
    return float(log_losses(rescaled, held_out.truth).mean())


def _logs(p: LabelProbabilities) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.clip(p, np.finfo(np.float64).eps, 1))
    return logs


def _scaled(
    logs: NDArray[np.float64], slope: float, offsets: NDArray[np.float64] | float
) -> LabelProbabilities:
    from scipy.special import softmax

    result: LabelProbabilities = softmax(slope * logs + offsets, axis=-1)
    return result


def _fit_temperature(logs: NDArray[np.float64], truth: Classes) -> float:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: (
            float(log_losses(_scaled(logs, float(np.exp(-log)), 0.0), truth).sum())
            + float((log / LOG_TEMPERATURE_SD) ** 2) / 2
        ),
        bounds=LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def _fit_corrected(logs: NDArray[np.float64], truth: Classes) -> tuple[float, NDArray[np.float64]]:
    """Slope and offsets. The prior of an offset is such that the difference of two has INTERCEPT_SD."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    classes = logs.shape[1]
    hot, middle = one_hot(truth, classes), np.array([1.0, *np.zeros(classes)])
    precision = np.array([SLOPE_SD**-2, *[2 * INTERCEPT_SD**-2] * classes])

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        answers, off = x[0] * logs + x[1:], x - middle
        normal = logsumexp(answers, axis=1)
        excess = np.exp(answers - normal[:, np.newaxis]) - hot
        value = (normal - (answers * hot).sum(axis=1)).sum() + precision @ off**2 / 2
        return float(value), np.array([(excess * logs).sum(), *excess.sum(axis=0)]) + precision * off

    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    bounds = (SLOPES, *[OFFSETS] * classes)
    found = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return float(found.x[0]), found.x[1:]
