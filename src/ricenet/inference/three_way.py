"""The three-way answer of one case, with the reason for it in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ricenet.evaluation.evidence.abstention import INDETERMINATE, confidence, three_way_vote
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.evaluation.evidence.calibration_record import (
    ConformalThresholds,
    Recalibration,
    SubsetDecision,
)
from ricenet.evaluation.evidence.conformal import label_set, set_said, why_no_set
from ricenet.inference.test_ledger import UNKNOWN
from ricenet.runtime.records import Record
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import LABELS


class DecisionThreshold(Record):
    """Of the three-way vote: below least_confidence it abstains; None where it always does.

    recalibration: of each fold's p_rice before. conformal: of sets of labels, in versions that have them.
    subsets: the same where volumes are missing, by those that there are, of networks that may lack some.
    """

    recalibration: Recalibration
    least_confidence: float | None
    conformal: ConformalThresholds | None = None
    subsets: dict[str, SubsetDecision] = Field(default_factory=dict, exclude_if=lambda value: not value)

    def with_volumes(self, subset: str) -> DecisionThreshold | None:
        """That of cases with these volumes alone; None where nothing was fitted to such answers."""
        if (of_subset := self.subsets.get(subset)) is None:
            return None
        return DecisionThreshold(
            recalibration=of_subset.recalibration,
            least_confidence=of_subset.threshold,
            conformal=of_subset.conformal,
        )


class ThreeWayAnswer(Record):
    """rice, recurrence or indeterminate, and why; n/a where no threshold is known.

    p_rice: the mean of the folds' recalibrated probabilities. confidence: 0.5 to 1, of the likelier label.
    labels: the set that holds the true label of a share of each label's patients; None where it is not known.
    labels_why: by which thresholds, or why it is not known.
    """

    answer: str
    why: str
    p_rice: float | None = None
    confidence: float | None = None
    least_confidence: float | None = None
    labels: tuple[str, ...] | None = None
    labels_coverage: float | None = None
    labels_why: str = "the version holds no evidence, so that no threshold of a set is known"


NO_EVIDENCE = ThreeWayAnswer(
    answer=UNKNOWN,
    why="the version holds no evidence, so that neither its calibration nor a threshold is known",
)


def three_way_answer(p_rice_folds: Sequence[float], threshold: DecisionThreshold | None) -> ThreeWayAnswer:
    """What the folds' probabilities of RICE come to, for one case."""
    if threshold is None:
        return NO_EVIDENCE
    folds = np.array([p_rice_folds], np.float64)
    least = threshold.least_confidence
    (answer,) = three_way_vote(folds, threshold.recalibration, least)
    mean = recalibrated(folds, threshold.recalibration).mean(axis=1)
    p_rice, sure = float(mean[0]), float(confidence(mean)[0])
    return ThreeWayAnswer(
        answer=answer,
        why=_why(answer, folds[0] >= THRESHOLD, p_rice, sure, threshold),
        p_rice=p_rice,
        confidence=sure,
        least_confidence=least,
        **_labels(float(folds.mean()), threshold.conformal),
    )


def label_set_said(answer: Mapping[str, Any]) -> str:
    """The set of labels in words. answer: as `ricenet predict` prints it."""
    if answer["label_set"] is None:
        return f"not known: {answer['label_set_why']}"
    return set_said(answer["label_set"], answer["label_set_coverage"])


def _labels(p_rice: float, by: ConformalThresholds | None) -> dict[str, Any]:
    if by is None:
        return {"labels_why": "the version was registered before there were sets of labels"}
    if (found := label_set(p_rice, by)) is None:
        return {"labels_why": why_no_set(by)}
    why = (
        f"p_rice is {p_rice:.4f}; rice is in the set from {by.rice_from:.4f} on, recurrence up to "
        f"{by.recurrence_to:.4f}"
    )
    return {"labels": found, "labels_coverage": by.coverage, "labels_why": why}


def _why(answer: str, says_rice: Sequence[bool], p_rice: float, sure: float, by: DecisionThreshold) -> str:
    votes, folds, least = int(np.count_nonzero(says_rice)), len(says_rice), by.least_confidence
    likelier = LABELS[int(p_rice >= THRESHOLD)]
    found = f"{votes} of {folds} folds vote for rice, and the calibrated p_rice is {p_rice:.4f}"
    if by.recalibration.says_the_share:
        found += " for every case, since the networks' probabilities tell nothing of held-out subjects"
    if answer != INDETERMINATE:
        return f"{found}: a confidence of {sure:.4f}, and {least:.4f} is enough for {answer}"
    if least is None:
        return f"{found}; no confidence was high enough for the error allowed among held-out subjects"
    if sure < least:
        return f"{found}: a confidence of {sure:.4f} in {likelier}, and {least:.4f} is needed for an answer"
    return f"{found}, which is for {likelier}: the majority and the calibrated mean disagree"
