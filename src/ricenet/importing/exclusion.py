"""Why a patient of a collection is not imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exclusion:
    """A reason that reaches the cohort's tables: free of names, dates and identifiers."""

    reason: str
