"""A mean over subjects with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ricenet.evaluation.bootstrap import RESAMPLES
from ricenet.runtime.randomness import generator_for


@dataclass(frozen=True)
class Estimate:
    """A mean over n subjects; low, high: its 95 % interval, None for fewer than two subjects."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_over_subjects(values: Sequence[float], seed: int, resamples: int = RESAMPLES) -> Estimate | None:
    """Arithmetic mean; percentile interval over subjects drawn with replacement; None of no values."""
    if not values:
        return None
    column = np.asarray(values, dtype=np.float64)
    low, high = _interval(column, seed, resamples)
    return Estimate(float(column.mean()), low, high, len(column))


def geometric_mean_over_subjects(
    factors: Sequence[float], seed: int, resamples: int = RESAMPLES
) -> Estimate | None:
    """Geometric mean of factors of 0 or more, for which twice and half are equally far from 1.

    A single factor of 0 makes the mean 0; then the interval begins at 0 as well.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(factors, dtype=np.float64))
    found = mean_over_subjects([float(value) for value in logs], seed, resamples)
    if found is None:
        return None
    low, high = (None if end is None else float(np.exp(end)) for end in (found.low, found.high))
    return Estimate(float(np.exp(found.mean)), low, high, found.n)


def _interval(
    column: np.ndarray[tuple[int], np.dtype[np.float64]], seed: int, resamples: int
) -> tuple[float | None, float | None]:
    if len(column) < 2:
        return None, None
    draws = generator_for("bootstrap", seed).integers(0, len(column), size=(resamples, len(column)))
    means = column[draws].mean(axis=1)
    # no interpolation between resamples: -inf of a factor 0 is a value like others
    low, high = np.percentile(means, [2.5, 97.5], method="nearest")
    return float(low), float(high)
