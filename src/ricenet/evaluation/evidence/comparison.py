"""Two classifications of the same subjects: by how much they differ, and whether that can be chance.

Three exact tests, since each sees another side: the macro-F1 and the areas by swapping the two answers
(`ricenet.evaluation.evidence.swap_tests`), who is right where only one is by McNemar's (McNemar 1947). Over
several pairs each test's p-values are corrected by Holm's method (Holm 1979). Bootstrap and DeLong's test are
not used: with some dozens of subjects the one finds too many differences, the other near an area of 1 none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.swap_tests import swapped_macro_f1, swapped_ranks
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import (
    LEVEL,
    difference_or_bound,
    exact_bounds,
)
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import volumes_and_recipe

WIDER = (1 + LEVEL) / 2
"""Level of both sides' own intervals, so that those of their difference cover LEVEL (Bonferroni)."""

TESTS = ("p_macro_f1", "p_mcnemar", "p_auc")


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
    macro_f1, auc = held_out.resampling(seed, resamples).estimates(statistics)
    bounds_a, bounds_b = (exact_bounds(p, is_rice, WIDER) for p in (p_a, p_b))
    right_a, right_b = held_out.right(a), held_out.right(b)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    of_f1, of_ranks = swapped_macro_f1(right_a, right_b, is_rice), swapped_ranks(p_a, p_b, is_rice)
    p_values = (of_f1.p, mcnemar_p_value(only_a, only_b), of_ranks.p)
    return Comparison(
        a=a,
        b=b,
        n=len(held_out.subjects),
        macro_f1=difference_or_bound(macro_f1, bounds_a["macro_f1"], bounds_b["macro_f1"]),
        auc=difference_or_bound(auc, bounds_a["auc"], bounds_b["auc"]),
        only_a_right=only_a,
        only_b_right=only_b,
        macro_f1_can_tell=of_f1.can_tell,
        auc_can_tell=of_ranks.can_tell,
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
