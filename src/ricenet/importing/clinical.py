"""The clinical table that a user may bring along: labels and what else is known of each patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ricenet.cohort.participants import MISSING, parse_row
from ricenet.importing.dicom.dates import can_be_true
from ricenet.importing.spreadsheets import PATIENT_ID, Fault, Row, problem_list, read_spreadsheet, repeated
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import LABELS

COLUMNS = {
    "label": "What the new lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known: biopsy or follow_up.",
    "subset": "train (cross-validation) or test (independent).",
    "site": "Where the patient was treated or scanned.",
    "age_years": "Age in years.",
    "sex": "Sex.",
    "mgmt": "MGMT promoter methylation.",
    "idh": "IDH mutation.",
    "rt_modality": "Radiation of the treatment: photon, proton or ion; by the plan, where it says so.",
    "reirradiation": "Whether this was not the first course of radiotherapy of the head: yes or no.",
    "reference_reader": "Who decided on the label: a code such as A, or A+B for a consensus; never a name.",
    "reference_days_after_event": "Days from the event to the decision on the label.",
    "label_certainty": "How sure the label is: definite, probable or possible.",
    "label_second_reader": "The label by a second reader who did not know the first: recurrence or rice.",
}
"""Columns that reach the cohort, and what they mean there; the rest are read and left behind."""

RT_END = "rt_end_date"

_FREE = ("site", "sex", "mgmt", "idh")
"""Columns that may hold any word."""

_LONGEST = 32
_IDENTIFYING = re.compile(
    r"\^"  # DICOM's separator of a name's parts
    r"|\b\d{4}[-./]\d{1,2}[-./]\d{1,2}\b|\b\d{1,2}[-./]\s?\d{1,2}[-./]\s?\d{2,4}\b|\b(19|20)\d{6}\b"
    r"|\b\d{1,2}\W?\s?(jan|feb|m[aä]r|apr|ma[iy]|ju[nl]|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\W?\s?\d{2,4}\b",
    re.IGNORECASE,
)
"""A name or a date that slipped into a column which reaches the cohort."""


@dataclass(frozen=True)
class ClinicalRow:
    """What is known of a patient. columns: of participants.tsv, where known. rt_end: never written.

    line: of the table, its header being line 1.
    """

    columns: Mapping[str, str]
    rt_end: date | None
    line: int = 0


NOTHING_KNOWN = ClinicalRow({}, None)


@dataclass(frozen=True)
class ClinicalTable:
    """Rows by patient_id; one row at least."""

    rows: Mapping[str, ClinicalRow]

    @property
    def present(self) -> tuple[str, ...]:
        """Columns that say something of somebody, in the order of the cohort's table."""
        return tuple(name for name in COLUMNS if any(name in row.columns for row in self.rows.values()))

    @property
    def dates_radiotherapy(self) -> bool:
        """Whether the end of radiotherapy is known of anybody."""
        return any(row.rt_end is not None for row in self.rows.values())


def read_clinical(path: Path, label_names: Sequence[str] = LABELS) -> ClinicalTable:
    """Read a table of patient_id and any of COLUMNS and rt_end_date; an empty cell or n/a is not known.

    label_names: the declared classes.
    Raises CohortError: not a table, or cells that the cohort would refuse, all of them listed by line.
    """
    table = read_spreadsheet(path, [PATIENT_ID], [*COLUMNS, RT_END])
    faults = list(table.faults)
    rows: dict[str, ClinicalRow] = {}
    for row in table.rows:
        of_row = _faults(row, label_names)
        faults += [Fault((row.line,), text) for text in of_row]
        if not of_row:
            rows[row.cells[PATIENT_ID]] = _parsed(row)
    ids = ((row.cells[PATIENT_ID], row.line) for row in table.rows)
    faults += repeated(ids, "the same patient_id. Keep one row a patient")
    if faults:
        raise CohortError(problem_list(path, sorted(faults)))
    return ClinicalTable(rows)


def _faults(row: Row, label_names: Sequence[str]) -> list[str]:
    faults = [] if row.cells[PATIENT_ID] else ["patient_id is empty. Fill it in"]
    faults += [
        f"{name} holds a name, a date or more than {_LONGEST} characters, and would reach the cohort. "
        "Write a short word"
        for name in _FREE
        if len(row.cells[name]) > _LONGEST or _IDENTIFYING.search(row.cells[name])
    ]
    rt_end = _day(row.cells[RT_END])
    if rt_end is not None and not can_be_true(rt_end):
        faults.append(
            f"{RT_END} cannot be true: too early, ahead, or a placeholder. Correct it, or leave it empty"
        )
    # read as a row of the cohort's own table, so that both refuse the same
    needed = {name: row.cells[name] or MISSING for name in ("label", "label_source", "subset")}
    parsed = parse_row({"participant_id": "sub-001", **_known(row), **needed}, label_names)
    if isinstance(parsed, list):
        faults += [f"{finding.found}. {finding.remedy}" for finding in parsed]
    return faults


def _known(row: Row) -> dict[str, str]:
    return {
        name: cell for name, cell in row.cells.items() if name != PATIENT_ID and cell not in ("", MISSING)
    }


def _day(cell: str) -> date | None:
    try:
        return date.fromisoformat(cell)
    except ValueError:
        return None


def _parsed(row: Row) -> ClinicalRow:
    known = _known(row)
    rt_end = known.pop(RT_END, None)
    return ClinicalRow(known, None if rt_end is None else date.fromisoformat(rt_end), row.line)
