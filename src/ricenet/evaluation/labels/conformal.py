"""Class-conditional conformal sets of any number of labels (`ricenet.evaluation.evidence.conformal`).

A label is in the set where its probability is at least as high as that of all but a tenth of the held-out
subjects who have it. Sources and deviations as there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.conformal import least_calibration_cases, least_for_coverage
from ricenet.evaluation.intervals import Estimate, share_of
from ricenet.evaluation.labels.held_out import LabelHeldOut, LabelProbabilities
from ricenet.runtime.records import Record


class LabelThresholds(Record):
    """The least probability with which each label is in the set of a new case, by its mean over the folds.

    coverage: share of each label's patients whose set holds it, as aimed at. None: too few held-out subjects.
    """

    coverage: float
    least: dict[str, float | None]

    @property
    def known(self) -> bool:
        """Whether a new case's set is known."""
        return None not in self.least.values()


class LabelConformalSets(Record):
    """Sets of held-out subjects, thresholds of each fold from the others; None: these are unknown.

    cases: held-out subjects by label; needed: of each label at least. covered: by label, share whose set
    holds it. sizes: share of sets with so many labels, from none on. one_right: of those of one label, the
    share of right ones.
    """

    thresholds: LabelThresholds
    cases: dict[str, int]
    needed: int
    covered: dict[str, Estimate] | None = None
    sizes: tuple[Estimate, ...] | None = None
    one_right: Estimate | None = None


def label_thresholds(
    held_out: LabelHeldOut, name: str, inside: NDArray[np.bool_], coverage: float
) -> LabelThresholds:
    """What some held-out subjects say of a new case. inside: who they are (N,). coverage: 0.5 or above."""
    p, truth = held_out.probabilities[name][inside], held_out.truth[inside]
    return LabelThresholds(
        coverage=coverage,
        least={
            label: least_for_coverage(p[truth == k, k], coverage)
            for k, label in enumerate(held_out.label_names)
        },
    )


def sets_of_labels(p: LabelProbabilities, by: LabelThresholds) -> NDArray[np.bool_]:
    """Which labels each set holds (N, K). Raises ValueError: thresholds are not known."""
    if not by.known:
        raise ValueError("no set is known: too few held-out subjects have a label")
    found: NDArray[np.bool_] = p >= np.array([*by.least.values()], dtype=np.float64)
    return found


def set_of_labels(p: NDArray[np.float64], by: LabelThresholds) -> tuple[str, ...] | None:
    """The set of one case (K,); None where too few held-out subjects are known."""
    if not by.known:
        return None
    return tuple(
        label for label, held in zip(by.least, sets_of_labels(p[np.newaxis], by)[0], strict=True) if held
    )


def label_conformal_sets(held_out: LabelHeldOut, name: str, coverage: float) -> LabelConformalSets:
    """The sets of held-out subjects, each by thresholds of the other folds; and thresholds of new cases."""
    p, truth, names = held_out.probabilities[name], held_out.truth, held_out.label_names
    thresholds = label_thresholds(held_out, name, np.ones(len(truth), np.bool_), coverage)
    cases = dict(zip(names, held_out.counts, strict=True))
    needed, holds = least_calibration_cases(coverage), np.zeros(p.shape, dtype=np.bool_)
    for k in np.unique(held_out.fold):
        inside = held_out.fold == k
        by = label_thresholds(held_out, name, ~inside, coverage)
        if not by.known:
            return LabelConformalSets(thresholds=thresholds, cases=cases, needed=needed)
        holds[inside] = sets_of_labels(p[inside], by)
    covered, size = holds[np.arange(len(truth)), truth], holds.sum(axis=1)
    return LabelConformalSets(
        thresholds=thresholds,
        cases=cases,
        needed=needed,
        covered={label: share_of(covered[truth == k]) for k, label in enumerate(names)},
        sizes=tuple(share_of(size == n) for n in range(len(names) + 1)),
        one_right=share_of(covered[size == 1]) if (size == 1).any() else None,
    )
