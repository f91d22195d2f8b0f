"""The cohort's table: who the labelled subjects are, by label and subset, as statistics of groups.

Nothing is said of a single person: a group of fewer than FEWEST gets no median, a smaller count of a text,
or of the missing, is "<3", and a text that fewer than FEWEST subjects share is pooled with others, unnamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.participants import Participant
from ricenet.cohort.splits import Splits
from ricenet.vocabulary import VariableSpec

FEWEST = 3
MISSING = "not stated"
POOLED = f"others (fewer than {FEWEST} subjects each)"

Group = Sequence[str]
"""Subjects of a column."""


@dataclass(frozen=True)
class CohortRow:
    """A row of the table. indented: one value of the variable that the row above names."""

    title: str
    cells: tuple[str, ...]
    indented: bool = False


@dataclass(frozen=True)
class CohortTable:
    """Columns by subset and label, and all labelled subjects last."""

    columns: tuple[str, ...]
    rows: tuple[CohortRow, ...]


Value = Callable[[str], object]
"""Of a subject, by its name; None where it is not known."""

_NUMBERS = (
    ("brain_ml", "brain, ml", 0),
    ("dose_max_gy", "largest dose, Gy", 1),
    ("v60_ml", "brain above 60 Gy, ml", 0),
)
"""Of quality control: name, title, digits."""
_COLUMNS = {
    "sex": "sex",
    "label_source": "label by",
    "reference_reader": "reader of the label",
    "label_certainty": "certainty of the label",
    "site": "site",
    "mgmt": "MGMT",
    "idh": "IDH",
    "rt_modality": "kind of radiation",
    "reirradiation": "second course of radiotherapy",
}
"""Texts of the table, with their titles."""


def cohort_table(
    cohort: CheckedCohort,
    splits: Splits,
    participants: Mapping[str, Participant],
    measures: Mapping[str, Mapping[str, float | None]],
) -> CohortTable:
    """The table of the labelled subjects: median (quartiles) of numbers, counts of texts, and who is missing.

    Variables that params.yaml declares follow the table's own columns; one that nobody has is not shown.
    """
    groups = _groups(splits)
    columns = list(groups.values())
    rows = [CohortRow("subjects", tuple(str(len(group)) for group in columns))]
    for title, value, digits in _numbers(cohort, participants, measures):
        rows += _number_rows(title, columns, value, digits)
    for title, value in _texts(cohort, participants):
        rows += _text_rows(title, columns, value)
    return CohortTable(tuple(groups), tuple(rows))


def _numbers(
    cohort: CheckedCohort,
    participants: Mapping[str, Participant],
    measures: Mapping[str, Mapping[str, float | None]],
) -> Iterator[tuple[str, Value, int]]:
    yield "age, years", _column(participants, "age_years"), 0
    days = "days from the end of radiotherapy to the event"
    yield days, _column(participants, "interval_days"), 0
    decided = "days from the event to the decision on the label"
    yield decided, _column(participants, "reference_days_after_event"), 0
    for name, title, digits in _NUMBERS:
        yield title, lambda s, name=name: measures.get(s, {}).get(name), digits  # type: ignore[misc]
    for spec, value in _declared(cohort, "number"):
        yield f"{spec.title or spec.name}{', ' + spec.unit if spec.unit else ''}", value, 1


def _texts(cohort: CheckedCohort, participants: Mapping[str, Participant]) -> Iterator[tuple[str, Value]]:
    for name, title in _COLUMNS.items():
        yield title, _column(participants, name)
    for spec, value in _declared(cohort, "category"):
        yield spec.title or spec.name, value


def _column(participants: Mapping[str, Participant], name: str) -> Value:
    return lambda subject: getattr(participants.get(subject), name, None)


def _declared(cohort: CheckedCohort, kind: str) -> Iterator[tuple[VariableSpec, Value]]:
    """Variables of the table that are not among the columns that every table may have."""
    values = {subject.participant_id: subject.variables for subject in cohort.subjects}
    for spec in cohort.variables:
        if spec.kind == kind and not spec.measured and spec.source_column not in Participant.model_fields:
            yield spec, lambda s, name=spec.name: values.get(s, {}).get(name)  # type: ignore[misc]


def _groups(splits: Splits) -> dict[str, list[str]]:
    places = {"cross-validation": splits.development, "test": splits.test}
    groups = {
        f"{place}: {label}": [s for s in subjects if splits.labels[s] == label]
        for place, subjects in places.items()
        for label in splits.label_names
        if subjects
    }
    return {**groups, "all": sorted(splits.labels)}


def _number_rows(title: str, columns: Sequence[Group], value: Value, digits: int) -> list[CohortRow]:
    by_column = [[v for s in group if isinstance(v := value(s), int | float)] for group in columns]
    if not by_column[-1]:
        return []
    rows = [CohortRow(title, tuple(_spread(values, digits) for values in by_column))]
    missing = [len(group) - len(values) for group, values in zip(columns, by_column, strict=True)]
    return rows + _missing_row(missing)


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) < FEWEST:
        return "withheld" if values else "-"
    low, middle, high = (f"{v:.{digits}f}" for v in np.percentile(values, [25, 50, 75]))
    return f"{middle} ({low} to {high})"


def _text_rows(title: str, columns: Sequence[Group], value: Value) -> list[CohortRow]:
    counts = [Counter(str(v) for s in group if (v := value(s)) is not None) for group in columns]
    if not counts[-1]:
        return []
    named = sorted(text for text, n in counts[-1].items() if n >= FEWEST)
    rows = [CohortRow(title, tuple("" for _ in columns))]
    rows += [CohortRow(text, tuple(_count(c[text]) for c in counts), indented=True) for text in named]
    pooled = [sum(n for text, n in c.items() if text not in named) for c in counts]
    if pooled[-1]:
        rows.append(CohortRow(POOLED, tuple(map(_count, pooled)), indented=True))
    return rows + _missing_row(len(group) - c.total() for group, c in zip(columns, counts, strict=True))


def _count(n: int) -> str:
    return f"<{FEWEST}" if 0 < n < FEWEST else str(n)


def _missing_row(missing: Iterable[int]) -> list[CohortRow]:
    counts = tuple(missing)
    return [CohortRow(MISSING, tuple(map(_count, counts)), indented=True)] if counts[-1] else []
