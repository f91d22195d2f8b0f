"""Class-conditional conformal sets: labels that hold the true one of nine in ten patients of each label.

A label is in the set where its probability is at least as high as that of all but a tenth of the held-out
subjects who have it. A set of one label is an answer, one of both says that the case could be either, an
empty one that it is like neither. Coverage holds for each label by itself, however rare one is.

Source: class-conditional (Mondrian) conformal prediction, Vovk, Gammerman and Shafer 2005, section 4.5;
cross-conformal prediction, Vovk 2015. Deviations: a new case is judged by the mean of the folds'
probabilities, while those of held-out subjects come from one fold each, so that coverage is not guaranteed
for every distribution, and lies above the level as a rule, since a mean errs less; the threshold is
interpolated between neighbouring subjects, since to take the lower one would cover more again
(benchmarks/conformal_coverage.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.calibration_record import ConformalSets, ConformalThresholds
from ricenet.evaluation.intervals import Probabilities, Truth, share_of
from ricenet.vocabulary import LABELS


def least_calibration_cases(coverage: float) -> int:
    """How many held-out subjects of a label a threshold takes at least.

    >>> least_calibration_cases(0.9)
    9
    """
    # 1 / (1 - coverage) as it is meant: 0.9 leaves a tenth, not 0.09999999999999998
    return math.ceil(round(1 / (1 - coverage), 9)) - 1


def conformal_thresholds(p_rice: Probabilities, is_rice: Truth, coverage: float) -> ConformalThresholds:
    """What held-out subjects say of a new case's mean p_rice. coverage: of each label, 0.5 or above."""
    return ConformalThresholds(
        coverage=coverage,
        rice_from=least_for_coverage(p_rice[is_rice], coverage),
        recurrence_to=_highest(p_rice[~is_rice], coverage),
    )


def label_sets(p_rice: Probabilities, by: ConformalThresholds) -> NDArray[np.bool_]:
    """Which labels each set holds (N, 2), in the order of LABELS.

    p_rice: mean over the folds. Raises ValueError: thresholds are not known.
    """
    if by.rice_from is None or by.recurrence_to is None:
        raise ValueError("no set is known: too few held-out subjects have a label")
    found: NDArray[np.bool_] = np.stack([p_rice <= by.recurrence_to, p_rice >= by.rice_from], axis=1)
    return found


def label_set(p_rice: float, by: ConformalThresholds) -> tuple[str, ...] | None:
    """The set of one case; None where too few held-out subjects are known."""
    if not by.known:
        return None
    (holds,) = label_sets(np.array([p_rice]), by)
    return tuple(label for label, held in zip(LABELS, holds, strict=True) if held)


def set_said(labels: Sequence[str], coverage: float) -> str:
    """A set of labels in words."""
    held = " or ".join(labels) or "none, since the case is like neither label"
    return f"{held} (such sets hold the true label of {coverage * 100:g} % of each label's patients)"


def why_no_set(by: ConformalThresholds) -> str:
    """Which labels have too few held-out subjects for a threshold, as a sentence without its full stop."""
    thresholds = {LABELS[0]: by.recurrence_to, LABELS[1]: by.rice_from}
    few = " and ".join(label for label, threshold in thresholds.items() if threshold is None)
    needed = least_calibration_cases(by.coverage)
    return (
        f"fewer than {needed} held-out subjects have {few}, and a set that holds the true label of "
        f"{by.coverage * 100:g} % of each label's patients takes that many of each"
    )


def conformal_sets(
    p_rice: Probabilities, is_rice: Truth, fold: NDArray[np.int64], coverage: float
) -> ConformalSets:
    """The sets of held-out subjects, each by thresholds of the other folds; and thresholds of new cases."""
    thresholds = conformal_thresholds(p_rice, is_rice, coverage)
    of_label = dict(zip(LABELS, (~is_rice, is_rice), strict=True))
    cases = {label: int(subjects.sum()) for label, subjects in of_label.items()}
    needed = least_calibration_cases(coverage)
    holds = np.zeros((len(p_rice), 2), dtype=np.bool_)
    for k in np.unique(fold):
        inside = fold == k
        by = conformal_thresholds(p_rice[~inside], is_rice[~inside], coverage)
        if not by.known:
            return ConformalSets(thresholds=thresholds, cases=cases, needed=needed)
        holds[inside] = label_sets(p_rice[inside], by)
    covered = holds[np.arange(len(is_rice)), is_rice.astype(np.int64)]
    size = holds.sum(axis=1)
    return ConformalSets(
        thresholds=thresholds,
        cases=cases,
        needed=needed,
        covered={label: share_of(covered[subjects]) for label, subjects in of_label.items()},
        one=share_of(size == 1),
        one_right=share_of(covered[size == 1]) if (size == 1).any() else None,
        both=share_of(size == 2),
        neither=share_of(size == 0),
    )


def least_for_coverage(p: Probabilities, coverage: float) -> float | None:
    """The value that a new subject's exceeds with this probability; None where too few are known.

    The distances between n ordered values and beyond are equally probable, 1 / (n + 1) each.
    """
    if len(p) < least_calibration_cases(coverage):
        return None
    rank = round((len(p) + 1) * (1 - coverage), 9) - 1
    return float(np.interp(rank, np.arange(len(p)), np.sort(p)))


def _highest(p: Probabilities, coverage: float) -> float | None:
    least = least_for_coverage(1 - p, coverage)
    return None if least is None else 1 - least
