"""How well one property predicts the label, and how probable that would be by chance.

Chance: permutations of the labels among the subjects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.randomness import generator_for

NEARLY = 0.95
"""Balanced accuracy, or AUC, above which a property nearly predicts the label."""

DRAWN_AT_ONCE, ENOUGH_AS_GOOD = 1000, 20


@dataclass(frozen=True)
class Association:
    """How well a property predicts the label: 0.5 to 1. p: that it would do so by chance."""

    score: float
    p: float

    @property
    def is_perfect(self) -> bool:
        """Whether the property leaves no doubt about any subject."""
        return self.score == 1.0


def by_value(values: Sequence[str], is_rice: Sequence[bool], draws: int) -> Association:
    """Of a property without an order: balanced accuracy where each value stands for the label that it has
    more often than the other, as a share of that label's subjects.

    p: exact where every value has one label only; or else of `draws` random permutations.
    """
    inverse = np.unique(np.asarray(values), return_inverse=True)[1]
    sizes = np.bincount(inverse)
    rice = np.bincount(inverse, weights=np.asarray(is_rice, float)).astype(np.int64)
    score = float(_balanced_accuracies(rice[None, :], sizes)[0])
    if score == 1.0:
        return Association(1.0, _p_pure(sizes.tolist(), int(rice.sum())))
    if score <= NEARLY:
        # too low to be reported
        return Association(score, 1.0)
    return Association(score, _p_of_permutations(score, sizes, int(rice.sum()), draws))


def by_threshold(values: Sequence[float], is_rice: Sequence[bool]) -> Association:
    """Of a number: the area under its ROC curve, in whichever direction is above 0.5.

    p: exact where a threshold separates the labels (two of all do so at most); or else by Mann and
    Whitney's test.
    """
    from scipy.stats import mannwhitneyu

    numbers, rice = np.asarray(values, float), np.asarray(is_rice)
    with_rice, without = numbers[rice], numbers[~rice]
    test = mannwhitneyu(with_rice, without)
    area = float(test.statistic) / (len(with_rice) * len(without))
    score = max(area, 1 - area)
    if score == 1.0:
        return Association(1.0, min(1.0, 2 / math.comb(len(numbers), len(with_rice))))
    return Association(score, float(test.pvalue))


def _balanced_accuracies(rice: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.float64]:
    """rice: (permutations, values), subjects with RICE of each value. sizes: (values,), subjects."""
    of_rice = rice.sum(axis=1, keepdims=True)
    right = np.maximum(rice / of_rice, (sizes - rice) / (sizes.sum() - of_rice)).sum(axis=1)
    # every label's shares sum to 1 save for rounding
    accuracies: NDArray[np.float64] = np.where(((rice == 0) | (rice == sizes)).all(axis=1), 1.0, right / 2)
    return accuracies


def _p_pure(sizes: Sequence[int], rice: int) -> float:
    """Share of the permutations in which each value has one label: ways to choose values that hold `rice`
    subjects together.
    """
    ways = [1] + [0] * rice
    for size in sizes:
        for total in range(rice, size - 1, -1):
            ways[total] += ways[total - size]
    return ways[rice] / math.comb(sum(sizes), rice)


def _p_of_permutations(score: float, sizes: NDArray[Any], rice: int, draws: int) -> float:
    """Share of random permutations that score as well, the one at hand among them; stopped once it is large.

    Source: Phipson and Smyth 2010 (one is added); Besag and Clifford 1991 (stopping).
    """
    generator = generator_for("label leakage", draws)
    as_good, drawn = 0, 0
    while drawn < draws and as_good < ENOUGH_AS_GOOD:
        count = min(draws - drawn, DRAWN_AT_ONCE)
        permuted = generator.multivariate_hypergeometric(sizes, rice, size=count, method="marginals")
        # sums of shares differ by rounding
        as_good += int((_balanced_accuracies(permuted, sizes) >= score - 1e-12).sum())
        drawn += count
    return (1 + as_good) / (1 + drawn)
