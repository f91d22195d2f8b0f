"""What is known of a subject beside its images: columns of the table, dates, properties of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import MISSING, read_participants
from ricenet.screening.guards.raw_fingerprint import SIDECAR, Property, RawLook
from ricenet.vocabulary import MODALITIES

NOT_PROPERTIES = ("participant_id", "label", "label_source", "subset")

Properties = Mapping[str, Mapping[str, Property]]
"""By the property's name, then by participant_id. Values stay within the guard: they may identify."""

PropertyKind = Literal["table", "file", "sidecar"]
"""Where a property was found: the participants table, a scan's file, or the dose's sidecar."""


def kind_of(name: str) -> PropertyKind:
    """The kind of a property, by its name."""
    source = name.partition(":")[0]
    if source == SIDECAR:
        return "sidecar"
    return "file" if source in MODALITIES else "table"


def properties_of(root: Path, looks: Mapping[str, RawLook]) -> Properties:
    """All properties of the subjects that were looked at; a column's name alone is ever shown."""
    found: dict[str, dict[str, Property]] = {}
    for subject, look in looks.items():
        for name, value in look.properties.items():
            found.setdefault(name, {})[subject] = value
    return {**_columns(root / PARTICIPANTS_TABLE, looks), **found}


def _columns(path: Path, looks: Mapping[str, RawLook]) -> dict[str, dict[str, Property]]:
    table = read_participants(path)
    rows = {subject: cells for subject, cells in table.cells.items() if subject in looks}
    names = [name for name in next(iter(rows.values()), {}) if name not in NOT_PROPERTIES]
    columns: dict[str, dict[str, Property]] = {}
    for name in names:
        cells = {subject: _cell(row[name]) for subject, row in rows.items()}
        columns |= _readings(f"column {name}", cells)
    if "days_rt_end_to_event" not in names:
        days = {subject: table.participants[subject].interval_days for subject in rows}
        columns["days between the dates"] = {s: None if d is None else float(d) for s, d in days.items()}
    return columns


def _readings(name: str, cells: Mapping[str, str | None]) -> dict[str, dict[str, Property]]:
    """A column as words, as numbers where all its cells are some, and of dates the day and the year."""
    readings: dict[str, dict[str, Property]] = {name: dict(cells)}
    given = {subject: text for subject, text in cells.items() if text is not None}
    if not given:
        return readings
    numbers = {subject: _number(text) for subject, text in given.items()}
    days = {subject: _date(text) for subject, text in given.items()}
    if all(value is not None for value in numbers.values()):
        readings[f"{name}, as a number"] = dict(numbers)
    if all(value is not None for value in days.values()):
        readings[f"{name}, as a day"] = {s: float(d.toordinal()) for s, d in days.items() if d is not None}
        readings[f"{name}, its year"] = {s: str(d.year) for s, d in days.items() if d is not None}
    return readings


def _cell(text: str | None) -> str | None:
    stripped = (text or "").strip()
    return None if stripped in ("", MISSING) else stripped


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", text) else None


def _date(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
