"""The cohort's table: who the labelled subjects are, by label and subset, as statistics of groups.

Nothing of a single person is told: a group of fewer than FEWEST gets no median, a smaller count of a text,
or of the missing, is "<3", and a text that fewer than FEWEST subjects share is pooled with others, unnamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ricenet.cohort.participants import Participant
from ricenet.cohort.splits import Splits
from ricenet.vocabulary import LABELS

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


_NUMBERS: tuple[tuple[str, str, int], ...] = (
    ("brain_ml", "brain, ml", 0),
    ("dose_max_gy", "largest dose, Gy", 1),
    ("v60_ml", "brain above 60 Gy, ml", 0),
)
"""Of quality control: name, title, digits."""
_TEXTS = (
    ("sex", "sex"),
    ("label_source", "label by"),
    ("site", "site"),
    ("mgmt", "MGMT"),
    ("idh", "IDH"),
)


def cohort_table(
    splits: Splits,
    participants: Mapping[str, Participant],
    measures: Mapping[str, Mapping[str, float | None]],
) -> CohortTable:
    """The table of the labelled subjects: median (quartiles) of numbers, counts of texts, and who is missing.

    A variable that nobody has is left out.
    """
    groups = _groups(splits)
    columns = list(groups.values())
    rows = [CohortRow("subjects", tuple(str(len(group)) for group in columns))]
    rows += _number_rows("age, years", columns, lambda s: _of(participants, s, "age_years"), 0)
    rows += _number_rows(
        "days from the end of radiotherapy to the event",
        columns,
        lambda s: participants[s].interval_days if s in participants else None,
        0,
    )
    for name, title, digits in _NUMBERS:
        rows += _number_rows(title, columns, lambda s, name=name: measures.get(s, {}).get(name), digits)  # type: ignore[misc]
    for name, title in _TEXTS:
        rows += _text_rows(title, columns, lambda s, name=name: _of(participants, s, name))  # type: ignore[misc]
    return CohortTable(tuple(groups), tuple(rows))


def _groups(splits: Splits) -> dict[str, list[str]]:
    places = {"cross-validation": splits.development, "test": splits.test}
    groups = {
        f"{place}: {label}": [s for s in subjects if splits.labels[s] == label]
        for place, subjects in places.items()
        for label in LABELS
        if subjects
    }
    return {**groups, "all": sorted(splits.labels)}


def _of(participants: Mapping[str, Participant], subject: str, column: str) -> object:
    return getattr(participants[subject], column) if subject in participants else None


def _number_rows(
    title: str, columns: Sequence[Group], value: Callable[[str], object], digits: int
) -> list[CohortRow]:
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


def _text_rows(title: str, columns: Sequence[Group], value: Callable[[str], object]) -> list[CohortRow]:
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
