"""The folds' majority vote on the independent test set, and the ledger of every look at that set.

Source: RICE-NET section 2 (majority vote of the five folds on the test set). The ledger is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.calibration import three_way_vote
from ricenet.evaluation.metrics import Confusion, confusion_matrix, macro_f1
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import content_digest, locked, write_text
from ricenet.runtime.git import home_of
from ricenet.runtime.tables import read_rows, table_text
from ricenet.training.ensemble import majority_vote
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import LABELS

UNKNOWN = "n/a"
_ADDED = ("gate", "who")
"""Columns that the ledgers of earlier versions lack."""


@dataclass(frozen=True)
class SubjectVote:
    """One subject: every fold's p_rice, how many folds say rice, and what they decide.

    three_way: the same, or indeterminate where that is not sure enough; n/a where no threshold is known.
    """

    participant_id: str
    label: str
    p_rice_folds: tuple[float, ...]
    votes_rice: int
    p_rice: float
    predicted: str
    three_way: str = UNKNOWN


@dataclass(frozen=True)
class VoteResult:
    """What the test set says of one ensemble; confusion is ((tn, fp), (fn, tp))."""

    macro_f1: float
    confusion: Confusion
    n: int


@dataclass(frozen=True)
class LedgerRow:
    """One ensemble's look at the test set; `look` counts all looks there, this one included.

    gate: passed or forced. who: user@host where that is asked for. Both are n/a in rows of earlier versions.
    """

    utc: str
    modality_set: str
    model: str
    version: str
    digest12: str
    n: int
    macro_f1: str
    look: int
    test_set: str
    gate: str = UNKNOWN
    who: str = UNKNOWN


def votes_for_rice(p_rice_folds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many folds say rice. p_rice_folds: (N, folds), each fold's p_rice. Returns (N,)."""
    votes: NDArray[np.int64] = np.count_nonzero(p_rice_folds >= THRESHOLD, axis=1)
    return votes


@dataclass(frozen=True)
class Sureness:
    """What the three-way vote needs. least_confidence: None where no answer is ever sure enough."""

    temperature: float
    least_confidence: float | None


def count_votes(
    subjects: Sequence[str],
    labels: Sequence[str],
    p_rice_folds: NDArray[np.float64],
    sureness: Sureness | None = None,
) -> list[SubjectVote]:
    """The vote on every subject. p_rice_folds: (N, folds), rows in the order of `subjects`.

    sureness: of the three-way vote; None where it is not known.
    """
    votes, are_rice = votes_for_rice(p_rice_folds), majority_vote(p_rice_folds)
    three_way: Sequence[str] = [UNKNOWN] * len(subjects)
    if sureness is not None:
        three_way = three_way_vote(p_rice_folds, sureness.temperature, sureness.least_confidence)
    return [
        SubjectVote(
            participant_id=subject,
            label=label,
            p_rice_folds=tuple(float(p) for p in p_rice_folds[i]),
            votes_rice=int(votes[i]),
            p_rice=float(p_rice_folds[i].mean()),
            predicted=LABELS[int(are_rice[i])],
            three_way=three_way[i],
        )
        for i, (subject, label) in enumerate(zip(subjects, labels, strict=True))
    ]


def vote_result(votes: Sequence[SubjectVote]) -> VoteResult:
    """Macro-F1 and confusion matrix of the votes."""
    labels, predicted = [v.label for v in votes], [v.predicted for v in votes]
    return VoteResult(macro_f1(labels, predicted), confusion_matrix(labels, predicted), len(votes))


def vote_table(votes: Sequence[SubjectVote]) -> str:
    """The votes as a tab-separated table, a row a subject."""
    folds = [f"fold_{k}" for k in range(len(votes[0].p_rice_folds))] if votes else []
    header = ["participant_id", "label", *folds, "votes_rice", "p_rice", "predicted", "three_way"]
    rows = [
        [
            v.participant_id,
            v.label,
            *[_probability(p) for p in v.p_rice_folds],
            v.votes_rice,
            _probability(v.p_rice),
            v.predicted,
            v.three_way,
        ]
        for v in votes
    ]
    return table_text(header, rows)


def identify_test_set(labels: Mapping[str, str]) -> str:
    """Twelve digits that name a test set: its subjects and their labels.

    >>> identify_test_set({"sub-1": "rice"}) == identify_test_set({"sub-1": "recurrence"})
    False
    """
    return content_digest(labels)[:12]


def ledger_path(project: Path) -> Path:
    """The ledger of a project: one for all its copies, so that none of their looks is lost."""
    return home_of(project) / "models" / "test_ledger.tsv"


def read_ledger(path: Path) -> list[LedgerRow]:
    """All looks so far, oldest first; none where the file does not exist yet.

    Raises ResultError: the table lacks a column.
    """
    if not path.exists():
        return []
    rows = read_rows(path)
    needed = [f.name for f in fields(LedgerRow) if f.name not in _ADDED]
    missing = [name for name in needed if rows and rows[0].get(name) is None]
    if missing:
        raise ResultError(
            f"{path}: no column {', '.join(missing)}. The ledger is only ever appended to: "
            "restore it from git (`git checkout -- models/test_ledger.tsv`)"
        )
    return [
        LedgerRow(
            utc=row["utc"],
            modality_set=row["modality_set"],
            model=row["model"],
            version=row["version"],
            digest12=row["digest12"],
            n=int(row["n"]),
            macro_f1=row["macro_f1"],
            look=int(row["look"]),
            test_set=row["test_set"],
            **{name: row.get(name) or UNKNOWN for name in _ADDED},
        )
        for row in rows
    ]


def record_look(
    path: Path,
    modality_set: str,
    model: str,
    version: str,
    digest: str,
    result: VoteResult,
    test_set: str,
    gate: str = UNKNOWN,
    who: str | None = None,
) -> LedgerRow:
    """Append one look to the ledger, atomically, and return its row.

    An ensemble that looks at the same test set again learns nothing new: its row stays as it was.
    digest: the ensemble's full content digest. test_set: as `identify_test_set` gives it. gate: how the
    ensemble came to look. who: whose look it is, where that is recorded.
    """
    with locked(path.with_suffix(".lock")):
        rows = read_ledger(path)
        for earlier in rows:
            if (earlier.digest12, earlier.test_set) == (digest[:12], test_set):
                return earlier
        row = LedgerRow(
            utc=datetime.now(UTC).isoformat(timespec="seconds"),
            modality_set=modality_set,
            model=model,
            version=version,
            digest12=digest[:12],
            n=result.n,
            macro_f1=_probability(result.macro_f1),
            look=1 + sum(earlier.test_set == test_set for earlier in rows),
            test_set=test_set,
            gate=gate,
            who=who or UNKNOWN,
        )
        header = [field.name for field in fields(LedgerRow)]
        write_text(path, table_text(header, [astuple(r) for r in [*rows, row]]))
    return row


def _probability(value: float) -> str:
    return f"{value:.6f}"
