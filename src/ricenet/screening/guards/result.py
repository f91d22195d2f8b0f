"""What guards found: one record each, the file of all, and the verdict on which training depends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from ricenet.cohort.problems import named
from ricenet.config.evidence import GuardName
from ricenet.runtime.errors import GuardError
from ricenet.runtime.files import write_json
from ricenet.runtime.records import Record

Outcome = Literal["passed", "warning", "failed", "not applicable"]

GUARDS_FILE = Path("work/guards/guards.json")
VERDICT_FILE = Path("work/guards/verdict.json")

OF_TRAINED_FOLDS: frozenset[GuardName] = frozenset({"trained_on_validation", "tuned_on_validation"})
"""Guards that only training gives something to look at; all others run before it."""

_OTHER_OUTCOMES: tuple[Outcome, ...] = ("failed", "warning", "not applicable")
_MOST_LISTED = 10


class GuardResult(Record):
    """One guard's verdict.

    found, remedy: sentences for people; remedy is empty where nothing is to be done.
    """

    name: GuardName
    outcome: Outcome
    found: str
    remedy: str = ""
    subjects: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: GuardName, outcome: Outcome, found: str, remedy: str = "", subjects: Iterable[str] = ()
    ) -> Self:
        """A verdict; each subject is listed once, in order."""
        listed_once = tuple(sorted(set(subjects)))
        return cls(name=name, outcome=outcome, found=found, remedy=remedy, subjects=listed_once)

    def __str__(self) -> str:
        """One line for people; of many subjects, the first."""
        subjects = f" ({named(self.subjects)})" if self.subjects else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.name}: {self.found}{subjects}.{remedy}"


class GuardRecord(Record):
    """What guards.json holds."""

    guards: tuple[GuardResult, ...]


def listed(findings: Sequence[str]) -> str:
    """Findings in one sentence; of many, the first and how many more there are."""
    more = len(findings) - _MOST_LISTED
    return "; ".join([*findings[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])])


def counted(guards: Sequence[GuardResult]) -> str:
    """How many guards passed, of how many, and what the others found.

    >>> passed, warned = (GuardResult.of("same_image", how, "x") for how in ("passed", "warning"))
    >>> counted([passed, passed]), counted([passed, warned])
    ('2 of 2 passed', '1 of 2 passed, 1 warning')
    """
    found = Counter(guard.outcome for guard in guards)
    others = (f", {found[outcome]} {outcome}" for outcome in _OTHER_OUTCOMES if found[outcome])
    return f"{found['passed']} of {len(guards)} passed{''.join(others)}"


def guards_verdict(guards: Sequence[GuardResult]) -> str:
    """As `counted`, before training and on the trained folds apart: alike in the log and on the page."""
    parts = {
        "before training": [guard for guard in guards if guard.name not in OF_TRAINED_FOLDS],
        "on the trained folds": [guard for guard in guards if guard.name in OF_TRAINED_FOLDS],
    }
    return "; ".join(f"{when} {counted(found)}" for when, found in parts.items() if found)


def write_guards(
    results: Iterable[GuardResult],
    tolerated: Collection[str],
    guards: Path = GUARDS_FILE,
    verdict: Path = VERDICT_FILE,
) -> None:
    """Write what was found and the verdict, then refuse a failure that is not tolerated.

    The verdict holds names alone, so that it changes only when what may be trained on does.
    Raises GuardError: listing every such guard, which subjects it concerns and what to do.
    """
    record = GuardRecord(guards=tuple(results))
    failed = [result for result in record.guards if result.outcome == "failed"]
    refused = [result for result in failed if result.name not in tolerated]
    write_json(guards, record.model_dump(mode="json"))
    content = {
        "failed": sorted(result.name for result in refused),
        "tolerated": sorted(result.name for result in failed if result.name in tolerated),
    }
    write_json(verdict, content)
    if refused:
        lines = "\n".join(f"  - {result}" for result in refused)
        raise GuardError(
            f"{len(refused)} guard(s) against leaks failed; nothing is trained:\n{lines}\n"
            "Correct the cohort; or name a guard in guards.tolerated to go on without being able to promote"
        )


def read_guards(path: Path = GUARDS_FILE) -> tuple[GuardResult, ...]:
    """What the stage `guard` found.

    Raises ResultError: missing, or not such a file.
    """
    return GuardRecord.read(path, "guard").guards
