"""What a guard found."""

from __future__ import annotations

from typing import Literal

from ricenet.runtime.records import Record

Outcome = Literal["passed", "warning", "failed", "not applicable"]


class GuardResult(Record):
    """One guard's verdict.

    found, remedy: sentences for people; remedy is empty where nothing is to be done.
    """

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""
    subjects: tuple[str, ...] = ()
