"""The tables of CFB-GBM: the newest version of each that is there, and what they say of each patient."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ricenet.cohort.participants import MISSING
from ricenet.runtime.errors import CohortError

Table = Literal[
    "clinical_data", "mri_availability", "treatment_data", "treatment_imaging_availability", "rano_criteria"
]
Visit = Literal["t0", "t1", "t2"]

_COLUMNS: Mapping[Table, tuple[str, ...]] = {
    "clinical_data": ("id_patient", "age_at_t0 (years)", "gender"),
    "mri_availability": ("id_patient", "temporality", "time_diff_t0 (weeks)", "t1gd"),
    "treatment_data": ("id_patient", "delay_t0_to_radiotherapy (weeks)", "dose (Gy)", "fractions_number"),
    "treatment_imaging_availability": ("id_patient", "temporality", "gtv", "rtdose"),
    "rano_criteria": ("id_patient", "rano_t0_to_t1", "rano_t0_to_t2"),
}
"""Those that are read; the versions differ in others."""

_OPTIONAL: frozenset[Table] = frozenset({"rano_criteria"})
_NAME = re.compile(r"CFB-GBM_(?P<table>[a-z_]+?)_v(?P<version>\d+)_(?P<day>\d{8})\.tsv")
_NUMBER = re.compile(r"\d+")
_DECIMAL = re.compile(r"\d+(\.\d+)?")
_RANO = re.compile(r"[A-Z][A-Za-z ]+ \((CR|PR|MR|SD|PD)\)")
_GENERATED = "genSegmentation"
"""Of a target that nobody drew for the planning, so that it need not lie on the dose's grid."""

_VISITS: tuple[Visit, ...] = get_args(Visit)

_AVAILABLE = ("0 or 1", re.compile("[01]"))
_RANO_OR_EMPTY = ("a RANO category or empty", re.compile(f"({_RANO.pattern})?"))
_EXPECTED = {
    "t1gd": _AVAILABLE,
    "gtv": _AVAILABLE,
    "rtdose": _AVAILABLE,
    "time_diff_t0 (weeks)": ("a whole number", _NUMBER),
    "delay_t0_to_radiotherapy (weeks)": ("a whole number or empty", re.compile(r"\d*")),
    "fractions_number": ("a positive whole number or empty", re.compile(r"([1-9]\d*)?")),
    "dose (Gy)": ("a positive number or empty", re.compile(r"([1-9]\d*(\.\d+)?)?")),
    "rano_t0_to_t1": _RANO_OR_EMPTY,
    "rano_t0_to_t2": _RANO_OR_EMPTY,
}
"""What a cell of a column has to be, in words and as a pattern."""

_Cells = Mapping[str, str]


@dataclass(frozen=True)
class CfbPatient:
    """What the tables say of one patient; None and empty where they say nothing.

    t1gd_weeks: weeks from t0, of the visits with a contrast-enhanced T1. has_dose, has_gtv: at t0, the
    target that a person drew for the planning.
    weeks_to_rt: from t0 to the start of radiotherapy. rano: since t0, by visit: CR, PR, MR, SD or PD.
    """

    number: int
    columns: Mapping[str, str]
    t1gd_weeks: Mapping[Visit, int]
    has_dose: bool
    has_gtv: bool
    prescription_gy: float | None
    fractions: int | None
    weeks_to_rt: int | None
    rano: Mapping[Visit, str]


@dataclass(frozen=True)
class CfbTables:
    """patients: by number. files: the names of the tables that were used."""

    patients: tuple[CfbPatient, ...]
    files: tuple[str, ...]
    has_rano: bool


def read_tables(folder: Path) -> CfbTables:
    """Read the newest version of each table in a folder.

    Raises CohortError: a table or a column is missing, a cell is not what its column holds, or a key is
    there twice; says which table and line.
    """
    newest = newest_tables(folder)
    tables: dict[Table, dict[tuple[int, str], _Cells]] = {
        table: _keyed(table, _rows(table, newest[table])) if table in newest else {} for table in _COLUMNS
    }
    numbers = sorted({number for rows in tables.values() for number, _ in rows})
    patients = tuple(_patient(number, tables) for number in numbers)
    files = tuple(path.name for _, path in sorted(newest.items()))
    return CfbTables(patients, files, has_rano="rano_criteria" in newest)


