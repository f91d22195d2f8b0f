"""Exact tests of two classifications of the same subjects, by swapping their answers subject by subject.

Were they equally good in every way, it would be chance which of a subject's two answers is A's and which is
B's. Each test takes all 2^N ways to swap them, each as probable as the others, and asks how often the score
differs as much as it does. Of differences as large as the given one it counts half (mid-p): there are so few
possible differences in a small cohort that the test would else hold 2 % instead of 5 %.

Source: permutation within pairs (Good 2005, chapter 3; for macro-F1 Yeh 2000, there by random swaps); areas
by swapped ranks (Bandos, Rockette and Gur 2005, there by random swaps or a normal approximation); mid-p
(Lancaster 1961). Level and power in small cohorts: benchmarks/statistics_level.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.intervals import Probabilities, Truth, pairs_won

LEVEL = 0.05
"""A difference is shown where p is as small as this or smaller."""

_ROUNDING = 1e-9


def p_text(p: float) -> str:
    """A p-value with the digits that matter.

    >>> p_text(0.3512), p_text(0.0312), p_text(0.00001)
    ('0.35', '0.031', '<0.001')
    """
    if p < 0.001:
        return "<0.001"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"


def p_said(p: float) -> str:
    """The same in a sentence.

    >>> p_said(0.0312), p_said(0.00001)
    ('p = 0.031', 'p < 0.001')
    """
    return f"p {p_text(p).replace('<', '< ')}" if p < 0.001 else f"p = {p_text(p)}"


@dataclass(frozen=True)
class SwapTest:
    """p: two-sided mid-p value. least: the least that these answers could give, however they are swapped."""

    p: float
    least: float

    @classmethod
    def of(
        cls, differences: NDArray[np.float64], probabilities: NDArray[np.float64], observed: float
    ) -> Self:
        """From all differences that swapping can give, with their probabilities."""

        def mid_p(size: float) -> float:
            beyond = np.abs(differences) - abs(size)
            as_large = probabilities[np.abs(beyond) <= _ROUNDING].sum()
            return float(probabilities[beyond > _ROUNDING].sum() + as_large / 2)

        if abs(observed) <= _ROUNDING:
            return cls(1.0, mid_p(float(np.abs(differences).max())))
        return cls(mid_p(observed), mid_p(float(np.abs(differences).max())))

    @property
    def can_tell(self) -> bool:
        """Whether any result could have shown a difference."""
        return self.least <= LEVEL


def swapped_macro_f1(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], is_rice: Truth) -> SwapTest:
    """Test of the macro-F1. right_*: which subjects each gets right (N,).

    Only subjects that one alone gets right matter: how many of a label's fall to A is binomial.
    """
    both = [int((right_a & right_b & of).sum()) for of in (is_rice, ~is_rice)]
    alone = [int(((right_a ^ right_b) & of).sum()) for of in (is_rice, ~is_rice)]
    of_a = [int((right_a & ~right_b & of).sum()) for of in (is_rice, ~is_rice)]
    rice, recurrence = int(is_rice.sum()), int((~is_rice).sum())

    def score(found: NDArray[np.int64], spared: NDArray[np.int64]) -> NDArray[np.float64]:
        hits = np.stack(np.broadcast_arrays(both[0] + found, both[1] + spared)).astype(np.float64)
        total = 2 * hits + (rice + recurrence - hits.sum(axis=0))
        f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
        result: NDArray[np.float64] = f1.mean(axis=0)
        return result

    found, spared = np.arange(alone[0] + 1)[:, np.newaxis], np.arange(alone[1] + 1)
    differences = score(found, spared) - score(alone[0] - found, alone[1] - spared)
    probabilities = _binomial(alone[0])[:, np.newaxis] * _binomial(alone[1])
    return SwapTest.of(differences.ravel(), probabilities.ravel(), float(differences[of_a[0], of_a[1]]))


def swapped_ranks(a: Probabilities, b: Probabilities, is_rice: Truth) -> SwapTest:
    """Test of the area under the ROC curve, of the ranks (N,) that each gives the subjects.

    The difference of the areas is a sum of one number a subject, whose sign turns where its ranks are
    swapped; they are whole multiples of a quarter of a pair, so that all sums can be counted.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(p_rice) for p_rice in (a, b)]
    # won[u][v]: pairs whose subject with RICE has the rank of u, and the other subject that of v
    won = [[_pairs(of_rice, of_rest, is_rice) for of_rest in ranks] for of_rice in ranks]
    of_rice = (won[0][0] + won[0][1] - won[1][0] - won[1][1]).sum(axis=1)
    of_rest = (won[0][0] + won[1][0] - won[0][1] - won[1][1]).sum(axis=0)
    steps = np.rint(2 * np.concatenate([of_rice, of_rest])).astype(np.int64)
    sums, probabilities = _signed_sums(np.abs(steps))
    return SwapTest.of(sums.astype(np.float64), probabilities, float(steps.sum()))


def _pairs(of_rice: NDArray[np.float64], of_rest: NDArray[np.float64], is_rice: Truth) -> NDArray[np.float64]:
    return pairs_won(np.where(is_rice, of_rice, of_rest), is_rice)


def _signed_sums(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All sums of these sizes, each with either sign, and how probable each sum is."""
    total = int(sizes.sum())
    probabilities = np.zeros(2 * total + 1)
    probabilities[total] = 1.0
    for size in sizes[sizes > 0]:
        # no sum so far reaches an end, so rolling carries nothing round it
        probabilities = (np.roll(probabilities, size) + np.roll(probabilities, -size)) / 2
    return np.arange(-total, total + 1), probabilities


def _binomial(n: int) -> NDArray[np.float64]:
    from scipy.stats import binom

    result: NDArray[np.float64] = binom.pmf(np.arange(n + 1), n, 0.5)
    return result
