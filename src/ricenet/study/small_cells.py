"""Which groups of a table may be shown, so that no small count is told, nor found by subtraction.

A group with subjects, but fewer than the limit of any label, is marked "<limit". The whole cohort's counts
are known, so that a single hidden group would be the difference to those shown: further groups are withheld,
in the order of the plan and whatever their size, until those hidden hold enough together. Source: secondary
suppression of cells, Hundepool et al. 2012, chapter 4. Deviation: whole rows are hidden, and where that does
not do the whole table is.
"""

from __future__ import annotations

from collections.abc import Mapping

from ricenet.runtime.records import Record

SHOWN, WITHHELD = "", "withheld"

Count = int | str
"""A number of subjects, or "<5"."""


class Hidden(Record):
    """How each group is marked, by its name: SHOWN, "<5" or WITHHELD. None: the whole table is withheld."""

    marks: dict[str, str] | None


def count_text(n: int, limit: int) -> Count:
    """A count by itself; none at all may be told.

    >>> count_text(0, 5), count_text(4, 5), count_text(5, 5)
    (0, '<5', 5)
    """
    return f"<{limit}" if 0 < n < limit else n


def hidden_groups(counts: Mapping[str, tuple[int, ...]], limit: int) -> Hidden:
    """Which groups are hidden. counts: by group, the subjects of each label; groups divide the cohort.

    >>> hidden_groups({"F": (20, 20), "M": (9, 9), "other": (1, 0)}, 5).marks
    {'F': 'withheld', 'M': '', 'other': '<5'}
    """
    small = [group for group, n in counts.items() if sum(n) and min(n) < limit]
    hidden = list(small)
    others = [group for group, n in counts.items() if min(n) >= limit]
    while hidden and not _enough([counts[group] for group in hidden], len(hidden) - len(small), limit):
        if not others:
            return Hidden(marks=None)
        hidden.append(others.pop(0))
    return Hidden(
        marks={
            group: f"<{limit}" if group in small else WITHHELD if group in hidden else SHOWN
            for group in counts
        }
    )


def _enough(hidden: list[tuple[int, ...]], withheld: int, limit: int) -> bool:
    """Whether any count below the limit would be as possible for each small group, by all that is known.

    Those withheld are known to have the limit at least of each label; the others get the limit's room.
    """
    return len(hidden) > 1 and all(
        sum(of_label) >= (withheld + 1) * limit for of_label in zip(*hidden, strict=True)
    )
