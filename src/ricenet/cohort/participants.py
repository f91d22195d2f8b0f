"""The participants table: a row's model, and reading `participants.tsv` with every error in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic import ValidationInfo as Info

from ricenet.cohort.problems import Finding, Problem
from ricenet.cohort.tsv import read_tsv
from ricenet.vocabulary import LABELS, LabelName

LabelSource = Literal["biopsy", "follow_up", "synthetic"]
Subset = Literal["train", "test"]
RtModality = Literal["photon", "proton", "ion"]
Reirradiation = Literal["no", "yes"]
Certainty = Literal["definite", "probable", "possible"]

CERTAINTY = "label_certainty"
REFERENCE_STANDARD = (
    "label_source",
    "reference_reader",
    "reference_days_after_event",
    CERTAINTY,
    "label_second_reader",
)
"""Columns that say how a label is known. They follow from it, so none may be an input or a property."""

MISSING = "n/a"
REQUIRED_COLUMNS = ("participant_id", "label", "label_source", "subset")
PARTICIPANT_ID = re.compile(r"sub-[A-Za-z0-9]+")
READER = re.compile(r"[A-Z][0-9]{0,2}(\+[A-Z][0-9]{0,2}){0,3}")
"""A reader's code, or those of a consensus: too short for a name."""

_DECLARED = "label_names"
"""Under which the validation is told the declared classes."""

NO_WORD = "is no lower-case word"
"""Of a label, where none are declared."""

_CORRECT = "Correct it, or write n/a where it is not known."
_WORD = "Write one of them, in lower case."
_REFUSALS = {
    "label_source": ("is none of biopsy, follow_up, synthetic, n/a", _WORD),
    "subset": ("is none of train, test, n/a", _WORD),
    "rt_modality": ("is none of photon, proton, ion, n/a", _WORD),
    "reirradiation": ("is none of no, yes, n/a", _WORD),
    "age_years": ("is no number from 0 to 130", _CORRECT),
    "rt_end_date": ("is no ISO date (YYYY-MM-DD)", _CORRECT),
    "event_date": ("is no ISO date (YYYY-MM-DD)", _CORRECT),
    "days_rt_end_to_event": ("is no whole number of days, 0 or more", _CORRECT),
    "reference_reader": (
        "is no reader's code: a capital letter, with up to two digits (A, B2), and + between those of a "
        "consensus (A+B)",
        "Give each reader such a code, and keep who it is outside of the cohort.",
    ),
    "reference_days_after_event": ("is no whole number of days, 0 or more", _CORRECT),
    "label_certainty": ("is none of definite, probable, possible, n/a", _WORD),
}
"""Of each column, what a refused cell is said to be; never the cell itself, which may identify a patient."""


def _iso_date(value: Any) -> Any:
    # pydantic alone would read 20240131 as seconds since 1970
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("not YYYY-MM-DD")
    return value


def _not_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("empty")
    return value


IsoDate = Annotated[date, BeforeValidator(_iso_date)]
Text = Annotated[str, BeforeValidator(_not_empty)]


class ChronologyError(ValueError):
    """Two columns of one row contradict each other in time."""


class Participant(BaseModel):
    """One row of `participants.tsv`; None where it says `n/a`. Further columns are ignored (BIDS)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    participant_id: Annotated[str, Field(pattern=f"^{PARTICIPANT_ID.pattern}$")]
    label: LabelName | None
    label_source: LabelSource | None
    subset: Subset | None
    site: Text | None = None
    scanner: Text | None = None
    age_years: Annotated[float, Field(ge=0, le=130, allow_inf_nan=False)] | None = None
    sex: Text | None = None
    mgmt: Text | None = None
    idh: Text | None = None
    rt_modality: RtModality | None = None
    reirradiation: Reirradiation | None = None
    rt_end_date: IsoDate | None = None
    event_date: IsoDate | None = None
    days_rt_end_to_event: Annotated[int, Field(ge=0)] | None = None
    reference_reader: Annotated[str, Field(pattern=f"^{READER.pattern}$")] | None = None
    reference_days_after_event: Annotated[int, Field(ge=0)] | None = None
    label_certainty: Certainty | None = None
    label_second_reader: LabelName | None = None

    @field_validator("label", "label_second_reader")
    @classmethod
    def _declared(cls, label: str | None, info: Info) -> str | None:
        declared = (info.context or {}).get(_DECLARED, LABELS)
        if None not in (label, declared) and label not in declared:
            raise ValueError("not declared")
        return label

    @property
    def interval_days(self) -> int | None:
        """Days from the end of radiotherapy to the event: by their column, or else by the two dates."""
        if self.days_rt_end_to_event is not None or self.rt_end_date is None or self.event_date is None:
            return self.days_rt_end_to_event
        return (self.event_date - self.rt_end_date).days

    @field_validator("event_date")
    @classmethod
    def _after_radiotherapy(cls, event: date | None, info: Info) -> date | None:
        rt_end = info.data.get("rt_end_date")
        if event and rt_end and event < rt_end:
            raise ChronologyError(f"event_date lies {(rt_end - event).days} day(s) before rt_end_date")
        return event

    @field_validator("days_rt_end_to_event")
    @classmethod
    def _as_the_dates_say(cls, days: int | None, info: Info) -> int | None:
        rt_end, event = info.data.get("rt_end_date"), info.data.get("event_date")
        if days is not None and rt_end and event and days != (event - rt_end).days:
            raise ChronologyError(
                f"days_rt_end_to_event is not the {(event - rt_end).days} day(s) between the two dates"
            )
        return days


@dataclass(frozen=True)
class ParticipantsTable:
    """A participants table as far as it could be read.

    participants: the faultless rows, by participant_id. cells: of the same rows, the text in every column,
    those included that `Participant` ignores. listed: every participant_id that occurs, faulty rows
    included. columns: as the header names them; none where the table cannot say its subjects. notes: what
    was read past.
    """

    participants: Mapping[str, Participant]
    cells: Mapping[str, Mapping[str, str]]
    listed: frozenset[str]
    columns: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()


def read_participants(path: Path, label_names: Sequence[str] | None = LABELS) -> ParticipantsTable:
    """Read a tab-separated UTF-8 table; all errors of all rows are collected, none is raised.

    label_names: the declared classes; another label is an error of its row. None: of a table whose labels
    are of no concern, or were checked before.
    """
    lines = read_tsv(path)
    if lines is None:
        return _unusable(
            path, Finding("not found", "Write it beside the subjects' folders, one row a subject.")
        )
    if isinstance(lines, Finding):
        return _unusable(path, lines)
    header, *cells = lines.cells
    if faults := _header_findings(header):
        return _unusable(path, *faults)
    rows = {number: row for number, row in enumerate(cells, start=2) if any(row)}
    if not rows:
        return _unusable(path, Finding("no row under the header", "Write one row a subject."))
    return replace(_read_rows(path.name, header, rows, label_names), notes=lines.notes(path.name))


def parse_row(
    cells: Mapping[str, str], label_names: Sequence[str] | None = LABELS
) -> Participant | list[Finding]:
    """A row's participant, or all that is wrong with it. cells: text by column name."""
    values = {column: None if cell == MISSING else cell for column, cell in cells.items()}
    try:
        return Participant.model_validate(values, context={_DECLARED: label_names})
    except ValidationError as error:
        return [_finding(dict(e), label_names) for e in error.errors()]


