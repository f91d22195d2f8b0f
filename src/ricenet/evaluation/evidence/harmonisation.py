"""ComBat: each feature's mean and spread at every site brought to those of all training subjects together.

What a scanner adds is estimated on training subjects alone, without their labels: a fit that sees those who
are judged, or that keeps the labels' difference while it removes the sites', puts the labels into the
features (Nygaard et al. 2016; benchmarks/site_shortcut.py). Whoever comes from a site that training did not
see keeps the features as they are, since nothing is known of that scanner.

Source: Johnson et al. 2007 (empirical Bayes: the sites' shifts and spreads are shrunk towards their mean
over features), Fortin et al. 2018 (of MRI). Deviations: no covariate is kept; missing values are passed
over; of one feature nothing is shrunk, since the priors come from several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_OF_A_SITE = 2
"""Training subjects, without whom a site's spread is not known."""

TOLERANCE, MOST_STEPS = 1e-6, 1000


@dataclass(frozen=True)
class Combat:
    """What was estimated. centre, scale: (F,) of all training subjects. shift, spread: (S, F) of the sites.

    A value x of a site becomes centre + scale * ((x - centre) / scale - shift) / spread.
    """

    sites: tuple[str, ...]
    centre: Floats
    scale: Floats
    shift: Floats
    spread: Floats

    @classmethod
    def fit(cls, values: Floats, sites: Sequence[str | None]) -> Self:
        """values: (N, F) of training subjects, NaN where missing. sites: (N,), None where not known.

        Sites with fewer than two subjects are not fitted. Raises ValueError: no site is left.
        """
        counted = [str(site) for site in sites if site is not None]
        known = tuple(s for s in sorted(set(counted)) if counted.count(s) >= FEWEST_OF_A_SITE)
        if not known:
            raise ValueError(f"expected a site with {FEWEST_OF_A_SITE} subjects, found none")
        rows = [values[np.array([site == name for site in sites])] for name in known]
        given = np.array([(~np.isnan(of_site)).sum(axis=0) for of_site in rows])
        means = np.array([_mean(of_site) for of_site in rows])
        centre = (given * means).sum(axis=0) / np.maximum(given.sum(axis=0), 1)
        squares = np.array(
            [np.nansum((of - mean) ** 2, axis=0) for of, mean in zip(rows, means, strict=True)]
        )
        scale = np.sqrt(squares.sum(axis=0) / np.maximum(given.sum(axis=0), 1))
        scale = np.where(scale > 0, scale, 1.0)
        varies = squares.sum(axis=0) > 0
        standard = [(of_site - centre) / scale for of_site in rows]
        fitted = [
            _shrunk(of_site, varies & (n >= FEWEST_OF_A_SITE))
            for of_site, n in zip(standard, given, strict=True)
        ]
        shift, spread = (np.array(found) for found in zip(*fitted, strict=True))
        return cls(known, centre, scale, shift, spread)

    def apply(self, values: Floats, sites: Sequence[str | None]) -> Floats:
        """The values (N, F) of subjects of fitted sites, harmonised; of others as they are."""
        found = values.copy()
        for i, name in enumerate(self.sites):
            inside = np.array([site == name for site in sites])
            standard = (values[inside] - self.centre) / self.scale
            found[inside] = self.centre + self.scale * (standard - self.shift[i]) / self.spread[i]
        return found


def harmonised(values: Floats, sites: Sequence[str | None], training: NDArray[np.bool_]) -> Floats:
    """All subjects' values (N, F), harmonised by what the training subjects (N,) say of their sites.

    As they are where fewer than two sites have two training subjects.
    """
    own = [site for site, is_own in zip(sites, training, strict=True) if is_own]
    if sum(own.count(site) >= FEWEST_OF_A_SITE for site in set(own) if site is not None) < 2:
        return values
    return Combat.fit(values[training], own).apply(values, sites)


def _mean(values: Floats) -> Floats:
    """Of what is given, by feature; 0 where nothing is."""
    given = (~np.isnan(values)).sum(axis=0)
    mean: Floats = np.nansum(values, axis=0) / np.maximum(given, 1)
    return mean


def _shrunk(standard: Floats, fitted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Shift and spread (F,) of one site's standardised values (n, F), 0 and 1 of features not fitted.

    The posterior mode's fixed point of Johnson et al. 2007, equations 5 and 6.
    """
    shift, spread = np.zeros(standard.shape[1]), np.ones(standard.shape[1])
    if not fitted.any():
        return shift, spread
    z = standard[:, fitted]
    n, mean = (~np.isnan(z)).sum(axis=0), _mean(z)
    variance = np.nansum((z - mean) ** 2, axis=0) / (n - 1)
    if fitted.sum() == 1 or variance.var(ddof=1) == 0:
        shift[fitted], spread[fitted] = mean, np.sqrt(np.where(variance > 0, variance, 1.0))
        return shift, spread
    prior_mean, prior_variance = mean.mean(), mean.var(ddof=1)
    m, s2 = variance.mean(), variance.var(ddof=1)
    a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    gamma, delta = mean, variance
    for _ in range(MOST_STEPS):
        new_gamma = (n * prior_variance * mean + delta * prior_mean) / (n * prior_variance + delta)
        rest = np.nansum((z - new_gamma) ** 2, axis=0)
        new_delta = (b + rest / 2) / (n / 2 + a - 1)
        change = max(np.abs(new_gamma - gamma).max(), np.abs(new_delta - delta).max())
        gamma, delta = new_gamma, new_delta
        if change < TOLERANCE:
            break
    shift[fitted], spread[fitted] = gamma, np.sqrt(delta)
    return shift, spread
