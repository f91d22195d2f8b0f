"""Decision curve: is acting on the best set better than treating all, or none, as RICE?

At a threshold probability t somebody who treats a case as RICE from p_rice = t on takes one missed recurrence
to be worth (1 - t) / t cases that are rightly spared. Net benefit: rightly called RICE, less wrongly called
so by those odds, a subject. Probabilities are each fold's recalibrated ones, as the three-way vote reads
them.

Source: Vickers and Elkin 2006; intervals: BCa bootstrap within labels, at the cohort's share of RICE.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Resampling, mean_of
from ricenet.evaluation.evidence.record import DecisionCurve, NetBenefit
from ricenet.evaluation.intervals import Probabilities, Truth

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


def decision_curve(p_rice: Probabilities, is_rice: Truth, seed: int, resamples: int) -> DecisionCurve:
    """Net benefit at every threshold. p_rice: recalibrated, held out (N,); two subjects a label at least."""
    everyone = np.ones(len(is_rice), dtype=np.bool_)
    gains = [
        benefits(p_rice >= t, is_rice, t) - np.maximum(benefits(everyone, is_rice, t).mean(), 0)
        for t in THRESHOLDS
    ]
    found = Resampling.of(is_rice, seed, resamples).estimates([mean_of(gain, is_rice) for gain in gains])
    return DecisionCurve(
        points=tuple(
            NetBenefit(
                threshold=t,
                model=float(benefits(p_rice >= t, is_rice, t).mean()),
                everyone=float(benefits(everyone, is_rice, t).mean()),
                gain=gain,
            )
            for t, gain in zip(THRESHOLDS, found, strict=True)
        )
    )


def benefits(called_rice: NDArray[np.bool_], is_rice: Truth, threshold: float) -> NDArray[np.float64]:
    """Each subject's part (N,): 1 if rightly called RICE, minus the odds if wrongly, else 0.

    >>> benefits(np.array([True, True, False]), np.array([True, False, True]), 0.2).tolist()
    [1.0, -0.25, 0.0]
    """
    odds = threshold / (1 - threshold)
    result: NDArray[np.float64] = np.where(called_rice, np.where(is_rice, 1.0, -odds), 0.0)
    return result
