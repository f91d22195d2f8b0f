"""The map: which series and doses of an export are used for what. A program proposes it, a person decides.

It names patients, so it lies outside the cohort and is readable by its owner alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ricenet.importing.private_file import write_private_table
from ricenet.importing.tables import Fault, Row, read_table

Role = Literal["", "?", "post_op", "event", "dose", "planning_ct"]
DoseOf = Literal["course", "fraction"]

NOT_USED, UNDECIDED = "", "?"
REQUIRED = ("patient_id", "role", "uid")
STATEMENTS = ("course", "dose_of", "fractions", "prescription_gy")
"""What the user may state of a dose."""

INFORMATION = ("date", "modality", "description", "slices", "note")
"""For people; not read back."""

COLUMNS = (*("patient_id", "role", *STATEMENTS, "date", "modality", "description", "slices", "uid", "note"),)


@dataclass(frozen=True)
class ProposedRow:
    """One MR or CT series, or one RTDOSE instance, with the proposed role and the reason for it.

    uid: SeriesInstanceUID of images, SOPInstanceUID of an RTDOSE.
    """

    patient_id: str
    role: Role
    date: str
    modality: str
    description: str
    slices: int
    uid: str
    note: str


@dataclass(frozen=True)
class MapRow:
    """One row as the user left it. line: in the file, the header being line 1."""

    line: int
    patient_id: str
    role: Role
    uid: str
    course: str | None = None
    dose_of: DoseOf | None = None
    fractions: int | None = None
    prescription_gy: float | None = None

    @property
    def statements(self) -> tuple[object, ...]:
        """What is stated of a dose; all None for a row that states nothing."""
        return self.course, self.dose_of, self.fractions, self.prescription_gy


@dataclass(frozen=True)
class SeriesMap:
    """The rows that could be read, in the order of the file, and what is wrong with the others."""

    rows: tuple[MapRow, ...]
    faults: tuple[Fault, ...]


def write_map(path: Path, rows: Sequence[ProposedRow]) -> None:
    """Write a proposal, with the byte order mark by which spreadsheets know UTF-8."""
    cells = [
        [
            *(row.patient_id, row.role, *[""] * len(STATEMENTS), row.date, row.modality),
            # one line, whatever the scanner's operator typed
            *(" ".join(row.description.split()), str(row.slices), row.uid, row.note),
        ]
        for row in rows
    ]
    write_private_table(path, COLUMNS, cells, encoding="utf-8-sig")


def read_map(path: Path) -> SeriesMap:
    """Read a map strictly; the faults of all rows are collected, for the caller to add to.

    Raises CohortError: the file as a whole cannot be read (see `read_table`).
    """
    table = read_table(path, REQUIRED, [column for column in COLUMNS if column not in REQUIRED])
    rows, faults = [], list(table.faults)
    for row in table.rows:
        if of_row := _faults(row):
            faults += [Fault((row.line,), text) for text in of_row]
        else:
            rows.append(_parsed(row))
    return SeriesMap(tuple(rows), tuple(faults))


def _faults(row: Row) -> list[str]:
    cells = row.cells
    faults = [f"{column} is empty. Fill it in" for column in ("patient_id", "uid") if not cells[column]]
    if cells["role"] not in get_args(Role):
        faults.append(
            "the role is none of post_op, event, dose, planning_ct, ?. "
            "Write one of them, or nothing where the row is not used"
        )
    if cells["dose_of"] not in ("", *get_args(DoseOf)):
        faults.append("dose_of is neither course nor fraction. Write one of them, or nothing")
    if cells["fractions"] and not re.fullmatch("0*[1-9][0-9]{0,2}", cells["fractions"]):
        faults.append("fractions is no whole number from 1 to 999. Correct it, or leave it empty")
    if cells["prescription_gy"] and _gy(cells["prescription_gy"]) is None:
        faults.append("prescription_gy is no positive number of Gy. Correct it, or leave it empty")
    return faults


def _parsed(row: Row) -> MapRow:
    cells = row.cells
    role: Role = cells["role"]  # type: ignore[assignment]
    dose_of: DoseOf | None = cells["dose_of"] or None  # type: ignore[assignment]
    return MapRow(
        line=row.line,
        patient_id=cells["patient_id"],
        role=role,
        uid=cells["uid"],
        course=cells["course"] or None,
        dose_of=dose_of,
        fractions=int(cells["fractions"]) if cells["fractions"] else None,
        prescription_gy=_gy(cells["prescription_gy"]),
    )


def _gy(cell: str) -> float | None:
    """A dose as spreadsheets write it, in some languages with a decimal comma; None where it is none."""
    if not re.fullmatch(r"\d{1,3}([.,]\d+)?", cell):
        return None
    value = float(cell.replace(",", "."))
    return value if math.isfinite(value) and value > 0 else None
