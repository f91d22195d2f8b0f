"""Declared variables from the participants table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import (
    MISSING,
    REFERENCE_STANDARD,
    Participant,
    ParticipantsTable,
    with_problems,
)
from ricenet.cohort.problems import Finding, Problem
from ricenet.vocabulary import VariableSpec, VariableValue

INTERVAL = "days_rt_end_to_event"
"""The column for which the two dates may stand."""

_CORRECT = "Correct it, or write n/a where it is not known."
Variables = dict[str, dict[str, VariableValue]]
"""By participant_id, then by the variable's name."""


def read_variables(
    table: ParticipantsTable, specs: Sequence[VariableSpec]
) -> tuple[ParticipantsTable, Variables]:
    """The values of the declared variables, and the table without the rows in which one is refused.

    Columns that the table may have (`Participant`) are empty where it lacks them; any other has to be there.
    """
    values: Variables = {subject: {} for subject in table.participants}
    problems: list[Problem] = []
    for spec in specs:
        column = spec.source_column
        if column is None or not table.columns:
            continue
        if column in ("label", *REFERENCE_STANDARD):
            found = f"column {column} says how the label is known, and params.yaml takes {spec.name} from it"
            problems.append(Problem(None, PARTICIPANTS_TABLE, found, "Remove the variable."))
            continue
        if column not in table.columns and column not in Participant.model_fields:
            found = f"column {column} is missing, from which params.yaml takes the variable {spec.name}"
            problems.append(Problem(None, PARTICIPANTS_TABLE, found, "Add it, or remove the variable."))
            continue
        for subject, row in table.participants.items():
            value = _value(spec, column, row, table.cells[subject].get(column, MISSING))
            if isinstance(value, Finding):
                problems.append(value.of(subject, PARTICIPANTS_TABLE))
            else:
                values[subject][spec.name] = value
    return with_problems(table, problems), values


def number_in(text: str) -> float | None:
    """The finite number that a cell holds; None where it holds something else."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _value(spec: VariableSpec, column: str, row: Participant, cell: str) -> VariableValue | Finding:
    if column == INTERVAL:
        return None if row.interval_days is None else float(row.interval_days)
    text = cell.strip()
    if text in ("", MISSING):
        return None
    if spec.kind == "number":
        number = number_in(text)
        return Finding(f"{column} is no number", _CORRECT) if number is None else number
    if spec.categories is not None and text not in spec.categories:
        return Finding(f"{column} is none of {', '.join(spec.categories)}, n/a", _CORRECT)
    return text
