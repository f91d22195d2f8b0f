"""What is known of a subject beside its images: columns of the table, dates, properties of files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import MISSING, REFERENCE_STANDARD, read_participants
from ricenet.cohort.raw_record import SIDECAR, RawRecord
from ricenet.cohort.scan_fingerprint import Property
from ricenet.cohort.table_variables import INTERVAL, number_in

NOT_PROPERTIES = ("participant_id", "label", *REFERENCE_STANDARD, "subset")
COLUMN, BETWEEN_DATES = "column", "days between the dates"

Properties = Mapping[str, Mapping[str, Property]]
"""By the property's name, then by participant_id. Values stay within the guard: they may identify."""

PropertyKind = Literal["table", "file", "sidecar"]
"""Where a property was found: the participants table, a scan's file, or the dose's sidecar."""


def kind_of(name: str) -> PropertyKind:
    """The kind of a property, by its name."""
    if name.startswith((f"{COLUMN} ", BETWEEN_DATES)):
        return "table"
    return "sidecar" if name.startswith(f"{SIDECAR}: ") else "file"


def properties_of(root: Path, records: Mapping[str, RawRecord]) -> Properties:
    """All properties of the subjects that have a record; a column's name alone is ever shown."""
    found: dict[str, dict[str, Property]] = {}
    for subject, record in records.items():
        for name, value in record.properties.items():
            found.setdefault(name, {})[subject] = value
    return {**_columns(root / PARTICIPANTS_TABLE, records), **found}


def _columns(path: Path, records: Mapping[str, RawRecord]) -> dict[str, dict[str, Property]]:
    table = read_participants(path, None)
    rows = {subject: cells for subject, cells in table.cells.items() if subject in records}
    names = [name for name in table.columns if name not in NOT_PROPERTIES]
    columns: dict[str, dict[str, Property]] = {}
    for name in names:
        cells = {subject: _cell(row[name]) for subject, row in rows.items()}
        columns |= _readings(f"{COLUMN} {name}", cells)
    if INTERVAL not in names:
        days = {subject: table.participants[subject].interval_days for subject in rows}
        columns[BETWEEN_DATES] = {s: None if d is None else float(d) for s, d in days.items()}
    return columns


def _readings(name: str, cells: Mapping[str, str | None]) -> dict[str, dict[str, Property]]:
    """A column as words, as numbers where all its cells are some, and of dates the day and the year."""
    readings: dict[str, dict[str, Property]] = {name: dict(cells)}
    given = {subject: text for subject, text in cells.items() if text is not None}
    numbers = {s: number for s, text in given.items() if (number := number_in(text)) is not None}
    days = {s: day for s, text in given.items() if (day := _date(text)) is not None}
    if given and len(numbers) == len(given):
        readings[f"{name}, as a number"] = dict(numbers)
    if given and len(days) == len(given):
        readings[f"{name}, as a day"] = {s: float(day.toordinal()) for s, day in days.items()}
        readings[f"{name}, its year"] = {s: str(day.year) for s, day in days.items()}
    return readings


def _cell(text: str) -> str | None:
    return None if text.strip() in ("", MISSING) else text.strip()


def _date(text: str) -> date | None:
    with contextlib.suppress(ValueError):
        # Python reads other forms too, such as 20240131
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    return None
