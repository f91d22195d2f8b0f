"""Files of the stage `guard`: what every guard found, and the verdict on which training depends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import ValidationError

from ricenet.runtime.errors import GuardError, ResultError
from ricenet.runtime.files import write_json
from ricenet.runtime.records import Record
from ricenet.runtime.tables import require
from ricenet.screening.guards.result import GuardResult

GUARDS_FILE = Path("work/guards/guards.json")
VERDICT_FILE = Path("work/guards/verdict.json")

MOST_SUBJECTS_NAMED = 20


class GuardRecord(Record):
    """What guards.json holds."""

    guards: tuple[GuardResult, ...]


def write_guards(
    results: Sequence[GuardResult],
    tolerated: Collection[str],
    guards: Path = GUARDS_FILE,
    verdict: Path = VERDICT_FILE,
) -> None:
    """Write what was found and the verdict, then refuse a failure that is not tolerated.

    The verdict holds names alone, so that it changes only when what may be trained on does.
    Raises GuardError: listing every such guard, whom it concerns and what to do.
    """
    failed = [result for result in results if result.outcome == "failed"]
    refused = [result for result in failed if result.name not in tolerated]
    write_json(guards, GuardRecord(guards=tuple(results)).model_dump(mode="json"))
    content = {
        "failed": sorted(result.name for result in refused),
        "tolerated": sorted(result.name for result in failed if result.name in tolerated),
    }
    write_json(verdict, content)
    if refused:
        lines = "\n".join(f"  - {told(result)}" for result in refused)
        raise GuardError(
            f"{len(refused)} guard(s) against leaks failed; nothing is trained:\n{lines}\n"
            "Mend the cohort; or name a guard in guards.tolerated to go on without being able to promote"
        )


def told(result: GuardResult) -> str:
    """A guard's result as one line for people; of many subjects, the first."""
    named = ", ".join(result.subjects[:MOST_SUBJECTS_NAMED])
    more = len(result.subjects) - MOST_SUBJECTS_NAMED
    whom = f" ({named}{f' and {more} more' if more > 0 else ''})" if named else ""
    remedy = f" {result.remedy}" if result.remedy else ""
    return f"{result.name}: {result.found}{whom}.{remedy}"


def read_guards(path: Path = GUARDS_FILE) -> tuple[GuardResult, ...]:
    """What the stage `guard` found.

    Raises ResultError: missing, or not such a file.
    """
    try:
        return GuardRecord.model_validate_json(require(path, "guard").read_text(encoding="utf-8")).guards
    except (ValidationError, UnicodeDecodeError):
        raise ResultError(
            f"{path.name} holds no results of guards of this version. Write it again: dvc repro -f guard"
        ) from None
