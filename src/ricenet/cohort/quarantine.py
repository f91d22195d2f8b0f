"""The quarantine list: subjects that somebody took out of the cohort, each with a reason from a fixed set.

A comment may say more, for those who keep the cohort; it is never repeated, since it may identify.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from ricenet.cohort.lookalikes import lookalike_of
from ricenet.cohort.participants import PARTICIPANT_ID
from ricenet.cohort.problems import Finding, Problem
from ricenet.cohort.tsv import read_tsv

QUARANTINE_TABLE = "exclude.tsv"
Reason = Literal["registration", "brain_mask", "dose", "image_quality", "wrong_patient", "other"]
REASONS: tuple[Reason, ...] = get_args(Reason)
REQUIRED_COLUMNS = ("participant_id", "reason")

_TABLE = "Write a tab-separated table with the columns participant_id, reason and, if you like, comment."


@dataclass(frozen=True)
class Quarantine:
    """Why each listed subject is excluded. problems, notes: of the list, of the whole cohort."""

    reasons: Mapping[str, Reason] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def read_quarantine(cohort: Path, known: Collection[str] | None) -> Quarantine:
    """Read a cohort's exclude.tsv; nobody is quarantined where there is none.

    known: subjects of the participants table and of the folders; None where the table cannot say.
    A header without rows is an empty list. All errors of all rows are collected, none is raised.
    """
    lines = read_tsv(cohort / QUARANTINE_TABLE)
    if lines is None:
        return Quarantine()
    if isinstance(lines, Finding):
        return _refused(lines)
    if not any(cell for cells in lines.cells for cell in cells):
        return _refused(Finding("is empty", f"{_TABLE} Remove the file where nobody is excluded."))
    header, *rows = lines.cells
    missing = [column for column in REQUIRED_COLUMNS if header.count(column) != 1]
    if missing:
        found = f"column {', '.join(missing)} is missing or occurs twice in its first line"
        return _refused(Finding(found, _TABLE))
    return replace(_read_rows(header, rows, known), notes=lines.notes(QUARANTINE_TABLE))


def quarantined_because(reason: Reason) -> str:
    """How a report says why a subject is excluded."""
    return f"quarantined ({reason}), as {QUARANTINE_TABLE} says"


def _refused(*findings: Finding) -> Quarantine:
    return Quarantine(problems=tuple(finding.of(None, QUARANTINE_TABLE) for finding in findings))


def _read_rows(header: list[str], rows: list[list[str]], known: Collection[str] | None) -> Quarantine:
    at = [header.index(column) for column in REQUIRED_COLUMNS]
    reasons: dict[str, Reason] = {}
    listed = set[str]()
    findings: list[Finding] = []
    for line, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        subject, reason = (cells[i] if i < len(cells) else "" for i in at)
        if fault := _fault(subject, reason, known, twice=subject in listed):
            findings.append(fault.on_line(line))
        else:
            reasons[subject] = cast(Reason, reason)
        listed.add(subject)
    return Quarantine(reasons, _refused(*findings).problems)


def _fault(subject: str, reason: str, known: Collection[str] | None, *, twice: bool) -> Finding | None:
    if not PARTICIPANT_ID.fullmatch(subject):
        # without the value: where an identifier is malformed, it may be a patient's name
        return Finding(
            "participant_id is not sub- followed by letters and digits", "Write the subject's pseudonym."
        )
    if known is not None and subject not in known:
        found = f"{subject} is no subject of this cohort{lookalike_of(subject, known)}"
        return Finding(found, "Correct its spelling, or remove the row.")
    if twice:
        return Finding(f"duplicate subject {subject}", "Keep one row a subject.")
    if reason not in REASONS:
        remedy = "Write one of them, in lower case; the column comment takes the rest."
        return Finding(f"reason of {subject} is none of {', '.join(REASONS)}", remedy)
    return None
