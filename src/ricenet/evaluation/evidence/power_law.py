"""A score that rises with the number of subjects as a power law: score(n) = a - b n^-c.

Source: Figueroa et al. 2012 (weighted, bounded fit of a classifier's learning curve). Deviation: the exponent
has a prior, since three or four sizes of one cohort hardly tell it; a search over exponents, with a and b
solved for each, fits a thousand resampled curves at once, which an optimiser would take seconds for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.records import Record

Floats = NDArray[np.float64]


class ExponentPrior(NamedTuple):
    """Normal, of the exponent's logarithm."""

    log_mean: float
    log_sd: float


EXPONENT = ExponentPrior(float(np.log(0.7)), 0.6)
"""95 % of it lie between 0.2 and 2.3, about what learning curves have (Viering and Loog 2023)."""

EXPONENTS: Floats = np.geomspace(0.02, 8.0, 121)
"""From which the exponent is chosen: at one end a curve of the logarithm, at the other a step."""


class PowerLaws(NamedTuple):
    """Of B curves: score = asymptote - gap * (n / whole)^-exponent, each (B,).

    gap: what the score at the whole cohort lacks of the asymptote.
    """

    asymptote: Floats
    gap: Floats
    exponent: Floats
    whole: float

    def scores(self, n: float) -> Floats:
        """At n subjects (B,)."""
        return self.asymptote - self.gap * (n / self.whole) ** -self.exponent


class PowerLaw(Record):
    """One of them, as it is kept."""

    asymptote: float
    gap: float
    exponent: float
    whole: int

    @classmethod
    def first(cls, laws: PowerLaws) -> PowerLaw:
        """Of several curves the first one's."""
        a, b, c = (float(values[0]) for values in laws[:3])
        return cls(asymptote=a, gap=b, exponent=c, whole=round(laws.whole))

    def score(self, n: float) -> float:
        """At n subjects."""
        return float(self.asymptote - self.gap * (n / self.whole) ** -self.exponent)


def fit_power_laws(
    sizes: Floats, scores: Floats, sds: Floats, log_exponents: Floats, log_sd: float
) -> PowerLaws:
    """The most probable law of each curve, with 0 <= asymptote <= 1 and gap >= 0.

    sizes: rising numbers of subjects (P,), the last of them the whole cohort. scores: (B, P), none below 0.
    sds: by which they scatter (P,). log_exponents (B,), log_sd: the exponents' prior.
    """
    powers = (sizes / sizes[-1])[np.newaxis] ** -EXPONENTS[:, np.newaxis]
    weights = sds**-2.0
    solved = [_solve(power, scores, weights) for power in powers]
    prior = ((np.log(EXPONENTS)[:, np.newaxis] - log_exponents) / log_sd) ** 2
    best = np.argmin(np.array([loss for _, _, loss in solved]) + prior, axis=0)
    rows = np.arange(len(scores))
    asymptote, gap = (np.array([s[i] for s in solved])[best, rows] for i in (0, 1))
    return PowerLaws(asymptote, gap, EXPONENTS[best], float(sizes[-1]))


def _solve(power: Floats, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Asymptote, gap and weighted sum of squares (B,) at one exponent; power: (n / whole)^-exponent (P,)."""
    share = weights / weights.sum()
    mean = scores @ share
    centred = power - power @ share
    gap = -(scores @ (share * centred)) / (share @ centred**2)
    free = (mean + gap * (power @ share), gap)
    flat = (np.clip(mean, 0, 1), np.zeros_like(mean))
    perfect = (np.ones_like(mean), np.maximum(0, (1 - scores) @ (share * power) / (share @ power**2)))
    # the problem is convex: where the free solution is out of bounds, the best one lies on a bound
    inside = (free[0] >= 0) & (free[0] <= 1) & (free[1] >= 0)
    loss = [
        ((a[:, np.newaxis] - b[:, np.newaxis] * power - scores) ** 2) @ weights
        for a, b in (free, flat, perfect)
    ]
    chosen = np.where(inside, 0, 1 + np.argmin(loss[1:], axis=0))
    rows = np.arange(len(scores))
    a, b, losses = (
        np.array(of)[chosen, rows]
        for of in ([free[0], flat[0], perfect[0]], [free[1], flat[1], perfect[1]], loss)
    )
    return a, b, losses
