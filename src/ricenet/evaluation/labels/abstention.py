"""A label or no answer: none where the recalibrated probability of the most probable label is too low.

Source and sense as of `ricenet.evaluation.evidence.abstention`: selective classification by the least
confidence with which a target share of wrong answers was kept among held-out subjects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.abstention import INDETERMINATE
from ricenet.evaluation.evidence.calibration_record import Abstention
from ricenet.evaluation.intervals import share_of
from ricenet.evaluation.labels.calibration import (
    LabelRecalibration,
    fold_label_recalibrations,
    label_recalibrated_by_fold,
    recalibrated,
)
from ricenet.evaluation.labels.held_out import Classes, LabelHeldOut, LabelProbabilities
from ricenet.training.label_predictions import majority_labels, top_labels
from ricenet.vocabulary import LabelNames


def sure_of(rescaled: LabelProbabilities, said: Classes) -> NDArray[np.float64]:
    """How sure each answer is (N,): its recalibrated probability, where it is still the most probable label.

    As little as can be, 1 / K, where another one has become more probable.
    """
    agrees = top_labels(rescaled) == said
    found: NDArray[np.float64] = np.where(agrees, rescaled[np.arange(len(said)), said], 1 / rescaled.shape[1])
    return found


def label_coverage_risk(
    sure: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], ...]:
    """Confidence, share answered and error among them, for every confidence that occurs, most sure first."""
    order = np.argsort(-sure, kind="stable")
    sure, wrong = sure[order], wrong[order]
    # equally sure answers are given together or not at all
    last = np.append(sure[1:] < sure[:-1], True)
    answered = np.arange(1, len(sure) + 1)
    return sure[last], (answered / len(sure))[last], (np.cumsum(wrong) / answered)[last]


def label_threshold(sure: NDArray[np.float64], wrong: NDArray[np.bool_], target_error: float) -> float | None:
    """The least confidence with which no more than a share of the answers is wrong; None if there is none."""
    levels, _, error = label_coverage_risk(sure, wrong)
    enough = np.flatnonzero(error <= target_error)
    return float(levels[enough[-1]]) if len(enough) else None


def label_abstention(
    held_out: LabelHeldOut, name: str, by: LabelRecalibration, target_error: float
) -> Abstention:
    """Label or no answer on held-out subjects: recalibration and threshold come from the other folds.

    by: for new cases, whose threshold is set from all held-out subjects.
    """
    p, fold, said = held_out.probabilities[name], held_out.fold, held_out.said(name)
    wrong, by_fold = said != held_out.truth, fold_label_recalibrations(held_out, name)
    rescaled = label_recalibrated_by_fold(p, fold, by_fold)
    answered = np.zeros(len(fold), dtype=np.bool_)
    for k, of_fold in by_fold.items():
        others = fold != k
        sure = sure_of(recalibrated(p[others], of_fold), said[others])
        if (threshold := label_threshold(sure, wrong[others], target_error)) is not None:
            agrees = top_labels(rescaled) == said
            answered |= ~others & agrees & (sure_of(rescaled, said) >= threshold)
    _, shares, errors = label_coverage_risk(sure_of(rescaled, said), wrong)
    return Abstention(
        target_error=target_error,
        threshold=label_threshold(sure_of(recalibrated(p, by), said), wrong, target_error),
        coverage=share_of(answered),
        error=share_of(wrong[answered]) if answered.any() else None,
        curve=tuple((float(share), float(error)) for share, error in zip(shares, errors, strict=True)),
    )


def label_or_abstain(
    folds: NDArray[np.float64], by: LabelRecalibration, threshold: float | None, label_names: LabelNames
) -> list[str]:
    """The ensemble's answer for each subject: a label, or `indeterminate`. folds: (N, folds, K).

    It is the majority's, where the mean of the folds' recalibrated probabilities agrees and is sure enough.
    """
    mean, said = recalibrated(folds, by).mean(axis=1), majority_labels(folds)
    enough = sure_of(mean, said) >= (np.inf if threshold is None else threshold)
    agrees = top_labels(mean) == said
    return [
        label_names[k] if answered else INDETERMINATE
        for k, answered in zip(said, enough & agrees, strict=True)
    ]
