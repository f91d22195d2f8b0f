"""The Laplace approximation of a Bayesian logistic regression, in its dual form (N x N).

Source: Rasmussen and Williams 2006, algorithms 3.1 and 5.1. Features may outnumber subjects by far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BIAS_VARIANCE = 100.0
"""Of the bias's prior: broad, for logits."""

_TOLERANCE, _NEWTON_STEPS = 1e-9, 100


@dataclass(frozen=True)
class Laplace:
    """The Laplace approximation at given variances of the groups' logits.

    slope: (N,) gradient of the log-likelihood at the mode, of which the logits are kernel @ slope.
    root: (N, N), root' root = (W^-1 + kernel)^-1. gradient: (G,) of the log evidence by log variance.
    """

    slope: Floats
    root: Floats
    log_evidence: float
    gradient: Floats

    @classmethod
    def of(cls, kernels: Sequence[Floats], variances: Floats, y: Floats) -> Laplace:
        """kernels: (N, N) of each group, of features that share a variance of 1. y: (N,) of 0 and 1."""
        from scipy.linalg import solve_triangular
        from scipy.special import expit

        parts = [v * kernel for v, kernel in zip(variances, kernels, strict=True)]
        kernel = sum(parts, start=np.full((len(y), len(y)), BIAS_VARIANCE))
        slope, evidence = _mode(kernel, y)
        p = expit(kernel @ slope)
        w = np.sqrt(p * (1 - p))
        lower = np.linalg.cholesky(np.eye(len(y)) + w[:, None] * kernel * w)
        root = solve_triangular(lower, np.diag(w), lower=True)
        inverse = root.T @ root
        posterior = np.diag(kernel) - ((root @ kernel) ** 2).sum(axis=0)
        # the mode moves with the variances, and the curvature with the mode
        by_mode = -0.5 * posterior * w**2 * (1 - 2 * p)
        moved = by_mode - inverse @ (kernel @ by_mode)
        gradient = [
            0.5 * slope @ part @ slope - 0.5 * (inverse * part).sum() + moved @ (part @ slope)
            for part in parts
        ]
        return cls(slope, root, evidence - float(np.log(np.diag(lower)).sum()), np.array(gradient))


def _mode(kernel: Floats, y: Floats) -> tuple[Floats, float]:
    """Slope and log joint density at the mode, by Newton's method with halved steps; it is concave."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.special import expit

    def density(slope: Floats, logits: Floats) -> float:
        return float(-0.5 * slope @ logits - np.logaddexp(0, (1 - 2 * y) * logits).sum())

    slope = logits = np.zeros(len(y))
    value = density(slope, logits)
    for _ in range(_NEWTON_STEPS):
        p = expit(logits)
        w = np.sqrt(p * (1 - p))
        target = w**2 * logits + y - p
        factor = cho_factor(np.eye(len(y)) + w[:, None] * kernel * w, lower=True)
        step = target - w * cho_solve(factor, w * (kernel @ target)) - slope
        size = 1.0
        while (new := density(slope + size * step, kernel @ (slope + size * step))) < value and size > 1e-6:
            size /= 2
        slope = slope + size * step
        logits, gained, value = kernel @ slope, new - value, new
        if abs(gained) < _TOLERANCE and np.abs(y - expit(logits) - slope).max() < 1e-6:
            break
    return slope, value
