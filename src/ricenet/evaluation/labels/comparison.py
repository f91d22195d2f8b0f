"""Two classifications of the same subjects with any number of labels: how they differ, and by chance or not.

As `ricenet.evaluation.evidence.comparison`: the macro-F1 and the mean area (each label against the rest) by
swapping the two answers subject by subject, who is right where only one is by McNemar's test. With two labels
the ways to swap can be counted; with more, which wrong label is said matters too, so they are drawn (Yeh
2000; p by Phipson and Smyth 2010, of equal differences half).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import difference
from ricenet.evaluation.evidence.comparison import (
    TESTS,
    WIDER,
    holm,
    mcnemar_p_value,
    pairs_to_compare,
)
from ricenet.evaluation.evidence.record import Comparison
from ricenet.evaluation.evidence.swap_tests import LEVEL
from ricenet.evaluation.intervals import difference_or_bound, pairs_won
from ricenet.evaluation.labels.held_out import Classes, LabelHeldOut, LabelProbabilities
from ricenet.evaluation.labels.scores import macro_auc, macro_f1, score_bounds
from ricenet.runtime.randomness import generator_for
from ricenet.training.label_predictions import LabelPrediction
from ricenet.vocabulary import LabelNames

_ROUNDING = 1e-9

Swapped = NDArray[np.float64]
"""(B, N): 1 where a draw gives a subject B's answer in place of A's, else 0."""


def compare_label_pairs(
    predictions: Mapping[str, Sequence[LabelPrediction]], label_names: LabelNames, seed: int, resamples: int
) -> tuple[Comparison, ...]:
    """The sets as `pairs_to_compare` has them; p-values are corrected over all of them by Holm's method.

    Each pair on the subjects that both predict; one with fewer than two of a label in common is not compared.
    """
    names = pairs_to_compare(list(predictions))
    joined = [(a, b, LabelHeldOut.of({a: predictions[a], b: predictions[b]}, label_names)) for a, b in names]
    found = [compare_labels(held, a, b, seed, resamples) for a, b, held in joined if held.least >= 2]
    for test in TESTS if found else ():
        corrected = holm([getattr(pair, test) for pair in found])
        found = [p.model_copy(update={f"{test}_holm": c}) for p, c in zip(found, corrected, strict=True)]
    return tuple(found)


def compare_labels(held_out: LabelHeldOut, a: str, b: str, seed: int, resamples: int) -> Comparison:
    """One pair, without any correction; two subjects of each label at least."""
    truth, classes = held_out.truth, len(held_out.label_names)
    p_a, p_b = held_out.probabilities[a], held_out.probabilities[b]
    said_a, said_b = held_out.said(a), held_out.said(b)
    f1, auc = held_out.resampling(seed, resamples).estimates(
        [
            difference(macro_f1(said_a, truth, classes), macro_f1(said_b, truth, classes)),
            difference(macro_auc(p_a, truth), macro_auc(p_b, truth)),
        ]
    )
    bounds_a, bounds_b = (score_bounds(p, truth, WIDER) for p in (p_a, p_b))
    only_a = int(((said_a == truth) & (said_b != truth)).sum())
    only_b = int(((said_b == truth) & (said_a != truth)).sum())
    swaps = drawn_swaps(len(truth), seed, resamples)
    parts = area_parts(p_a, p_b, truth)
    p_values = {
        "p_macro_f1": swapped_label_f1(said_a, said_b, truth, classes, swaps),
        "p_mcnemar": mcnemar_p_value(only_a, only_b),
        "p_auc": p_of_swaps((1 - 2 * swaps) @ parts, float(parts.sum())),
    }
    return Comparison(
        a=a,
        b=b,
        n=len(truth),
        macro_f1=difference_or_bound(f1, bounds_a["macro_f1"], bounds_b["macro_f1"]),
        auc=difference_or_bound(auc, bounds_a["auc"], bounds_b["auc"]),
        only_a_right=only_a,
        only_b_right=only_b,
        macro_f1_can_tell=_can_tell(int((said_a != said_b).sum())),
        auc_can_tell=_can_tell(int((np.abs(parts) > _ROUNDING).sum())),
        **{f"{test}{end}": p for test, p in p_values.items() for end in ("", "_holm")},
    )


def drawn_swaps(subjects: int, seed: int, draws: int) -> Swapped:
    """Swaps of each subject's two answers, each as probable as not."""
    generator = generator_for("swapped labels", seed)
    return generator.integers(0, 2, size=(draws, subjects)).astype(np.float64)


def swapped_label_f1(a: Classes, b: Classes, truth: Classes, classes: int, swaps: Swapped) -> float:
    """p of the difference of two macro-F1s. a, b: what each says (N,)."""

    def scores(kept: Classes, other: Classes, swaps: Swapped) -> NDArray[np.float64]:
        f1 = []
        for k in range(classes):
            true = _swapped((kept == k) & (truth == k), (other == k) & (truth == k), swaps)
            either = _swapped(kept == k, other == k, swaps) + (truth == k).sum()
            f1.append(np.divide(2 * true, either, out=np.zeros_like(true), where=either > 0))
        result: NDArray[np.float64] = np.mean(f1, axis=0)
        return result

    def differences(swaps: Swapped) -> NDArray[np.float64]:
        return scores(a, b, swaps) - scores(b, a, swaps)

    as_given = np.zeros((1, len(truth)))
    return p_of_swaps(differences(swaps), float(differences(as_given)[0]))


def area_parts(a: LabelProbabilities, b: LabelProbabilities, truth: Classes) -> NDArray[np.float64]:
    """What each subject (N,) adds to the difference of the mean areas; its sign turns where it is swapped.

    By the ranks that each classification gives the subjects, as `swapped_ranks` of two labels.
    """
    from scipy.stats import rankdata

    parts, classes = np.zeros(len(truth)), a.shape[1]
    for k in range(classes):
        has_it, ranks = truth == k, [rankdata(p[:, k]) for p in (a, b)]
        won = [
            [pairs_won(np.where(has_it, of_label, of_rest), has_it) for of_rest in ranks]
            for of_label in ranks
        ]
        weight = 2 * classes * has_it.sum() * (~has_it).sum()
        parts[has_it] += (won[0][0] + won[0][1] - won[1][0] - won[1][1]).sum(axis=1) / weight
        parts[~has_it] += (won[0][0] + won[1][0] - won[0][1] - won[1][1]).sum(axis=0) / weight
    return parts


def p_of_swaps(differences: NDArray[np.float64], observed: float) -> float:
    """Two-sided mid-p of drawn differences, the observed one among them."""
    if abs(observed) <= _ROUNDING:
        return 1.0
    beyond = np.abs(differences) - abs(observed)
    equal = np.abs(beyond) <= _ROUNDING
    return float(((beyond > _ROUNDING).sum() + (equal.sum() + 1) / 2) / (len(differences) + 1))


def _swapped(of_a: NDArray[np.bool_], of_b: NDArray[np.bool_], swaps: Swapped) -> NDArray[np.float64]:
    """Sums (B,) of A's answers, with B's where these are swapped."""
    change = of_b.astype(np.float64) - of_a
    result: NDArray[np.float64] = swaps @ change + of_a.sum()
    return result


def _can_tell(differing: int) -> bool:
    """Whether so many subjects with different answers could show a difference, if all fell to one side."""
    return 0.5**differing <= LEVEL
