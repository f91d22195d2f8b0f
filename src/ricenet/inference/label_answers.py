"""What the folds' vote says of cases with other labels than the paper's two: a label, or no answer.

Of the label with most votes (`ricenet.training.label_predictions.majority_labels`), where its recalibrated
probability is enough for an answer (`ricenet.evaluation.labels.abstention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.abstention import INDETERMINATE
from ricenet.evaluation.labels.abstention import label_or_abstain, sure_of
from ricenet.evaluation.labels.calibration import LabelRecalibration, recalibrated
from ricenet.evaluation.labels.conformal import LabelThresholds, set_of_labels
from ricenet.inference.test_ledger import UNKNOWN
from ricenet.runtime.records import Record
from ricenet.runtime.tables import table_text
from ricenet.training.label_predictions import columns_of, majority_labels, top_labels, votes_by_label
from ricenet.vocabulary import LabelNames


class LabelDecision(Record):
    """Of the vote: below least_confidence it abstains; None where it always does.

    conformal: of sets of labels.
    """

    recalibration: LabelRecalibration
    least_confidence: float | None
    conformal: LabelThresholds


@dataclass(frozen=True)
class LabelVote:
    """One subject: every fold's probabilities (folds, K), how many folds say each label, what they decide.

    p, calibrated: means over the folds (K,), as given and recalibrated; the latter None without evidence.
    answer: a label, indeterminate, or n/a where no threshold is known; why: in a sentence.
    """

    participant_id: str
    label: str
    label_names: LabelNames
    folds: tuple[tuple[float, ...], ...]
    votes: tuple[int, ...]
    p: tuple[float, ...]
    predicted: str
    calibrated: tuple[float, ...] | None
    answer: str
    why: str
    confidence: float | None
    labels: tuple[str, ...] | None

    def as_json(self) -> dict[str, Any]:
        """The vote for a machine to read; probabilities to four places."""
        named = dict(zip(self.label_names, self.p, strict=True))
        calibrated = self.calibrated and dict(zip(self.label_names, self.calibrated, strict=True))
        return {
            "label": self.predicted,
            "answer": self.answer,
            "answer_why": self.why,
            "p": {name: round(p, 4) for name, p in named.items()},
            "p_calibrated": calibrated and {name: round(p, 4) for name, p in calibrated.items()},
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "label_set": None if self.labels is None else list(self.labels),
            "p_folds": [[round(p, 4) for p in fold] for fold in self.folds],
            "votes": dict(zip(self.label_names, self.votes, strict=True)),
            "folds": len(self.folds),
        }


def count_label_votes(
    subjects: Sequence[str],
    labels: Sequence[str],
    folds: NDArray[np.float64],
    label_names: LabelNames,
    decision: LabelDecision | None = None,
) -> list[LabelVote]:
    """The vote on every subject. folds: (N, folds, K), rows in the order of `subjects`.

    decision: of answers; None where it is not known.
    """
    said, votes = majority_labels(folds), votes_by_label(folds)
    return [
        LabelVote(
            participant_id=subject,
            label=label,
            label_names=label_names,
            folds=tuple(tuple(fold) for fold in folds[i].tolist()),
            votes=tuple(votes[i].tolist()),
            p=tuple(folds[i].mean(axis=0).tolist()),
            predicted=label_names[said[i]],
            **_answered(folds[i], votes[i], int(said[i]), label_names, decision),
        )
        for i, (subject, label) in enumerate(zip(subjects, labels, strict=True))
    ]


def _answered(
    folds: NDArray[np.float64],
    votes: NDArray[np.int64],
    said: int,
    label_names: LabelNames,
    by: LabelDecision | None,
) -> dict[str, Any]:
    if by is None:
        why = "the version holds no evidence, so that neither its calibration nor a threshold is known"
        return {"calibrated": None, "answer": UNKNOWN, "why": why, "confidence": None, "labels": None}
    mean = recalibrated(folds, by.recalibration).mean(axis=0)
    (answer,) = label_or_abstain(folds[np.newaxis], by.recalibration, by.least_confidence, label_names)
    sure, likelier = float(mean.max()), int(top_labels(mean[np.newaxis])[0])
    least = by.least_confidence
    found = (
        f"{votes[said]} of {len(folds)} folds vote for {label_names[said]}, whose calibrated probability is "
        f"{mean[said]:.4f}"
    )
    if answer != INDETERMINATE:
        why = f"{found}, and {least:.4f} is enough"
    elif least is None:
        why = f"{found}; no confidence was high enough for the error allowed among held-out subjects"
    elif likelier != said:
        why = f"{found}, while that of {label_names[likelier]} is {sure:.4f}: majority and mean disagree"
    else:
        why = f"{found}, and {least:.4f} is needed for an answer"
    return {
        "calibrated": tuple(mean.tolist()),
        "answer": answer,
        "why": why,
        "confidence": float(sure_of(mean[np.newaxis], np.array([said]))[0]),
        "labels": set_of_labels(folds.mean(axis=0), by.conformal),
    }


def vote_columns(label_names: LabelNames, folds: int) -> list[str]:
    """Names of the columns of `vote_cells`."""
    p = columns_of(label_names)
    return [
        *(f"fold_{k}_{column}" for k in range(folds) for column in p),
        *(f"votes_{name}" for name in label_names),
        *p,
        *(f"{column}_calibrated" for column in p),
        *("predicted", "answer"),
    ]


def vote_cells(vote: LabelVote) -> list[object]:
    """A vote's cells in a table; probabilities to six places."""
    calibrated = vote.calibrated
    return [
        *(f"{p:.6f}" for fold in vote.folds for p in fold),
        *vote.votes,
        *(f"{p:.6f}" for p in vote.p),
        *([UNKNOWN] * len(vote.p) if calibrated is None else [f"{p:.6f}" for p in calibrated]),
        *(vote.predicted, vote.answer),
    ]


def label_vote_table(votes: Sequence[LabelVote]) -> str:
    """The votes as a tab-separated table, a row per subject; at least one."""
    columns = vote_columns(votes[0].label_names, len(votes[0].folds))
    rows = [[vote.participant_id, vote.label, *vote_cells(vote)] for vote in votes]
    return table_text(["participant_id", "label", *columns], rows)
