"""Which networks may speak for a subject, what they say, and how sure their mean is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.splits import Splits
from ricenet.evaluation.occlusion.case import FoldVote
from ricenet.training.ensemble import majority_vote
from ricenet.vocabulary import LABELS

if TYPE_CHECKING:
    from ricenet.training.ensemble import Ensemble

_NEVER_QUITE = 1e-6
"""From 0 and 1, where log-odds end."""


def held_out_folds(splits: Splits, subject: str) -> list[int]:
    """The folds whose networks did not train on a subject: one, or all for a subject of no fold."""
    validated_by = [k for k, fold in enumerate(splits.folds) if subject in fold]
    return validated_by or list(range(len(splits.folds)))


def fold_votes(
    ensemble: Ensemble, splits: Splits, subject: str, volumes: NDArray[np.float32]
) -> list[FoldVote]:
    """What every network says of a subject. volumes: (C, X, Y, Z), the subject's channels."""
    held_out = held_out_folds(splits, subject)
    p_rice = ensemble.predict(volumes[None])[0]
    return [FoldVote(fold, float(p), fold in held_out) for fold, p in enumerate(p_rice)]


def decided(votes: Sequence[FoldVote]) -> str:
    """The label that the networks decide for that did not train on the subject."""
    p_rice = np.array([[vote.p_rice for vote in votes if vote.held_out]])
    return LABELS[int(majority_vote(p_rice)[0])]


def interval_of_mean(p_rice: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of several networks' mean log-odds, as probabilities; None for a single network.

    Student's t over the networks. It tells how much the networks differ that another draw of training
    subjects would give, not how often such a subject has RICE.

    >>> low, high = interval_of_mean([0.5, 0.5, 0.5])
    >>> round(low, 3), round(high, 3)
    (0.5, 0.5)
    """
    if len(p_rice) < 2:
        return None
    from scipy import special, stats

    log_odds = special.logit(np.clip(p_rice, _NEVER_QUITE, 1 - _NEVER_QUITE))
    margin = stats.t.ppf(0.975, len(p_rice) - 1) * log_odds.std(ddof=1) / np.sqrt(len(p_rice))
    low, high = special.expit(log_odds.mean() + np.array([-margin, margin]))
    return float(low), float(high)
