"""The clinical table of Burdenko-GBM-Progression, row by row, as it stands."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ricenet.cohort.participants import MISSING
from ricenet.importing.collections.collection import AS_DISTRIBUTED, Cells, read_archive_table
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
_NAME = "the clinical table"


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

    Raises CohortError: what `read_archive_table` says, no row at all, one without a patient, a patient twice.
    """
    header, rows = read_archive_table(path, _NAME, _NEEDED, ",")
    visits = _visits(header)
    _require_patients(rows)
    patients = tuple(_row(line, cells, visits) for line, cells in rows)
    for name, (column, _) in _DESCRIBED.items():
        unknown = [
            cells[column]
            for (_, cells), row in zip(rows, patients, strict=True)
            if row.columns[name] == MISSING
        ]
        if lost := sum(cell not in _UNKNOWN for cell in unknown):
            logger.warning(
                "clinical table: %d cell(s) of %s are taken as n/a: not of its words", lost, column
            )
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
    responses, dates = (
        {int(match[1]): match[0] for name in header if (match := pattern.fullmatch(name))}
        for pattern in (_RESPONSE, _VISIT_DATE)
    )
    if not responses or responses.keys() != dates.keys():
        pairs = "Response_1st_fup, Anonym1st_fup and so on in pairs"
        raise CohortError(f"{_NAME}: lacks the column(s) {pairs}; {AS_DISTRIBUTED}")
    return {number: (responses[number], dates[number]) for number in sorted(responses)}


def _require_patients(rows: Sequence[tuple[int, Cells]]) -> None:
    if not rows:
        raise CohortError(f"{_NAME}: lists no patient; {AS_DISTRIBUTED}")
    lines_of: dict[str, list[int]] = {}
    for line, cells in rows:
        lines_of.setdefault(cells[PATIENT], []).append(line)
    if "" in lines_of:
        raise CohortError(f"{_NAME}: no {PATIENT} on lines {', '.join(map(str, lines_of['']))}")
    if repeated := [", ".join(map(str, lines)) for lines in lines_of.values() if len(lines) > 1]:
        raise CohortError(
            f"{_NAME}: lists a patient twice (lines {'; '.join(repeated)}); keep one row a patient"
        )


def _row(line: int, cells: Cells, visits: Mapping[int, tuple[str, str]]) -> ClinicalRow:
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
        patient_id=cells[PATIENT],
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


def _described(cells: Cells) -> dict[str, str]:
    return {
        name: cells[column] if known.fullmatch(cells[column]) else MISSING
        for name, (column, known) in _DESCRIBED.items()
    }