def _unusable(path: Path, *findings: Finding) -> ParticipantsTable:
    problems = tuple(finding.of(None, path.name) for finding in findings)
    return ParticipantsTable({}, {}, frozenset(), (), problems)


def _header_findings(header: list[str]) -> list[Finding]:
    add = "Add it (the table is separated by tabs; n/a where unknown)."
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    findings = [Finding(f"column {column} is missing", add) for column in missing]
    for column in (column for column, count in Counter(header).items() if count > 1):
        # by position: in a table without a header these are a patient's cells
        positions = ", ".join(str(index) for index, name in enumerate(header, start=1) if name == column)
        remedy = "Keep one of them; the first line names the columns."
        findings.append(Finding(f"columns {positions} have the same name", remedy))
    return findings


def _read_rows(
    file: str, header: list[str], rows: Mapping[int, list[str]], label_names: Sequence[str] | None
) -> ParticipantsTable:
    id_column = header.index("participant_id")
    participants: dict[str, Participant] = {}
    cells_of: dict[str, Mapping[str, str]] = {}
    lines_of: dict[str, list[int]] = {}
    problems: list[Problem] = []
    for line, cells in rows.items():
        subject = cells[id_column] if id_column < len(cells) else ""
        if not PARTICIPANT_ID.fullmatch(subject):
            # without the value: where an identifier is malformed, it may be a patient's name
            found = f"line {line}: participant_id is not sub- followed by letters and digits"
            problems.append(
                Problem(None, file, found, "Give the subject such a pseudonym, and its folder the same name.")
            )
            continue
        lines_of.setdefault(subject, []).append(line)
        cells_of[subject] = dict(zip(header, cells, strict=False))
        parsed = _parse_cells(cells_of[subject], line, len(cells), len(header), label_names)
        if isinstance(parsed, Participant):
            participants[subject] = parsed
        else:
            problems += [finding.of(subject, file) for finding in parsed]
    for subject, lines in lines_of.items():
        if len(lines) > 1:
            found = f"duplicate subject: listed on lines {', '.join(map(str, lines))}"
            problems.append(Problem(subject, file, found, "Keep one row a subject."))
    table = ParticipantsTable(participants, cells_of, frozenset(lines_of), tuple(header), ())
    return with_problems(table, problems)


def with_problems(table: ParticipantsTable, problems: list[Problem]) -> ParticipantsTable:
    """The table with further problems, and without the rows that they concern."""
    faulty = {problem.subject for problem in problems}
    participants = {subject: row for subject, row in table.participants.items() if subject not in faulty}
    return replace(
        table,
        participants=participants,
        cells={subject: table.cells[subject] for subject in participants},
        problems=(*table.problems, *problems),
    )


def _parse_cells(
    named: Mapping[str, str], line: int, cells: int, columns: int, label_names: Sequence[str] | None
) -> Participant | list[Finding]:
    if cells != columns:
        found = f"line {line} has {cells} cell(s) under {columns} column(s)"
        return [Finding(found, "Separate cells by single tabs, with n/a where a value is missing.")]
    parsed = parse_row(named, label_names)
    return parsed if isinstance(parsed, Participant) else [finding.on_line(line) for finding in parsed]


def _finding(error: dict[str, Any], label_names: Sequence[str] | None) -> Finding:
    column = str(error["loc"][0])
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, ChronologyError):
        return Finding(str(reason), _CORRECT)
    if column in ("label", "label_second_reader"):
        found = f"is none of {', '.join((*label_names, MISSING))}" if label_names else NO_WORD
        return Finding(f"{column} {found}", _WORD)
    refusal, remedy = _REFUSALS.get(column, ("is empty", "Write a value, or n/a where it is missing."))
    return Finding(f"{column} {refusal}", remedy)
