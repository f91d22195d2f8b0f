"""Intervals by drawing subjects again, within each label, so that a cohort keeps its share of RICE.

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

from ricenet.evaluation.estimate import Estimate
from ricenet.runtime.randomness import generator_for

Counts = NDArray[np.float64]
"""(B, subjects of one label): how often a resample holds each subject."""

Statistic = Callable[[Counts, Counts], NDArray[np.float64]]
"""A score (B,) of B resamples, from the counts of the subjects with recurrence and of those with RICE."""

_AT_ONCE = 1000


@dataclass(frozen=True)
class Resampling:
    """How an interval is drawn; equal ones draw the same subjects, so that differences are paired.

    subjects: with recurrence, with RICE. seed: of the draws.
    """

    subjects: tuple[int, int]
    seed: int
    resamples: int

    @classmethod
    def of(cls, is_rice: NDArray[np.bool_], seed: int, resamples: int) -> Self:
        """Of some subjects, given which of them have RICE."""
        rice = int(is_rice.sum())
        return cls((len(is_rice) - rice, rice), seed, resamples)

    def estimate(self, statistic: Statistic) -> Estimate:
        """One score; see `estimates`."""
        return self.estimates([statistic])[0]

    def estimates(self, statistics: Sequence[Statistic]) -> list[Estimate]:
        """The score of the given subjects, each with its 95 % BCa interval.

        Where every resample gives the same score, low and high are that score (method "percentile").
        """
        return self.estimates_and_resamples(statistics)[0]

    def estimates_and_resamples(
        self, statistics: Sequence[Statistic]
    ) -> tuple[list[Estimate], NDArray[np.float64]]:
        """The same, and every resample's scores (statistics, resamples)."""
        from scipy import stats

        values = [score_of(statistic, self.subjects) for statistic in statistics]
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # told by the method of the result instead
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap(
                tuple(np.arange(n) for n in self.subjects),
                lambda recurrence, rice, axis: self._scores(statistics, recurrence, rice),
                n_resamples=self.resamples,
                batch=_AT_ONCE,
                vectorized=True,
                method="BCa",
                rng=generator_for("bootstrap", self.seed),
            )
        scores: NDArray[np.float64] = found.bootstrap_distribution
        intervals = zip(values, *found.confidence_interval, scores, strict=True)
        return [_estimate(value, float(low), float(high), row) for value, low, high, row in intervals], scores

    def _scores(
        self, statistics: Sequence[Statistic], recurrence: NDArray[np.int64], rice: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        drawn = [np.atleast_2d(indices) for indices in (recurrence, rice)]
        # scipy leaves one subject out of one label at a time, and gives the other label's once
        rows = max(len(indices) for indices in drawn)
        counts = [_counts(i, n) for i, n in zip(drawn, self.subjects, strict=True)]
        full = [np.broadcast_to(c, (rows, c.shape[1])) for c in counts]
        scores = np.stack([statistic(*full) for statistic in statistics])
        return scores if recurrence.ndim > 1 or rice.ndim > 1 else scores[:, 0]


def score_of(statistic: Statistic, subjects: tuple[int, int]) -> float:
    """The score of the given subjects themselves, so many of each label, each drawn once."""
    recurrence, rice = subjects
    return float(statistic(np.ones((1, recurrence)), np.ones((1, rice)))[0])


def _estimate(value: float, low: float, high: float, resampled: NDArray[np.float64]) -> Estimate:
    if math.isfinite(low) and math.isfinite(high):
        return Estimate(value=value, low=low, high=high, method="bca")
    low, high = map(float, np.quantile(resampled, [0.025, 0.975]))
    return Estimate(value=value, low=low, high=high, method="percentile")


def _counts(drawn: NDArray[np.int64], subjects: int) -> Counts:
    """How often each row (B, draws) of indices holds each subject."""
    rows = np.arange(len(drawn))[:, np.newaxis] * subjects
    flat = np.bincount((drawn + rows).ravel(), minlength=len(drawn) * subjects)
    return flat.reshape(len(drawn), subjects).astype(np.float64)


def by_label(values: NDArray[np.float64], is_rice: NDArray[np.bool_]) -> Sequence[NDArray[np.float64]]:
    """Values of the subjects with recurrence, and of those with RICE, each in their order."""
    return values[~is_rice], values[is_rice]


def mean_over_subjects(values, seed, resamples=9999):  # INTERIM
    from scipy import stats
    column = np.asarray(values, dtype=np.float64)
    if len(column) < 2:
        return Estimate(value=column[0], low=-math.inf, high=math.inf, method="bca") if len(column) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap((column,), np.mean, n_resamples=resamples, method="BCa", rng=generator_for("bootstrap", seed))
    low, high = found.confidence_interval
    if not math.isfinite(low):
        low, high = np.quantile(found.bootstrap_distribution, [0.025, 0.975])
    return Estimate(value=float(column.mean()), low=float(low), high=float(high), method="bca")
