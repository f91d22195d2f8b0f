"""Answers about a cohort, made by hand: one fold or several, and the subjects' labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.inference.test_vote import count_votes
from ricenet.inference.three_way import DecisionThreshold
from ricenet.study.answers import CohortAnswers
from ricenet.training.ensemble import majority_vote


def answers_of(
    p_rice_folds: Sequence[Sequence[float]], labels: Sequence[str], decision: DecisionThreshold | None = None
) -> CohortAnswers:
    """p_rice_folds: a row a subject."""
    folds = np.array(p_rice_folds, np.float64)
    names = [f"sub-{i:03d}" for i in range(len(labels))]
    return CohortAnswers(
        is_rice=np.array([label == "rice" for label in labels]),
        p_rice=folds.mean(axis=1),
        calibrated=None if decision is None else recalibrated(folds, decision.recalibration).mean(axis=1),
        says_rice=majority_vote(folds),
        votes=count_votes(names, list(labels), folds, decision),
        outside=None,
    )
