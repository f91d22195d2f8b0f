"""The ledger of every evaluation on the independent test set, only ever appended to. The idea is ours.

Each row ends in a digest over itself and all rows before it, and a file beside the table says how many
rows there are and how the last one ends: so a row that was changed, removed or cut off is found, and named.
Whoever rewrites both files on purpose is not found by this, but by their history in git.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import (
    MOST_TEXT_BYTES,
    content_digest,
    locked,
    regular_bytes,
    write_json,
    write_text,
)
from ricenet.runtime.git import home_of
from ricenet.runtime.records import Record
from ricenet.runtime.tables import read_lines, table_text

UNKNOWN = "n/a"
_RESTORE = (
    "The ledger is only ever appended to: restore it from git, as it was when both files fitted "
    "(`git checkout COMMIT -- models/test_ledger.tsv models/test_ledger.json`), and run again"
)
_ADDED = ("gate", "who", "chain")
"""Columns that the ledgers of earlier versions lack."""
_RENAMED = {"look": "evaluation"}
"""Columns as earlier versions called them."""

_NUMBERS = ("n", "evaluation")


@dataclass(frozen=True)
class LedgerRow:
    """One ensemble's evaluation on the test set; `evaluation` counts all on that test set, this one included.

    digest12: the beginning of the ensemble's content digest. test_set: as `identify_test_set` gives it. gate:
    passed or forced. who: user@host where that is asked for. chain: digest over this row and all before it.
    These three are n/a in rows of earlier versions.
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
    chain: str = UNKNOWN


class LedgerEnd(Record):
    """What the file beside the ledger says of it: how many rows there are at least, and the chain there."""

    rows: PositiveInt
    chain: str


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
    """All evaluations so far, oldest first; none where there is no ledger yet.

    Raises ResultError: the table lacks a column, a row is not as it was written, rows are missing, or one of
    both files is not there, empty, or a link that leads nowhere. FormatError: of another version.
    """
    # first, for it says of which format both files are
    end = _read_end(path)
    rows = _read_rows(path) if path.exists() or path.is_symlink() else []
    links = _links(rows)
    for number, (row, link) in enumerate(zip(rows, links, strict=True), start=1):
        begun = number > 1 and rows[number - 2].chain != UNKNOWN
        if row.chain != link and (begun or row.chain != UNKNOWN):
            raise ResultError(
                f"{path}: row {number} ({row.utc}, {row.modality_set}, {row.digest12}) does not follow from "
                f"those before it: it was changed, or one before it changed or removed. {_RESTORE}"
            )
    # a kill while the first row of a chain is written leaves that row without an end
    if end is None and sum(row.chain != UNKNOWN for row in rows) > 1:
        raise ResultError(f"{_end_path(path)} is missing, which says how the ledger ends. {_RESTORE}")
    if end is not None and (end.rows > len(rows) or links[end.rows - 1] != end.chain):
        raise ResultError(
            f"{path}: has {len(rows)} row(s), but {end.rows} evaluation(s) were recorded, or others than "
            f"these. {_RESTORE}"
        )
    return rows


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
        *_, link = _links([*rows, row])
        row = replace(row, chain=link)
        write_text(path, _text([*rows, row]))
        # second: a kill in between leaves one row more than the end knows of, never one less
        write_json(_end_path(path), LedgerEnd(rows=len(rows) + 1, chain=link).model_dump())
    return row


def _read_rows(path: Path) -> list[LedgerRow]:
    if not path.is_file():
        raise ResultError(f"{path}: is a link that leads nowhere, or no file. {_RESTORE}")
    needed = [f.name for f in fields(LedgerRow) if f.name not in _ADDED]
    header, *lines = read_lines(path, "\t") or [[]]
    names = [_RENAMED.get(name, name) for name in header]
    if missing := [name for name in needed if name not in names]:
        raise ResultError(f"{path}: no column {', '.join(missing)}. {_RESTORE}")
    return [
        _row(path, number, dict(zip(names, cells, strict=False))) for number, cells in enumerate(lines, 1)
    ]


def _row(path: Path, number: int, cells: Mapping[str, str]) -> LedgerRow:
    try:
        needed = [f.name for f in fields(LedgerRow) if f.name not in _ADDED]
        known: dict[str, Any] = {name: cells[name] for name in needed}
        known |= {name: int(cells[name]) for name in _NUMBERS}
        known |= {name: cells.get(name) or UNKNOWN for name in _ADDED}
    except (KeyError, ValueError):
        raise ResultError(f"{path}: row {number} is cut, or a number in it is none. {_RESTORE}") from None
    return LedgerRow(**known)


def _links(rows: Sequence[LedgerRow]) -> list[str]:
    """What the chain of each row has to be."""
    links, before = list[str](), ""
    for row in rows:
        before = content_digest([before, {**asdict(row), "chain": ""}])[:16]
        links.append(before)
    return links


def _end_path(ledger: Path) -> Path:
    return ledger.with_suffix(".json")


def _read_end(ledger: Path) -> LedgerEnd | None:
    path = _end_path(ledger)
    if not (path.exists() or path.is_symlink()):
        return None
    try:
        return LedgerEnd.parse(regular_bytes(path, MOST_TEXT_BYTES), path.name, _RESTORE)
    except (OSError, ValueError):
        raise ResultError(f"{path} does not say how the ledger ends. {_RESTORE}") from None


def _text(rows: Sequence[LedgerRow]) -> str:
    return table_text([field.name for field in fields(LedgerRow)], [astuple(row) for row in rows])
