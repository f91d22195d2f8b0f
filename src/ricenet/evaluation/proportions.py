"""Exact intervals of proportions, and what follows from two of them.

Source: Clopper and Pearson 1934, as scipy computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.predictions import THRESHOLD

LEVEL = 0.95


def proportion(hits: int, n: int, level: float = LEVEL) -> Estimate:
    """A share with its exact interval (95 % unless told); 0 of 0 is anything from 0 to 1."""
    from scipy import stats

    if n == 0:
        return Estimate(value=float("nan"), low=0, high=1, method="exact")
    interval = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    return Estimate(value=hits / n, low=float(interval.low), high=float(interval.high), method="exact")


def macro_f1_of_rates(sensitivity: float, specificity: float, rice: int, recurrence: int) -> float:
    """The macro-F1 at these rates in a cohort with so many subjects of each label."""
    true_positive, true_negative = sensitivity * rice, specificity * recurrence
    errors = rice - true_positive + recurrence - true_negative
    return sum(2 * hits / (2 * hits + errors) if hits else 0.0 for hits in (true_positive, true_negative)) / 2


@dataclass(frozen=True)
class Rates:
    """How many of each label were right."""

    right_rice: int
    rice: int
    right_recurrence: int
    recurrence: int

    @classmethod
    def of(cls, p_rice: NDArray[np.float64], is_rice: NDArray[np.bool_]) -> Self:
        """Of predictions by the threshold (N,)."""
        right = (p_rice >= THRESHOLD) == is_rice
        return cls(
            *(int(n) for n in (right[is_rice].sum(), is_rice.sum(), right[~is_rice].sum(), (~is_rice).sum()))
        )

    @property
    def sensitivity(self) -> Estimate:
        """Share of the RICE that was found."""
        return proportion(self.right_rice, self.rice)

    @property
    def specificity(self) -> Estimate:
        """Share of the recurrences that were found."""
        return proportion(self.right_recurrence, self.recurrence)

    def bound(self, value: float, balanced: bool = False, level: float = LEVEL) -> Estimate:
        """An interval of the macro-F1 (or balanced accuracy) that covers 95 % at least, with few errors too.

        From exact 97.5 % intervals of both rates, within which the truth lies together with 95 % at least
        (Bonferroni). For a classification without an error, of which every resample looks the same.
        level: another than 95 %.
        """
        level = (1 + level) / 2
        of_rice = proportion(self.right_rice, self.rice, level)
        of_recurrence = proportion(self.right_recurrence, self.recurrence, level)
        corners = [*product((of_rice.low, of_rice.high), (of_recurrence.low, of_recurrence.high))]
        if balanced:
            ends = [(sensitivity + specificity) / 2 for sensitivity, specificity in corners]
        else:
            ends = [macro_f1_of_rates(*corner, self.rice, self.recurrence) for corner in corners]
        return Estimate(value=value, low=min(ends), high=max(ends), method="exact bound")
