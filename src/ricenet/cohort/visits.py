"""Visits of patients with several follow-ups: BIDS' table of a patient's sessions, and every fault in it.

Source: BIDS 1.10, sessions file (`sub-<label>/sub-<label>_sessions.tsv`), with columns of ours. A patient
without such a table has one visit, in `ses-event`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic import ValidationInfo as Info

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.layout import is_there
from ricenet.cohort.participants import MISSING, NO_WORD, LabelSource, Participant
from ricenet.cohort.problems import Finding, Problem
from ricenet.cohort.tsv import read_tsv
from ricenet.cohort.visit_names import sample_name, sessions_table, visit_of_session, visit_session
from ricenet.runtime.files import write_json, write_text
from ricenet.runtime.tables import table_text
from ricenet.vocabulary import LABELS, LabelName

DAYS = "days_since_rt_end"
COLUMNS = ("session_id", DAYS, "label")
"""Of a table of visits; `label_source` may stand beside them, and others are ignored."""

DESCRIPTIONS = {
    "session_id": "Session. ses-event, ses-event2 and so on are follow-up visits in the order of time.",
    DAYS: "Days from the end of radiotherapy to the visit.",
    "label": "What the lesion was: recurrence or rice (radiation-induced contrast enhancement).",
    "label_source": "How that is known.",
}
"""Of the columns that `write_sessions` writes."""

_CORRECT = "Correct it, or write n/a where it is not known."
_ADD_ROW = "Add a row for it, or remove the folder."
_ORDER = "Number visits by time: ses-event, ses-event2, ses-event3; or correct the days."
_REFUSALS = {
    "days": f"{DAYS} is no whole number of days",
    "label_source": "label_source is none of biopsy, follow_up, synthetic, n/a",
}
"""Of each field, what a refused cell is said to be; never the cell itself, which may identify a patient."""

_DECLARED = "label_names"
"""Under which the validation is told the declared classes."""


class Visit(BaseModel):
    """One follow-up of a patient. days: since the end of radiotherapy. label: of the lesion at that time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)] = 1
    days: int | None = None
    label: LabelName | None = None
    label_source: LabelSource | None = None

    @field_validator("label")
    @classmethod
    def _declared(cls, label: str | None, info: Info) -> str | None:
        declared: Sequence[str] | None = (info.context or {}).get(_DECLARED)
        if label is not None and declared is not None and label not in declared:
            raise ValueError("not declared")
        return label