def newest_tables(folder: Path) -> dict[Table, Path]:
    """By table its file of the highest version, and of the latest day within a version.

    Raises CohortError: one is missing; only the RANO table may be.
    """
    found: dict[str, list[tuple[int, str, Path]]] = {}
    for path in folder.glob("*.tsv"):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(match["table"], []).append((int(match["version"]), match["day"], path))
    missing = [table for table in _COLUMNS if table not in found and table not in _OPTIONAL]
    if missing:
        raise CohortError(
            f"the folder of tables lacks {', '.join(missing)}; give the archive's tables with their own "
            f"names, such as CFB-GBM_{missing[0]}_v02_20260129.tsv"
        )
    return {table: max(found[table])[2] for table in _COLUMNS if table in found}


def _rows(table: Table, path: Path) -> Iterator[tuple[int, _Cells]]:
    """The lines that are not blank, numbered from the header's 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(io.StringIO(stream.read()), delimiter="\t", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError(
            f"{table}: cannot be read as tab-separated UTF-8 text ({type(error).__name__}); "
            "give the table as the archive distributes it"
        ) from None
    header = lines[0] if lines else []
    if missing := [column for column in _COLUMNS[table] if column not in header]:
        raise CohortError(f"{table}: lacks the column(s) {', '.join(missing)}; give the archive's own table")
    for number, cells in enumerate(lines[1:], start=2):
        if any(cell.strip() for cell in cells):
            if len(cells) != len(header):
                raise _fault(table, number, "has not one cell under each column")
            yield number, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _keyed(table: Table, rows: Iterable[tuple[int, _Cells]]) -> dict[tuple[int, str], _Cells]:
    """Sound rows by patient and visit; where a table has one row a patient, that is t0."""
    keyed: dict[tuple[int, str], _Cells] = {}
    for line, cells in rows:
        visit = cells.get("temporality", "t0")
        if not _NUMBER.fullmatch(cells["id_patient"]):
            raise _fault(table, line, "id_patient is no number")
        if visit not in _VISITS:
            raise _fault(table, line, "temporality is none of t0, t1, t2")
        for column in _COLUMNS[table]:
            _require_cell(table, line, column, cells[column])
        key = int(cells["id_patient"]), visit
        if key in keyed:
            raise _fault(table, line, "lists a patient's visit a second time")
        keyed[key] = cells
    return keyed


def _require_cell(table: Table, line: int, column: str, cell: str) -> None:
    if column in _EXPECTED:
        told, pattern = _EXPECTED[column]
        if not pattern.fullmatch(cell):
            raise _fault(table, line, f"{column} is not {told}")


def _fault(table: Table, line: int, found: str) -> CohortError:
    # without the cell, whatever it may hold
    return CohortError(f"{table}, line {line}: {found}; give the table as the archive distributes it")


def _patient(number: int, tables: Mapping[Table, Mapping[tuple[int, str], _Cells]]) -> CfbPatient:
    clinical = tables["clinical_data"].get((number, "t0"), {})
    treatment = tables["treatment_data"].get((number, "t0"), {})
    imaging = tables["treatment_imaging_availability"].get((number, "t0"), {})
    rano = tables["rano_criteria"].get((number, "t0"), {})
    scans = {visit: tables["mri_availability"].get((number, visit), {}) for visit in _VISITS}
    age, sex = clinical.get("age_at_t0 (years)", ""), clinical.get("gender", "")
    prescription = treatment.get("dose (Gy)") or None
    fractions = treatment.get("fractions_number") or None
    weeks_to_rt = treatment.get("delay_t0_to_radiotherapy (weeks)") or None
    return CfbPatient(
        number=number,
        columns={
            "age_years": age if _DECIMAL.fullmatch(age) else MISSING,
            "sex": sex if sex in {"F", "M"} else MISSING,
        },
        t1gd_weeks={
            visit: int(scan["time_diff_t0 (weeks)"])
            for visit, scan in scans.items()
            if scan.get("t1gd") == "1"
        },
        has_dose=imaging.get("rtdose") == "1",
        has_gtv=imaging.get("gtv") == "1" and imaging.get("gtv_type") != _GENERATED,
        prescription_gy=None if prescription is None else float(prescription),
        fractions=None if fractions is None else int(fractions),
        weeks_to_rt=None if weeks_to_rt is None else int(weeks_to_rt),
        rano={visit: _category(rano.get(f"rano_t0_to_{visit}", "")) for visit in _VISITS if visit != "t0"},
    )


def _category(cell: str) -> str:
    match = _RANO.fullmatch(cell)
    return match[1] if match else ""
