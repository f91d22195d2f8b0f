"""Intervals by the bootstrap: subjects are drawn within each label, so that a cohort keeps its share of RICE.

Source: Efron and Tibshirani 1993, chapter 14 (BCa); resampling, acceleration and quantiles are scipy's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.intervals import Estimate, Truth
from ricenet.runtime.randomness import generator_for

RESAMPLES = 9_999

Counts = NDArray[np.float64]
"""(B, N): how often a resample holds each subject."""

Statistic = Callable[[Counts], NDArray[np.float64]]
"""A score (B,) of B resamples."""

_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Resampling:
    """How an interval is drawn; equal strata and seeds draw the same subjects, so differences are paired.

    strata: positions of the subjects that are drawn among each other.
    """

    strata: tuple[NDArray[np.int64], ...]
    seed: int
    resamples: int

    @classmethod
    def of(cls, is_rice: Truth, seed: int, resamples: int) -> Self:
        """Subjects with recurrence and subjects with RICE, each among themselves."""
        return cls((np.flatnonzero(~is_rice), np.flatnonzero(is_rice)), seed, resamples)

    def estimates(self, statistics: Sequence[Statistic]) -> list[Estimate]:
        """The score of the given subjects, each with its 95 % BCa interval.

        Where BCa is not defined, percentiles (method "percentile"); where every resample gives the same
        score, low and high are that score.
        """
        from scipy import stats

        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # reported by the method of the result instead
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap(
                self.strata,
                lambda *drawn, axis: self._scores(statistics, drawn),
                n_resamples=self.resamples,
                batch=_AT_ONCE,
                vectorized=True,
                method="BCa",
                rng=generator_for("bootstrap", self.seed),
            )
        scores: NDArray[np.float64] = found.bootstrap_distribution
        values = [score_of(statistic, self._subjects) for statistic in statistics]
        intervals = zip(values, *found.confidence_interval, scores, strict=True)
        return [_estimate(value, float(low), float(high), row) for value, low, high, row in intervals]

    @property
    def _subjects(self) -> int:
        return sum(map(len, self.strata))

    def _scores(
        self, statistics: Sequence[Statistic], drawn: Sequence[NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        rows = [np.atleast_2d(positions) for positions in drawn]
        # for the jackknife, scipy excludes one subject of one stratum at a time, and gives the others once
        resamples = max(map(len, rows))
        whole = np.hstack([np.broadcast_to(r, (resamples, r.shape[1])) for r in rows])
        counts = _counts(whole, self._subjects)
        scores = np.stack([statistic(counts) for statistic in statistics])
        return scores if any(positions.ndim > 1 for positions in drawn) else scores[:, 0]


def score_of(statistic: Statistic, subjects: int) -> float:
    """The score of the given subjects themselves, each drawn once."""
    return float(statistic(np.ones((1, subjects)))[0])


def mean_over_subjects(
    values: Sequence[float] | NDArray[np.float64], seed: int, resamples: int = RESAMPLES
) -> Estimate | None:
    """Mean of one number a subject; None of nobody, and with open ends of a single subject."""
    column = np.asarray(values, dtype=np.float64)
    if len(column) < 2:
        return Estimate(value=column[0], low=-math.inf, high=math.inf, method="none") if len(column) else None
    return Resampling((np.arange(len(column)),), seed, resamples).estimates(
        [mean_of(column, np.zeros(len(column), dtype=np.bool_))]
    )[0]


def mean_of(values: NDArray[np.float64], is_rice: Truth) -> Statistic:
    """The mean of one number a subject (N,)."""
    return lambda counts: total(counts, values, is_rice) / counts.sum(axis=1)


def total(counts: Counts, values: NDArray[np.float64], is_rice: Truth) -> NDArray[np.float64]:
    """Sums (B,) or (B, K) of values (N,) or (N, K), label by label, as strata are drawn."""
    found: NDArray[np.float64] = counts[:, ~is_rice] @ values[~is_rice] + counts[:, is_rice] @ values[is_rice]
    return found


def difference(a: Statistic, b: Statistic) -> Statistic:
    """One score minus another, of the same resamples."""
    return lambda counts: a(counts) - b(counts)


def _estimate(value: float, low: float, high: float, resampled: NDArray[np.float64]) -> Estimate:
    if math.isfinite(low) and math.isfinite(high):
        return Estimate(value=value, low=low, high=high, method="bca")
    low, high = map(float, np.quantile(resampled, [0.025, 0.975]))
    return Estimate(value=value, low=low, high=high, method="percentile")


def _counts(drawn: NDArray[np.int64], subjects: int) -> Counts:
    """How often each row (B, draws) of positions holds each subject."""
    rows = np.arange(len(drawn))[:, np.newaxis] * subjects
    flat = np.bincount((drawn + rows).ravel(), minlength=len(drawn) * subjects)
    return flat.reshape(len(drawn), subjects).astype(np.float64)
