"""What is wrong with a raw cohort, and how it is told: one report over all subjects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby


@dataclass(frozen=True)
class Finding:
    """What was found in a file and how to mend it; the file is known to whoever looked into it.

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


def report_text(cohort: str, problems: Sequence[Problem]) -> str:
    """All problems of a cohort, those of the cohort as a whole first, then subject by subject."""
    lines = [f"{cohort}: {len(problems)} problem(s)"]
    for subject, group in groupby(_in_order(problems), key=lambda problem: problem.subject):
        lines.append(subject or "the cohort as a whole")
        lines += [f"  - {problem}" for problem in group]
    return "\n".join(lines)


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    # stable: within a file, problems stay in the order in which they were found
    return sorted(problems, key=lambda problem: (problem.subject or "", problem.file))
