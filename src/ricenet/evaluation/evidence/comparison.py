"""Two classifications of the same subjects: by how much they differ, and whether that can be chance.

Three tests, since each sees another side: bootstrap of the macro-F1's difference (Efron and Tibshirani 1993),
McNemar's exact test of who is right where only one is (McNemar 1947), DeLong's of the areas (DeLong 1988).
Over several pairs each test's p-values are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.delong import delong_p_value
from ricenet.evaluation.estimate import Estimate
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.intervals import bounds_of, difference_or_bound
from ricenet.evaluation.predictions import THRESHOLD


@dataclass(frozen=True)
class _Pair:
    """Two sets before the correction."""

    a: str
    b: str
    macro_f1: Estimate
    auc: Estimate
    only_a_right: int
    only_b_right: int
    p_macro_f1: float
    p_mcnemar: float
    p_delong: float


def compare_pairs(
    held_out: HeldOut, resampling: Resampling, pairs: Sequence[tuple[str, str]] | None = None
) -> tuple[Comparison, ...]:
    """Every two sets, or these pairs, in the order given; p-values are corrected over all of them."""
    names = list(combinations(held_out.p_rice, 2)) if pairs is None else list(pairs)
    if not names:
        return ()
    found = _pairs(held_out, resampling, names)
    tests = ("p_macro_f1", "p_mcnemar", "p_delong")
    corrected = {test: holm([getattr(pair, test) for pair in found]) for test in tests}
    return tuple(
        Comparison(
            n=len(held_out.subjects),
            **vars(pair),
            **{f"{test}_holm": corrected[test][i] for test in tests},
        )
        for i, pair in enumerate(found)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, each in its place."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def mcnemar_p_value(only_a_right: int, only_b_right: int) -> float:
    """How probable so uneven a division of the subjects on whom only one is right is by chance."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(min(1.0, mcnemar([[0, only_a_right], [only_b_right, 0]], exact=True).pvalue))


def bootstrap_p_value(differences: NDArray[np.float64]) -> float:
    """Twice the share of resampled differences on the rarer side of 0, which counts as one more at least.

    Source: Efron and Tibshirani 1993, section 15.4 (achieved significance level from an interval); the added
    one keeps it off 0 (Davison and Hinkley 1997, 4.11).
    """
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def _pairs(held_out: HeldOut, resampling: Resampling, names: Sequence[tuple[str, str]]) -> list[_Pair]:
    is_rice, p_rice = held_out.is_rice, held_out.p_rice
    of_macro_f1 = {name: scores.macro_f1(p_rice[name], is_rice) for pair in names for name in pair}
    of_auc = {name: scores.auc(p_rice[name], is_rice) for name in of_macro_f1}
    differences = [scores.difference(of[a], of[b]) for of in (of_macro_f1, of_auc) for a, b in names]
    estimates, resampled = resampling.estimates_and_resamples(differences)
    bounds = {name: bounds_of(p_rice[name], is_rice) for name in of_macro_f1}
    result = []
    for i, (a, b) in enumerate(names):
        right_a, right_b = ((p_rice[name] >= THRESHOLD) == is_rice for name in (a, b))
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        result.append(
            _Pair(
                a=a,
                b=b,
                macro_f1=difference_or_bound(estimates[i], bounds[a]["macro_f1"], bounds[b]["macro_f1"]),
                auc=difference_or_bound(estimates[len(names) + i], bounds[a]["auc"], bounds[b]["auc"]),
                only_a_right=only_a,
                only_b_right=only_b,
                p_macro_f1=bootstrap_p_value(resampled[i]),
                p_mcnemar=mcnemar_p_value(only_a, only_b),
                p_delong=delong_p_value(p_rice[a], p_rice[b], is_rice),
            )
        )
    return result