@dataclass(frozen=True)
class Visits:
    """By patient, those who have a table without a fault. notes: no faults, but of no use as they are."""

    of_patients: Mapping[str, tuple[Visit, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()

    def of(self, patient: str) -> tuple[Visit, ...]:
        """A patient's visits in time order; one of which nothing is known, where there is no table."""
        return self.of_patients.get(patient, (Visit(),))

    def samples(self, patients: Sequence[str]) -> dict[str, str]:
        """Every visit's sample, with its patient."""
        return {sample_name(one, visit.number): one for one in patients for visit in self.of(one)}


def read_visits(
    root: Path,
    participants: Mapping[str, Participant],
    folders: Sequence[str],
    label_names: Sequence[str] | None = LABELS,
) -> Visits:
    """Read the tables of all patients' folders; all errors are collected, none is raised.

    participants: rows of participants.tsv, whose label and days are those of the first labelled visit.
    label_names: the declared classes; another label is an error of its row. None: of tables whose labels
    are of no concern, or were checked before.
    """
    found: dict[str, tuple[Visit, ...]] = {}
    problems, notes = list[Problem](), list[Problem]()
    for patient in folders:
        folder = root / patient
        problems += _of_others(folder, patient)
        table = folder / sessions_table(patient)
        read = _read_table(table, label_names)
        if read is None:
            notes += _unused(folder, patient)
            continue
        visits, findings = read
        findings += [*_out_of_time(visits), *_against(visits, participants.get(patient))]
        findings += _against_folders(folder, visits, folders)
        problems += [finding.of(patient, f"{patient}/{table.name}") for finding in findings]
        if not findings:
            found[patient] = tuple(visits)
    return Visits(found, tuple(problems), tuple(notes))


def first_labelled(visits: Sequence[Visit]) -> Visit | None:
    """The first event: the first visit with a label."""
    return next((visit for visit in visits if visit.label is not None), None)


def with_row(visits: Sequence[Visit], row: Participant) -> tuple[Visit, ...]:
    """The visits with what participants.tsv alone says of the first event, or of the first visit."""
    event = first_labelled(visits) or visits[0]
    known = event.model_copy(
        update={
            "label": event.label or row.label,
            "days": row.interval_days if event.days is None else event.days,
        }
    )
    return tuple(known if visit == event else visit for visit in visits)


def days_of(subject: CheckedSubject, row: Participant) -> int | None:
    """Days from the end of radiotherapy to a visit. row: the patient's, whose event the only visit is."""
    if subject.days_rt_end_to_event is None and subject.visit == 1:
        return row.interval_days
    return subject.days_rt_end_to_event


def write_sessions(folder: Path, visits: Sequence[Visit], others: Sequence[str] = ()) -> None:
    """Write a patient's table of visits, and what its columns mean.

    folder: the patient's, by whose name the files are called. others: sessions that are no
    visit, which BIDS lists too, without `ses-`.
    """
    path = folder / sessions_table(folder.name)
    listed: list[tuple[object, ...]] = [(f"ses-{session}", None, None, None) for session in others]
    listed += [(f"ses-{visit_session(v.number)}", v.days, v.label, v.label_source) for v in visits]
    rows = [[MISSING if cell is None else cell for cell in row] for row in listed]
    write_text(path, table_text(list(DESCRIPTIONS), rows))
    further = sorted({str(visit.label) for visit in visits} - {*LABELS, str(None)})
    of_others = {"label": f" Or of another declared kind: {', '.join(further)}."} if further else {}
    said = {name: text + of_others.get(name, "") for name, text in DESCRIPTIONS.items()}
    write_json(path.with_suffix(".json"), {name: {"Description": text} for name, text in said.items()})


def _read_table(path: Path, label_names: Sequence[str] | None) -> tuple[list[Visit], list[Finding]] | None:
    """Visits by number, and faults of cells; None: no table, or one that says nothing of visits."""
    lines = read_tsv(path)
    if lines is None:
        return None
    if isinstance(lines, Finding):
        return [], [lines]
    header, *rows = lines.cells
    if DAYS not in header and not any(map(_is_later, path.parent.glob("ses-*"))):
        return None
    if missing := [column for column in COLUMNS if header.count(column) != 1]:
        found = f"column {', '.join(missing)} is missing or occurs twice in its first line"
        return [], [Finding(found, "Add it (the table is separated by tabs; n/a where unknown).")]
    visits: dict[int, Visit] = {}
    findings: list[Finding] = []
    for line, cells in enumerate(rows, start=2):
        named = dict(zip(header, cells, strict=False))
        if not any(cells) or (number := visit_of_session(named.get("session_id", ""))) is None:
            # other sessions of BIDS, such as that after surgery
            continue
        parsed = _parse(number, named, len(cells) == len(header), number in visits, label_names)
        if isinstance(parsed, Visit):
            visits[number] = parsed
        else:
            findings += [finding.on_line(line) for finding in parsed]
    if not visits and not findings:
        findings.append(Finding("names no visit", "Write one row a visit: ses-event, ses-event2 and so on."))
    return [visits[number] for number in sorted(visits)], findings


def _parse(
    number: int,
    cells: Mapping[str, str],
    complete: bool,
    twice: bool,
    label_names: Sequence[str] | None,
) -> Visit | list[Finding]:
    if not complete:
        remedy = "Separate cells by single tabs, with n/a where a value is missing."
        return [Finding("as many cells as columns are needed", remedy)]
    if twice:
        return [Finding(f"ses-{visit_session(number)} has two rows", "Keep one row a visit.")]
    columns = {"days": DAYS, "label": "label", "label_source": "label_source"}
    texts = {name: cells.get(column, MISSING) for name, column in columns.items()}
    known = {name: text for name, text in texts.items() if text != MISSING}
    try:
        return Visit.model_validate({**known, "number": number}, context={_DECLARED: label_names})
    except ValidationError as error:
        return [Finding(_refusal(str(e["loc"][0]), label_names), _CORRECT) for e in error.errors()]


def _refusal(field: str, label_names: Sequence[str] | None) -> str:
    if field != "label":
        return _REFUSALS[field]
    return f"label is none of {', '.join((*label_names, MISSING))}" if label_names else f"label {NO_WORD}"


def _out_of_time(visits: Sequence[Visit]) -> Iterator[Finding]:
    """What days and numbers contradict."""
    known = [(visit.number, visit.days) for visit in visits if visit.days is not None]
    for number, days in known:
        if days < 0:
            found = f"ses-{visit_session(number)} lies {-days} day(s) before the end of radiotherapy"
            yield Finding(found, f"Correct {DAYS}, or give a scan before that end another session's name.")
    for (earlier, before), (later, days) in pairwise(known):
        pair = f"ses-{visit_session(earlier)} and ses-{visit_session(later)}"
        if days == before:
            yield Finding(f"{pair} are of the same day", "Keep one of them, or correct the days.")
        elif days < before:
            yield Finding(f"{pair} are out of order: {before - days} day(s) lie between them", _ORDER)
    for place, visit in enumerate(visits, start=1):
        if visit.number != place:
            found = f"ses-{visit_session(place)} is missing before ses-{visit_session(visit.number)}"
            yield Finding(found, "Number visits without a gap; name those not to be used in exclude.tsv.")
            return


def _against(visits: Sequence[Visit], row: Participant | None) -> Iterator[Finding]:
    """Where the first event is not what participants.tsv says of it."""
    event = first_labelled(visits) or (visits[0] if visits else None)
    if event is None or row is None:
        return
    session = f"ses-{visit_session(event.number)}"
    if event.label is not None and row.label not in (None, event.label):
        found = f"label of {session}, the first that has one, is not that of participants.tsv"
        yield Finding(found, "Make both alike, or write n/a in one of them.")
    if event.days is not None and row.interval_days not in (None, event.days):
        found = f"{DAYS} of {session}, the first event, is not days_rt_end_to_event of participants.tsv"
        yield Finding(found, "Make both alike, or write n/a in one of them.")


def _against_folders(folder: Path, visits: Sequence[Visit], folders: Sequence[str]) -> Iterator[Finding]:
    """Rows without a scan, scans without a row, and a participant who is called like a visit."""
    numbers = {visit.number for visit in visits}
    for visit in visits:
        if not (folder / f"ses-{visit_session(visit.number)}").is_dir():
            found = f"ses-{visit_session(visit.number)} has a row, but no folder with scans"
            yield Finding(found, "Add the folder, or remove the row.")
        if visit.number > 1 and (name := sample_name(folder.name, visit.number)) in folders:
            found = f"{name} is the name of a participant, too"
            yield Finding(found, "Give that participant another pseudonym: visits are called so.")
    for path in sorted(folder.glob("ses-*")):
        number = visit_of_session(path.name)
        if number is not None and number not in numbers and path.is_dir():
            yield Finding(f"{path.name} holds scans, but has no row", _ADD_ROW)


def _of_others(folder: Path, patient: str) -> Iterator[Problem]:
    for path in sorted(folder.glob("*_sessions.tsv")):
        if path.name != sessions_table(patient) and is_there(path):
            found = "a sessions table of another subject lies in this folder"
            # without the name, which may be a patient's
            yield Problem(patient, f"{patient}/*_sessions.tsv", found, f"Keep {patient}_sessions.tsv alone.")


def _unused(folder: Path, patient: str) -> Iterator[Problem]:
    """Visits that no table tells of are not used, as a note."""
    for path in sorted(filter(_is_later, folder.glob("ses-*"))):
        found = f"{path.name} is not used: no {sessions_table(patient)} tells of it"
        yield Problem(patient, f"{patient}/{path.name}", found, "Write that table, where it is a visit.")


def _is_later(path: Path) -> bool:
    return (visit_of_session(path.name) or 1) > 1
