"""The ledger of every evaluation on the independent test set, only ever appended to. The idea is ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import content_digest, locked, write_text
from ricenet.runtime.git import home_of
from ricenet.runtime.tables import read_rows, table_text

UNKNOWN = "n/a"
_RESTORE = (
    "The ledger is only ever appended to: restore it from git (`git checkout -- models/test_ledger.tsv`)"
)
_ADDED = ("gate", "who")
"""Columns that the ledgers of earlier versions lack."""
_RENAMED = {"look": "evaluation"}
"""Columns as earlier versions called them."""


@dataclass(frozen=True)
class LedgerRow:
    """One ensemble's evaluation on the test set; `evaluation` counts all on that test set, this one included.

    digest12: the beginning of the ensemble's content digest. test_set: as `identify_test_set` gives it. gate:
    passed or forced. who: user@host where that is asked for. Both are n/a in rows of earlier versions.
    """

    utc: str
    modality_set: str
    model: str
    version: str
    digest12: str
    n: int
    macro_f1: str
    evaluation: int
    test_set: str
    gate: str = UNKNOWN
    who: str = UNKNOWN


def identify_test_set(labels: Mapping[str, str]) -> str:
    """Twelve digits that name a test set: its subjects and their labels.

    >>> identify_test_set({"sub-1": "rice"}) == identify_test_set({"sub-1": "recurrence"})
    False
    """
    return content_digest(labels)[:12]


def ledger_path(project: Path) -> Path:
    """The ledger of a project: one for all its copies, so that none of their evaluations is lost."""
    return home_of(project) / "models" / "test_ledger.tsv"


def read_ledger(path: Path) -> list[LedgerRow]:
    """All evaluations so far, oldest first; none where the file does not exist yet.

    Raises ResultError: the table lacks a column, or lies behind a link that leads nowhere.
    """
    if not (path.exists() or path.is_symlink()):
        return []
    if not path.is_file():
        raise ResultError(f"{path}: is a link that leads nowhere, or no file. {_RESTORE}")
    rows = [{_RENAMED.get(name, name): text for name, text in row.items()} for row in read_rows(path)]
    needed = [f.name for f in fields(LedgerRow) if f.name not in _ADDED]
    if missing := [name for name in needed if rows and rows[0].get(name) is None]:
        raise ResultError(f"{path}: no column {', '.join(missing)}. {_RESTORE}")
    return [
        LedgerRow(
            **{name: row[name] for name in needed if name not in ("n", "evaluation")},
            n=int(row["n"]),
            evaluation=int(row["evaluation"]),
            **{name: row.get(name) or UNKNOWN for name in _ADDED},
        )
        for row in rows
    ]


def ledger_text(project: Path) -> str:
    """A project's ledger as a table; the header alone before the first evaluation."""
    return _text(read_ledger(ledger_path(project)))


def require_rows_of_votes(project: Path, digests: Mapping[str, str]) -> None:
    """Make sure that the ledger holds an evaluation of every ensemble that voted. digests: by modality set.

    Raises ResultError: it does not, since it was emptied, cut or replaced.
    """
    held = {row.digest12 for row in read_ledger(ledger_path(project))}
    if lost := sorted(name for name, digest in digests.items() if digest[:12] not in held):
        raise ResultError(
            f"models/test_ledger.tsv lacks the evaluation(s) of {', '.join(lost)} that work/vote holds. "
            f"{_RESTORE}"
        )


def gate_of_earlier_evaluation(path: Path, digest: str, test_set: str) -> str | None:
    """How an ensemble passed the gate when it was evaluated on a test set; None where it was not."""
    rows = read_ledger(path)
    return next((r.gate for r in rows if (r.digest12, r.test_set) == (digest[:12], test_set)), None)


def record_evaluation(path: Path, row: LedgerRow) -> LedgerRow:
    """Append an evaluation to the ledger, atomically, with its time and count; returns its row.

    An ensemble that is evaluated on the same test set again learns nothing new: its row stays as it was.
    """
    with locked(path.with_suffix(".lock")):
        rows = read_ledger(path)
        for earlier in rows:
            if (earlier.digest12, earlier.test_set) == (row.digest12, row.test_set):
                return earlier
        now = datetime.now(UTC).isoformat(timespec="seconds")
        count = 1 + sum(earlier.test_set == row.test_set for earlier in rows)
        row = LedgerRow(**{**asdict(row), "utc": now, "evaluation": count})
        write_text(path, _text([*rows, row]))
    return row


def _text(rows: Sequence[LedgerRow]) -> str:
    return table_text([field.name for field in fields(LedgerRow)], [astuple(row) for row in rows])
