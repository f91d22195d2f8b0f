"""The map: which series and doses of an export are used for what. A program proposes it, a person decides.

It names patients, so it lies outside the cohort and is readable by its owner alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ricenet.cohort.dose_limits import Extent
from ricenet.importing.dose.statement import COLUMNS as STATEMENTS
from ricenet.importing.dose.statement import NOTHING_STATED, DoseStatement
from ricenet.importing.private_files import write_private_table
from ricenet.importing.spreadsheets import Fault, Row, read_spreadsheet
from ricenet.vocabulary import Volumes

NOT_USED, UNDECIDED, PLANNING_CT = "", "?", "planning_ct"
"""Roles beside the names of the declared volumes."""

LOCALIZER = "localizer"
"""What a row of images may leave out."""

REQUIRED = ("patient_id", "role", "uid")
COLUMNS = (
    *("patient_id", "role", *STATEMENTS, "leave_out"),
    *("date", "planned_on", "from_planning", "modality", "description", "slices", "uid", "note"),
)
"""Date to slices and the note are for people, and are not read back."""

_FRACTIONS = re.compile(r"0*([1-9]\d{0,2})(?:[.,]0+)?", re.ASCII)
"""1 to 999; spreadsheets write whole numbers as decimals too."""

Proposals = dict[str, tuple[str, str]]
"""Role and note by uid (of a series, or of an RTDOSE instance)."""


@dataclass(frozen=True)
class ProposedRow:
    """One MR or CT series, or one RTDOSE instance, with the proposed role and the reason for it.

    uid: SeriesInstanceUID of images, SOPInstanceUID of an RTDOSE. planned_on: the day, or the first and last,
    on which the patient's radiotherapy was planned. from_planning: days between it (the first) and `date`.
    plan_uid, leave_out: offered, for the user to confirm.
    """

    patient_id: str
    role: str
    date: str
    modality: str
    description: str
    slices: int
    uid: str
    note: str
    plan_uid: str = ""
    leave_out: str = ""
    planned_on: str = ""
    from_planning: str = ""


@dataclass(frozen=True)
class MapRow:
    """One row as the user left it. line: in the file, the header being line 1. stated: of a dose.

    leaves_out_localizers: of images.
    """

    line: int
    patient_id: str
    role: str
    uid: str
    stated: DoseStatement = NOTHING_STATED
    leaves_out_localizers: bool = False


@dataclass(frozen=True)
class SeriesMap:
    """The rows that could be read, in the order of the file, and what is wrong with the others."""

    rows: tuple[MapRow, ...]
    faults: tuple[Fault, ...]


def write_map(path: Path, rows: Sequence[ProposedRow]) -> None:
    """Write a proposal, with the byte order mark by which spreadsheets know UTF-8."""
    cells = [
        # one line a cell, whatever the scanner's operator typed
        [row.patient_id, *(" ".join(str(getattr(row, name, "")).split()) for name in COLUMNS[1:])]
        for row in rows
    ]
    write_private_table(path, COLUMNS, cells, encoding="utf-8-sig")


def read_map(path: Path, volumes: Volumes) -> SeriesMap:
    """Read a map strictly; the faults of all rows are collected, for the caller to add to.

    Raises CohortError: the file as a whole cannot be read (see `read_spreadsheet`).
    """
    table = read_spreadsheet(path, REQUIRED, [column for column in COLUMNS if column not in REQUIRED])
    rows, faults = [], list(table.faults)
    for row in table.rows:
        of_row = _faults(row, [*volumes.names, PLANNING_CT, UNDECIDED])
        faults += [Fault((row.line,), text) for text in of_row]
        if not of_row:
            cells = row.cells
            leaves_out = cells["leave_out"] == LOCALIZER
            rows.append(
                MapRow(row.line, cells["patient_id"], cells["role"], cells["uid"], _stated(row), leaves_out)
            )
    return SeriesMap(tuple(rows), tuple(faults))


def _faults(row: Row, roles: Sequence[str]) -> list[str]:
    cells = row.cells
    faults = [f"{column} is empty. Fill it in" for column in ("patient_id", "uid") if not cells[column]]
    if cells["role"] not in (NOT_USED, *roles):
        faults.append(
            f"the role is none of {', '.join(roles)}. Write one of them, or nothing where the row is not used"
        )
    if cells["dose_of"] not in ("", *get_args(Extent)):
        faults.append("dose_of is neither course nor fraction. Write one of them, or nothing")
    if cells["fractions"] and not _FRACTIONS.fullmatch(cells["fractions"]):
        faults.append("fractions is no whole number from 1 to 999. Correct it, or leave it empty")
    if cells["prescription_gy"] and _gy(cells["prescription_gy"]) is None:
        faults.append("prescription_gy is no positive number of Gy. Correct it, or leave it empty")
    if cells["leave_out"] not in ("", LOCALIZER):
        faults.append(f"leave_out is not {LOCALIZER}. Write that, or nothing")
    return faults


def _stated(row: Row) -> DoseStatement:
    cells = row.cells
    return DoseStatement(
        course=cells["course"] or None,
        dose_of=cells["dose_of"] or None,  # type: ignore[arg-type]
        fractions=_fractions(cells["fractions"]),
        prescription_gy=_gy(cells["prescription_gy"]),
        plan_uid=cells["plan_uid"] or None,
    )


def _fractions(cell: str) -> int | None:
    found = _FRACTIONS.fullmatch(cell)
    return int(found[1]) if found else None


def _gy(cell: str) -> float | None:
    """A dose as spreadsheets write it, in some languages with a decimal comma; None where it is none."""
    is_number = re.fullmatch(r"\d{1,3}([.,]\d+)?", cell)
    return (float(cell.replace(",", ".")) or None) if is_number else None
