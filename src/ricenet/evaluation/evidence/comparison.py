"""Two classifications of the same subjects: by how much they differ, and whether that can be chance.

Three tests, since each sees another side: bootstrap of the macro-F1's difference (Efron and Tibshirani 1993),
McNemar's exact test of who is right where only one is (McNemar 1947), DeLong's of the areas (DeLong, DeLong
and Clarke-Pearson 1988; two-sided, by the normal distribution). Over several pairs each test's p-values are
corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import (
    LEVEL,
    Estimate,
    Probabilities,
    Truth,
    difference_or_bound,
    exact_bounds,
    pairs_won,
)
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import volumes_and_recipe

WIDER = (1 + LEVEL) / 2
"""Level of both sides' own intervals, so that those of their difference cover LEVEL (Bonferroni)."""

TESTS = ("p_macro_f1", "p_mcnemar", "p_delong")


def pairs_to_compare(modality_sets: Sequence[str]) -> list[tuple[str, str]]:
    """Two sets of one recipe, and one set by two recipes; others differ in both, so nothing follows."""
    named = [(name, *volumes_and_recipe(name)) for name in modality_sets]
    return [
        (a, b)
        for (a, volumes_a, recipe_a), (b, volumes_b, recipe_b) in combinations(named, 2)
        if recipe_a == recipe_b or volumes_a == volumes_b
    ]


def compare_pairs(
    predictions: Mapping[str, Sequence[Prediction]],
    seed: int,
    resamples: int,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> tuple[Comparison, ...]:
    """The sets as `pairs_to_compare` has them, or these pairs, in the order given; p-values are corrected
    over all of them.

    Each pair on the subjects that both predict; one with fewer than two of a label in common is not compared.
    """
    names = pairs_to_compare(list(predictions)) if pairs is None else list(pairs)
    joined = [(a, b, HeldOut.of({a: predictions[a], b: predictions[b]})) for a, b in names]
    found = [compare(held_out, a, b, seed, resamples) for a, b, held_out in joined if held_out.least >= 2]
    for test in TESTS if found else ():
        corrected = holm([getattr(pair, test) for pair in found])
        found = [p.model_copy(update={f"{test}_holm": c}) for p, c in zip(found, corrected, strict=True)]
    return tuple(found)


def compare(held_out: HeldOut, a: str, b: str, seed: int, resamples: int) -> Comparison:
    """One pair, without any correction. Raises ValueError: fewer than two subjects of a label."""
    is_rice, p_a, p_b = held_out.is_rice, held_out.p_rice[a], held_out.p_rice[b]
    statistics = [
        difference(score(p_a, is_rice), score(p_b, is_rice)) for score in (scores.macro_f1, scores.auc)
    ]
    (macro_f1, auc), resampled = held_out.resampling(seed, resamples).estimates_and_resamples(statistics)
    bounds_a, bounds_b = (exact_bounds(p, is_rice, WIDER) for p in (p_a, p_b))
    right_a, right_b = held_out.right(a), held_out.right(b)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_values = (
        bootstrap_p_value(resampled[0]),
        mcnemar_p_value(only_a, only_b),
        delong_p_value(p_a, p_b, is_rice),
    )
    return Comparison(
        a=a,
        b=b,
        n=len(held_out.subjects),
        macro_f1=difference_or_bound(macro_f1, bounds_a["macro_f1"], bounds_b["macro_f1"]),
        auc=difference_or_bound(auc, bounds_a["auc"], bounds_b["auc"]),
        only_a_right=only_a,
        only_b_right=only_b,
        **{f"{test}{end}": p for test, p in zip(TESTS, p_values, strict=True) for end in ("", "_holm")},
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, each in its place."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def mcnemar_p_value(only_a_right: int, only_b_right: int) -> float:
    """How probable so uneven a division is by chance, of the subjects that only one gets right."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(min(1.0, mcnemar([[0, only_a_right], [only_b_right, 0]], exact=True).pvalue))


def bootstrap_p_value(differences: NDArray[np.float64]) -> float:
    """Twice the share of resampled differences on the rarer side of 0, which counts as one more at least.

    Source: Efron and Tibshirani 1993, section 15.4 (achieved significance level from an interval); the added
    one keeps it off 0 (Davison and Hinkley 1997, 4.11).
    """
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def delong_p_value(a: Probabilities, b: Probabilities, is_rice: Truth) -> float:
    """How probable so large a difference of the two areas is, were they equal.

    1 where the difference has no variance (faultless or constant classifications), of which the test knows
    nothing.
    """
    from scipy import stats

    areas, covariance = auc_covariance(np.stack([a, b]), is_rice)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= np.finfo(np.float64).eps:
        return 1.0
    return float(2 * stats.norm.sf(abs(areas[0] - areas[1]) / math.sqrt(variance)))


def delong_estimate(p_rice: Probabilities, is_rice: Truth) -> Estimate:
    """The area with its 95 % interval, kept within 0 and 1."""
    from scipy import stats

    areas, covariance = auc_covariance(p_rice[np.newaxis], is_rice)
    value, half = float(areas[0]), float(stats.norm.ppf(WIDER)) * math.sqrt(float(covariance[0, 0]))
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half), method="delong")


def auc_covariance(
    p_rice: NDArray[np.float64], is_rice: Truth
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas (K,) of K classifications of the same subjects, and their covariance (K, K).

    p_rice: (K, N). At least two subjects of each label.
    """
    wins = np.stack([pairs_won(row, is_rice) for row in p_rice])
    of_rice, of_recurrence = wins.mean(axis=2), wins.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_rice)) / of_rice.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_recurrence)) / of_recurrence.shape[1]
    return wins.mean(axis=(1, 2)), covariance
