"""Are probabilities those with which the labels come? Calibration intercept and slope, and one test.

The logit of the true probability is taken as intercept + slope * logit(p_rice) (Cox 1958): a slope below 1
means answers that are too sure, an intercept above 0 too few RICE foretold. Source: Van Calster et al. 2019
(intercept with the slope held at 1; both together are "weak calibration").

With some dozens of subjects neither asymptotic intervals nor the expected calibration error can be trusted:
the latter is far above 0 by chance alone, and so is its bootstrap interval. So all of this is exact:

- the test: labels drawn from p_rice itself are the null hypothesis, which is simulated (Dwass 1957); the
  statistic is the score test's of intercept 0 and slope 1 (Cox and Hinkley 1974, 9.3);
- the intervals: both are canonical parameters of an exponential family. That of the intercept follows from
  the number with RICE, a sum of unequal coins; that of the slope from the sum of the logits with RICE, given
  that number (Cox 1970, exact conditional inference), logits being rounded to a grid so that sums can be
  counted. Ends as Clopper and Pearson's, so each covers 95 % at least.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.swap_tests import LEVEL, p_said
from ricenet.evaluation.intervals import LEVEL as COVERAGE
from ricenet.evaluation.intervals import Estimate, Probabilities, Truth
from ricenet.runtime.randomness import generator_for
from ricenet.runtime.records import Record

_GRID = 8_000
"""Steps of the sum of all logits."""

_AT_ONCE = 1_000
_ROUNDING = 1e-9


class WeakCalibration(Record):
    """Calibration intercept (slope 1) and slope with exact 95 % intervals, and p of the test against perfect
    calibration, intercept 0 and slope 1. slope: None where every probability is the same.
    """

    intercept: Estimate
    slope: Estimate | None
    p: float

    @property
    def is_off(self) -> bool:
        """Whether the probabilities are shown not to be those of the labels."""
        return self.p <= LEVEL

    @property
    def sentence(self) -> str:
        """What the test says, with slope and intercept; begins with a verb."""
        slope = "none, all being equal" if self.slope is None else self.slope.text()
        found = (
            f"calibration slope {slope}, 1 being perfect; intercept {self.intercept.text(signed=True)}, "
            "0 being perfect"
        )
        if not self.is_off:
            return f"are not shown to be miscalibrated ({p_said(self.p)}): {found}"
        return f"are miscalibrated ({p_said(self.p)}){''.join(f', {way}' for way in self._ways)}: {found}"

    @property
    def _ways(self) -> Iterator[str]:
        """In which ways they are off, as far as an interval tells."""
        if self.slope is not None and self.slope.high < 1:
            yield "too sure of themselves"
        if self.slope is not None and self.slope.low > 1:
            yield "less sure than they might be"
        if self.intercept.high < 0:
            yield "foretelling RICE too often"
        if self.intercept.low > 0:
            yield "foretelling RICE too seldom"


def weak_calibration(p_rice: Probabilities, is_rice: Truth, seed: int, draws: int) -> WeakCalibration:
    """Intercept, slope and test of held-out probabilities, of subjects with both labels.

    draws: simulated cohorts; with 9999 of them a p near 0.05 is known to some 0.004.
    """
    logits = logits_of(p_rice)
    return WeakCalibration(
        intercept=intercept(p_rice, is_rice),
        slope=slope(logits, is_rice),
        p=calibration_p_value(p_rice, is_rice, seed, draws),
    )


def logits_of(p_rice: Probabilities) -> Probabilities:
    """Logits of probabilities, which stay off 0 and 1 by float64's epsilon."""
    from scipy.special import logit

    result: Probabilities = logit(_possible(p_rice))
    return result


def _possible(p_rice: Probabilities) -> Probabilities:
    epsilon = np.finfo(np.float64).eps
    result: Probabilities = np.clip(p_rice, epsilon, 1 - epsilon)
    return result


def calibration_p_value(p_rice: Probabilities, is_rice: Truth, seed: int, draws: int) -> float:
    """How probable labels are that fit p_rice as badly as these, were they drawn from it.

    1 / (draws + 1) at least.
    """
    rng = generator_for("calibration", seed)
    observed = float(_misfit(p_rice, is_rice[np.newaxis])[0])
    worse = 0
    for start in range(0, draws, _AT_ONCE):
        labels = rng.random((min(_AT_ONCE, draws - start), len(p_rice))) < p_rice
        worse += int((_misfit(p_rice, labels) >= observed - _ROUNDING).sum())
    return (worse + 1) / (draws + 1)


