"""What is wrong with a raw cohort: one report over all subjects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ricenet.cohort.layout import is_there
from ricenet.runtime.files import read_json
from ricenet.runtime.strict_json import JsonError

MOST_SUBJECTS_NAMED = 20


@dataclass(frozen=True)
class Finding:
    """What was found in a file and how to correct it; whoever read the file knows which one it is.

    Findings reach logs, the report and MLflow: no free text of a file is repeated in one, since
    it may identify a patient.
    """

    found: str
    remedy: str

    def on_line(self, line: int) -> Finding:
        """The same finding, saying where in a table it was made."""
        return replace(self, found=f"{self.found} (line {line})")

    def of(self, subject: str | None, file: str) -> Problem:
        """The finding as a problem of a subject's file."""
        return Problem(subject, file, self.found, self.remedy)


@dataclass(frozen=True)
class Problem:
    """One reason why a subject, or the cohort as a whole (`subject` None), cannot be used.

    subject: a well-formed participant_id. file: relative to the cohort's folder.
    """

    subject: str | None
    file: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.found}. {self.remedy}"


def report_text(cohort: str, problems: Iterable[Problem]) -> str:
    """All problems of a cohort, those of the cohort as a whole first, then subject by subject."""
    # stable: within a file, problems stay in the order in which they were found
    ordered = sorted(problems, key=lambda problem: (problem.subject or "", problem.file))
    lines = [f"{cohort}: {len(ordered)} problem(s)"]
    for subject, group in groupby(ordered, key=lambda problem: problem.subject):
        lines.append(subject or "the cohort as a whole")
        lines += [f"  - {problem}" for problem in group]
    return "\n".join(lines)


def json_object(path: Path, remedy: str) -> dict[str, Any] | Finding | None:
    """The JSON object in a file, or what is wrong with it; None where there is no file."""
    if not is_there(path):
        return None
    try:
        content = read_json(path)
    except JsonError as error:
        return Finding(str(error), remedy)
    except OSError as error:
        return unreadable(path, error)
    return content if isinstance(content, dict) else Finding("is not a JSON object", remedy)


def unreadable(path: Path, error: OSError) -> Finding:
    """Why a file that is there cannot be read, and what to do."""
    if path.is_symlink() and not path.exists():
        return Finding("is a link that leads nowhere", "Fetch its content, or remove the link.")
    if path.is_dir():
        return Finding("is a folder", "Put the file in its place, or remove the folder.")
    return Finding(f"cannot be read ({error.strerror or type(error).__name__})", "Make it a readable file.")


def named(subjects: Iterable[str]) -> str:
    """Subjects by name; of many, the first and how many more there are."""
    ordered = sorted(subjects)
    more = len(ordered) - MOST_SUBJECTS_NAMED
    return ", ".join(ordered[:MOST_SUBJECTS_NAMED]) + (f" and {more} more" if more > 0 else "")
