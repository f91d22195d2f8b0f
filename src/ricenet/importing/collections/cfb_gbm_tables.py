"""The tables of CFB-GBM: the newest version of each that is there, and what they say of each patient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ricenet.cohort.participants import MISSING
from ricenet.importing.collections.collection import AS_DISTRIBUTED, Cells, read_archive_table
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

_ANYTHING = ("anything", re.compile(".*"))
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
    tables: dict[Table, dict[tuple[int, str], Cells]] = {table: {} for table in _COLUMNS}
    for table, path in newest.items():
        _, rows = read_archive_table(path, table, _COLUMNS[table], "\t")
        tables[table] = _keyed(table, rows)
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


def _keyed(table: Table, rows: Iterable[tuple[int, Cells]]) -> dict[tuple[int, str], Cells]:
    """Sound rows by patient and visit; where a table has one row a patient, that is t0."""
    keyed: dict[tuple[int, str], Cells] = {}
    for line, cells in rows:
        visit = cells.get("temporality", "t0")
        if not _NUMBER.fullmatch(cells["id_patient"]):
            raise _fault(table, line, "id_patient is no number")
        if visit not in _VISITS:
            raise _fault(table, line, "temporality is none of t0, t1, t2")
        for column in _COLUMNS[table]:
            expected, pattern = _EXPECTED.get(column, _ANYTHING)
            if not pattern.fullmatch(cells[column]):
                raise _fault(table, line, f"{column} is not {expected}")
        key = int(cells["id_patient"]), visit
        if key in keyed:
            raise _fault(table, line, "lists a patient's visit a second time")
        keyed[key] = cells
    return keyed


def _fault(table: Table, line: int, found: str) -> CohortError:
    # without the cell, whatever it may hold
    return CohortError(f"{table}, line {line}: {found}; {AS_DISTRIBUTED}")


def _patient(number: int, tables: Mapping[Table, Mapping[tuple[int, str], Cells]]) -> CfbPatient:
    def of(table: Table, visit: Visit = "t0") -> Cells:
        return tables[table].get((number, visit), {})

    clinical, treatment = of("clinical_data"), of("treatment_data")
    imaging, rano = of("treatment_imaging_availability"), of("rano_criteria")
    scans = {visit: of("mri_availability", visit) for visit in _VISITS}
    age, sex = clinical.get("age_at_t0 (years)", ""), clinical.get("gender", "")
    prescription, fractions = treatment.get("dose (Gy)"), treatment.get("fractions_number")
    weeks_to_rt = treatment.get("delay_t0_to_radiotherapy (weeks)")
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
        prescription_gy=float(prescription) if prescription else None,
        fractions=int(fractions) if fractions else None,
        weeks_to_rt=int(weeks_to_rt) if weeks_to_rt else None,
        rano={visit: _category(rano.get(f"rano_t0_to_{visit}", "")) for visit in _VISITS if visit != "t0"},
    )


def _category(cell: str) -> str:
    match = _RANO.fullmatch(cell)
    return match[1] if match else ""
