"""The clinical table of Burdenko-GBM-Progression, row by row, as it stands."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ricenet.cohort.participants import MISSING
from ricenet.runtime.errors import CohortError

logger = logging.getLogger(__name__)

PATIENT = "AnonymPatientID"
SURGERY, RT_START, RT_END = "AnonymDate of surgery", "AnonymStart of RT", "AnonymEnd of RT"
TOPOMETRIC_MRI = "AnonymDate of topometric MRI"
_SEX, _IDH, _MGMT, _AGE = "Sex", "IDH1/2", "MGMT", "AgeAtStudyDate"
_NEEDED = (PATIENT, _SEX, _IDH, _MGMT, SURGERY, RT_START, RT_END, TOPOMETRIC_MRI, _AGE)

_RESPONSE = re.compile(r"Response_(\d+)(?:st|nd|rd|th)_fup")
_VISIT_DATE = re.compile(r"Anonym(\d+)(?:st|nd|rd|th)_fup")
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2})")
_DESCRIBED = {
    "age_years": (_AGE, re.compile(r"1?\d{1,2}(\.\d+)?")),
    "sex": (_SEX, re.compile("F|M")),
    "mgmt": (_MGMT, re.compile("positive|negative")),
    "idh": (_IDH, re.compile("positive|negative")),
}
"""By column of participants.tsv: the clinical table's column, and the cells that are knowledge."""
_UNKNOWN = {"", "?"}


@dataclass(frozen=True)
class FollowUp:
    """One visit. responses: its words in lower case, none where the cell is blank. on: its date, if any."""

    number: int
    responses: frozenset[str]
    on: date | None


@dataclass(frozen=True)
class ClinicalRow:
    """One patient. columns: of participants.tsv (age_years, sex, mgmt, idh), n/a where not known.

    follow_ups: those with a response or a date, by number. malformed: columns whose cell is neither
    blank nor a date; they count as missing here. line: of the table, its header being line 1.
    """

    patient_id: str
    columns: Mapping[str, str]
    surgery: date | None
    rt_start: date | None
    rt_end: date | None
    topometric_mri: date | None
    follow_ups: tuple[FollowUp, ...]
    malformed: tuple[str, ...] = ()
    line: int = 0


def read_clinical_table(path: Path) -> tuple[ClinicalRow, ...]:
    """Read the comma-separated table as the archive distributes it.

    Raises CohortError: unreadable, a column missing, a ragged row, a row without a patient, a patient twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(io.StringIO(stream.read()), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError(
            f"the clinical table cannot be read as comma-separated UTF-8 text ({type(error).__name__}); "
            "give the CSV file that the archive distributes"
        ) from None
    header = lines[0] if lines else []
    visits = _visits(header)
    # blank lines, as spreadsheets leave them at the end, are no patients
    rows = [(number, cells) for number, cells in enumerate(lines[1:], start=2) if any(map(str.strip, cells))]
    _require_patients(header, rows)
    cells_of = [dict(zip(header, cells, strict=True)) for _, cells in rows]
    patients = tuple(_row(line, cells, visits) for (line, _), cells in zip(rows, cells_of, strict=True))
    _warn_of_lost_cells(cells_of, patients)
    return patients


def parse_date(cell: str) -> date | None:
    """The date of a cell written M/D/YY, a year of the 2000s; None where it is blank (a space, here).

    >>> parse_date("5/6/04")
    datetime.date(2004, 5, 6)

    Raises ValueError: anything else.
    """
    if not cell.strip():
        return None
    match = _DATE.fullmatch(cell.strip())
    if match is None:
        raise ValueError("not M/D/YY")
    month, day, year = (int(part) for part in match.groups())
    return date(2000 + year, month, day)


def _visits(header: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Names of the response's and the date's column, by the visit's number."""
    missing = [column for column in _NEEDED if column not in header]
    responses = {int(match[1]): match[0] for name in header if (match := _RESPONSE.fullmatch(name))}
    dates = {int(match[1]): match[0] for name in header if (match := _VISIT_DATE.fullmatch(name))}
    if missing or not responses or responses.keys() != dates.keys():
        absent = missing or ["Response_1st_fup, Anonym1st_fup and so on in pairs"]
        raise CohortError(
            f"the clinical table lacks columns: {', '.join(absent)}; give the CSV file of "
            "Burdenko-GBM-Progression as the archive distributes it"
        )
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise CohortError(f"the clinical table has {len(repeated)} column(s) twice; keep one of each")
    return {number: (responses[number], dates[number]) for number in sorted(responses)}


def _require_patients(header: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]) -> None:
    # lines are named, never patients: the message may be logged
    ragged = [number for number, cells in rows if len(cells) != len(header)]
    if ragged or not rows:
        told = f"lines {', '.join(map(str, ragged))} have" if ragged else "no line has"
        raise CohortError(f"the clinical table: {told} {'not ' if ragged else ''}a cell under every column")
    position = header.index(PATIENT)
    lines_of: dict[str, list[int]] = {}
    for number, cells in rows:
        lines_of.setdefault(cells[position].strip(), []).append(number)
    if "" in lines_of:
        raise CohortError(f"the clinical table: no {PATIENT} on lines {', '.join(map(str, lines_of['']))}")
    repeated = [lines for lines in lines_of.values() if len(lines) > 1]
    if repeated:
        told = "; ".join(", ".join(map(str, lines)) for lines in repeated)
        raise CohortError(f"the clinical table lists a patient twice (lines {told}); keep one row a patient")


def _row(line: int, cells: Mapping[str, str], visits: Mapping[int, tuple[str, str]]) -> ClinicalRow:
    used = [SURGERY, RT_START, RT_END, TOPOMETRIC_MRI, *(on for _, on in visits.values())]
    dates: dict[str, date | None] = dict.fromkeys(used)
    malformed = []
    for column in used:
        try:
            dates[column] = parse_date(cells[column])
        except ValueError:
            malformed.append(column)
    follow_ups = (
        FollowUp(number, _words(cells[response]), dates[on]) for number, (response, on) in visits.items()
    )
    return ClinicalRow(
        patient_id=cells[PATIENT].strip(),
        columns=_described(cells),
        surgery=dates[SURGERY],
        rt_start=dates[RT_START],
        rt_end=dates[RT_END],
        topometric_mri=dates[TOPOMETRIC_MRI],
        follow_ups=tuple(visit for visit in follow_ups if visit.responses or visit.on),
        malformed=tuple(malformed),
        line=line,
    )


def _words(cell: str) -> frozenset[str]:
    return frozenset(word for part in cell.lower().split(",") if (word := " ".join(part.split())))


def _described(cells: Mapping[str, str]) -> dict[str, str]:
    told = {name: (cells[column].strip(), known) for name, (column, known) in _DESCRIBED.items()}
    return {name: cell if known.fullmatch(cell) else MISSING for name, (cell, known) in told.items()}


def _warn_of_lost_cells(rows: Sequence[Mapping[str, str]], described: Sequence[ClinicalRow]) -> None:
    for name, (column, _) in _DESCRIBED.items():
        lost = sum(
            row.columns[name] == MISSING and cells[column].strip() not in _UNKNOWN
            for cells, row in zip(rows, described, strict=True)
        )
        if lost:
            logger.warning(
                "clinical table: %d cell(s) of %s are taken as n/a: not of its words", lost, column
            )