def _misfit(p_rice: Probabilities, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The score test's statistic (B,) of intercept 0 and slope 1. labels: (B, N)."""
    logits = logits_of(p_rice)
    design = np.stack([np.ones_like(logits), logits], axis=1)
    variances = _possible(p_rice) * (1 - _possible(p_rice))
    information = (design * variances[:, np.newaxis]).T @ design
    # pinv: equal probabilities have no slope
    scores = (labels - p_rice) @ design
    weighted = scores @ np.linalg.pinv(information, hermitian=True)
    result: NDArray[np.float64] = (weighted * scores).sum(axis=1)
    return result


def intercept(p_rice: Probabilities, is_rice: Truth) -> Estimate:
    """Calibration intercept, the slope being 1, with its exact 95 % interval."""
    from scipy.optimize import brentq
    from scipy.special import expit

    logits, rice = logits_of(p_rice), float(is_rice.sum())
    # where as many have RICE as foretold, no number near it is too improbable for a float
    shift = float(brentq(lambda shift: float(expit(logits + shift).sum()) - rice, -100, 100))
    weights = np.ones(1)
    for p in expit(logits + shift):
        weights = np.convolve(weights, [1 - p, p])
    found = _Family(np.arange(len(weights), dtype=np.float64), weights, rice).estimate(0.0)
    ends = {"value": found.value + shift, "low": found.low + shift, "high": found.high + shift}
    return found.model_copy(update=ends)


def slope(logits: NDArray[np.float64], is_rice: Truth) -> Estimate | None:
    """Calibration slope with its exact 95 % interval; None where all logits are equal."""
    span = float(np.ptp(logits))
    if span < _ROUNDING:
        return None
    # the rarer label is counted; of the other one the sums run the other way
    counted = is_rice if 2 * is_rice.sum() <= len(is_rice) else ~is_rice
    step = span * len(logits) / _GRID
    steps = np.rint((logits - logits.min()) / step).astype(np.int64)
    sums = _counted_sums(steps, int(counted.sum()))
    values = np.arange(len(sums), dtype=np.float64) * np.float64(step)
    turn = 1.0 if counted is is_rice else -1.0
    return _Family(turn * values, sums, turn * float(steps[counted].sum()) * step).estimate(1.0)


def _counted_sums(steps: NDArray[np.int64], chosen: int) -> NDArray[np.float64]:
    """How many choices of so many of the steps (N,) have each sum, as a share of 2^N."""
    largest = int(np.sort(steps)[len(steps) - chosen :].sum())
    ways = np.zeros((chosen + 1, largest + 1))
    ways[0, 0] = 1.0
    for step in steps:
        with_it = np.zeros_like(ways)
        with_it[1:, step:] = ways[:-1, : largest + 1 - step]
        ways = (ways + with_it) / 2
    result: NDArray[np.float64] = ways[chosen]
    return result


class _Family(NamedTuple):
    """A statistic's distribution, probability at x proportional to weight * exp(parameter * x)."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    observed: float

    def estimate(self, otherwise: float) -> Estimate:
        """The parameter, median-unbiased (Hirji, Tsiatis and Mehta 1989), with its interval.

        Ends that no parameter reaches are open. otherwise: the value where only one result is possible.
        """
        tail = (1 - COVERAGE) / 2
        low, high = self._where(tail, above=True), self._where(tail, above=False)
        middle = [x for above in (True, False) if math.isfinite(x := self._where(0.5, above))]
        return Estimate(
            value=float(np.mean(middle)) if middle else otherwise, low=low, high=high, method="exact"
        )

    def _where(self, tail: float, above: bool) -> float:
        """The parameter at which a value as large as the observed one, or as small, has this probability."""
        from scipy.optimize import brentq

        there = self.weights > 0
        values, logs = self.values[there] - self.observed, np.log(self.weights[there])
        inside = values >= -_ROUNDING if above else values <= _ROUNDING
        if inside.all():
            return -math.inf if above else math.inf

        def excess(parameter: float) -> float:
            exponents = logs + parameter * values
            shares = np.exp(exponents - exponents.max())
            return float(shares[inside].sum() / shares.sum()) - tail

        reach = 1.0
        while excess(-reach) * excess(reach) > 0 and reach < 1e6:
            reach *= 2
        return float(brentq(excess, -reach, reach, xtol=1e-9))
