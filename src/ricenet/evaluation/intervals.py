"""A number with its 95 % interval; exact intervals of proportions and of what follows from two of them.

Source: Clopper and Pearson 1934, as scipy computes it.
"""

from __future__ import annotations

import functools
import math
from itertools import product
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer

from ricenet.runtime.records import Record
from ricenet.training.predictions import THRESHOLD

Probabilities = NDArray[np.float64]
"""p_rice (N,)."""

Truth = NDArray[np.bool_]
"""Whether each subject has RICE (N,)."""

LEVEL = 0.95

Method = Literal["bca", "percentile", "exact", "exact bound", "constant", "none"]
"""How an interval was made: bootstrap (BCa or percentile), exact for a proportion, a bound from two exact
proportions where (nearly) every resample is the same, constant where no chance enters; none of a single
subject, which leaves both ends open."""

_OPEN_AS_NULL = PlainSerializer(lambda end: end if math.isfinite(end) else None, when_used="json")
_Low = Annotated[float, BeforeValidator(lambda end: -math.inf if end is None else end), _OPEN_AS_NULL]
_High = Annotated[float, BeforeValidator(lambda end: math.inf if end is None else end), _OPEN_AS_NULL]


Ends = tuple[float, float]
"""Low and high."""


class Estimate(Record):
    """A value with its 95 % interval; an open end is infinite, and null in JSON."""

    value: float
    low: _Low
    high: _High
    method: Method

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """For people.

        >>> Estimate(value=0.7, low=0.55, high=0.83, method="bca").text()
        '0.70 (0.55 to 0.83)'
        """
        sign = "+" if signed else ""
        value, low, high = (f"{number:{sign}.{digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


def constant(value: float) -> Estimate:
    """A value in which chance has no part."""
    return Estimate(value=value, low=value, high=value, method="constant")


@functools.lru_cache(maxsize=2**14)
def proportion(hits: int, n: int, level: float = LEVEL) -> Estimate:
    """A share with its exact interval; 0 of 0 is anything from 0 to 1."""
    # kept: a cohort's rates take few values, and each end is searched for
    from scipy import stats

    if n == 0:
        return Estimate(value=math.nan, low=0, high=1, method="exact")
    interval = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    return Estimate(value=hits / n, low=float(interval.low), high=float(interval.high), method="exact")


def share_of(hits: NDArray[np.bool_], level: float = LEVEL) -> Estimate:
    """The same of subjects, given which of them are hits (N,)."""
    return proportion(int(hits.sum()), len(hits), level)


def macro_f1_of_rates(sensitivity: float, specificity: float, rice: int, recurrence: int) -> float:
    """The macro-F1 at these rates in a cohort with so many subjects of each label."""
    true_positive, true_negative = sensitivity * rice, specificity * recurrence
    errors = rice - true_positive + recurrence - true_negative
    return sum(2 * hits / (2 * hits + errors) if hits else 0.0 for hits in (true_positive, true_negative)) / 2


def exact_bounds(p_rice: Probabilities, is_rice: Truth, level: float = LEVEL) -> dict[str, Ends]:
    """Intervals of macro-F1, balanced accuracy and AUC, by name, that cover their level at least.

    For a classification of which every resample looks the same, such as one without an error. The first two
    follow from exact intervals of both rates, within which the truth lies together at that level at least
    (Bonferroni); the AUC's is that of as many subjects as the rarer label has, with as many mistakes as it
    would take.
    """
    right = (p_rice >= THRESHOLD) == is_rice
    rates = [share_of(right[of_label], (1 + level) / 2) for of_label in (is_rice, ~is_rice)]
    corners = [*product(*((rate.low, rate.high) for rate in rates))]
    rice, recurrence = int(is_rice.sum()), int((~is_rice).sum())
    macro_f1 = [macro_f1_of_rates(found, spared, rice, recurrence) for found, spared in corners]
    balanced = [sum(corner) / 2 for corner in corners]
    rarer = min(rice, recurrence)
    won = float(pairs_won(p_rice, is_rice).mean()) * rarer
    return {
        "macro_f1": (min(macro_f1), max(macro_f1)),
        "balanced_accuracy": (min(balanced), max(balanced)),
        "auc": (
            proportion(math.floor(won), rarer, level).low,
            proportion(math.ceil(won), rarer, level).high,
        ),
    }


def or_bound(found: Estimate, bound: Ends) -> Estimate:
    """The bootstrap's interval of a score; its exact bound where no resample differs."""
    if found.low < found.high:
        return found
    return Estimate(value=found.value, low=bound[0], high=bound[1], method="exact bound")


def difference_or_bound(found: Estimate, a: Ends, b: Ends) -> Estimate:
    """The bootstrap's interval of a difference a - b; where no resample differs, one from both sides' own.

    a, b: intervals of 97.5 % at least, so that their difference's covers 95 % (Bonferroni). A difference that
    is 0 in every resample stays as it is: the two classify alike.
    """
    return found if found.value == 0 else or_bound(found, (a[0] - b[1], a[1] - b[0]))


def pairs_won(p_rice: Probabilities, is_rice: Truth) -> NDArray[np.float64]:
    """(RICE, recurrence): 1 where the subject with RICE has the higher p_rice, 0.5 for a tie, else 0."""
    result: NDArray[np.float64] = (np.sign(p_rice[is_rice][:, np.newaxis] - p_rice[~is_rice]) + 1) / 2
    return result
