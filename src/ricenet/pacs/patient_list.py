"""The list of patients whose studies are to be fetched: identifiers, and dates if wanted."""

from __future__ import annotations

import logging
import stat
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ricenet.importing.private_files import file_errors_reported
from ricenet.importing.spreadsheets import PATIENT_ID, Fault, Row, problem_list, read_spreadsheet, repeated
from ricenet.runtime.errors import CohortError

logger = logging.getLogger(__name__)

FROM, TO = "from_date", "to_date"
"""Columns of the first and the last day of the studies that are wanted; empty: no limit."""

_MATCHES_MANY = frozenset("*?\\")
"""What stands for other characters, or between several values, in a query. Source: DICOM PS3.4 C.2.2.2."""


@dataclass(frozen=True)
class ListedPatient:
    """line: of the list, its header being line 1. first, last: days of studies; None: no limit."""

    line: int
    patient_id: str
    first: date | None = None
    last: date | None = None

    def wants(self, day: date | None) -> bool:
        """Whether a study of a day is wanted; one without a date may be."""
        return day is None or (self.first or date.min) <= day <= (self.last or date.max)


def read_patient_list(path: Path) -> tuple[ListedPatient, ...]:
    """The patients of a list, by line.

    Raises CohortError: unreadable, without a patient, with other columns than patient_id, from_date and
    to_date (no name or birth date is needed), or rows that mean nobody or several people; all are listed.
    """
    try:
        table = read_spreadsheet(path, [PATIENT_ID], [FROM, TO])
    except CohortError as error:
        needed = f"{PATIENT_ID}, and {FROM} and {TO} if wanted; names and birth dates are not needed"
        raise CohortError(f"{error}\nThe list needs {needed}") from None
    faults = list(table.faults)
    for row in table.rows:
        faults += [Fault((row.line,), text) for text in _faults(row)]
    ids = ((row.cells[PATIENT_ID], row.line) for row in table.rows)
    faults += repeated(ids, "the same patient_id. Keep one row a patient")
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    if not table.rows:
        raise CohortError(f"{path.name}: names no patient. Write one patient_id a line below the header")
    _warn_of_readers(path)
    return tuple(
        ListedPatient(row.line, row.cells[PATIENT_ID], _day(row.cells[FROM]), _day(row.cells[TO]))
        for row in table.rows
    )


def _faults(row: Row) -> list[str]:
    patient, days = row.cells[PATIENT_ID], {name: row.cells[name] for name in (FROM, TO)}
    faults = [] if patient else ["patient_id is empty. Fill it in"]
    if _MATCHES_MANY.intersection(patient) or not patient.isprintable():
        faults.append("patient_id holds *, ?, \\ or a sign that cannot be seen. Write one patient's alone")
    wrong = [name for name, cell in days.items() if cell and _day(cell) is None]
    faults += [f"{name} is no date. Write it as YYYY-MM-DD, or leave it empty" for name in wrong]
    first, last = (_day(cell) for cell in days.values())
    if first is not None and last is not None and first > last:
        faults.append(f"{FROM} is after {TO}. Exchange them")
    return faults


def _day(cell: str) -> date | None:
    try:
        return date.fromisoformat(cell)
    except ValueError:
        return None


def _warn_of_readers(path: Path) -> None:
    with file_errors_reported(f"{path.name}: cannot be read"):
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
    if others:
        logger.warning("%s names patients, and others may read it. Keep it to yourself: chmod 600", path.name)
