"""Groups that may not be told: by the limit, and by what a reader could compute who knows the rule itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import product

import pytest

from ricenet.study.small_cells import count_text, hidden_groups

Table = tuple[tuple[int, int], ...]
Rule = Callable[[Mapping[str, tuple[int, ...]], int], Mapping[str, str] | None]


def marks(counts: Mapping[str, tuple[int, ...]], limit: int) -> Mapping[str, str] | None:
    return hidden_groups(counts, limit).marks


def small_alone(counts: Mapping[str, tuple[int, ...]], limit: int) -> Mapping[str, str] | None:
    """What is done where nobody thinks of subtraction."""
    return {name: f"<{limit}" if sum(n) and min(n) < limit else "" for name, n in counts.items()}


def test_groups_of_enough_are_shown_and_so_are_empty_ones() -> None:
    assert marks({"F": (5, 7), "M": (9, 5), "other": (0, 0)}, 5) == {"F": "", "M": "", "other": ""}


def test_a_group_with_few_of_one_label_is_small() -> None:
    found = marks({"a": (4, 30), "b": (20, 3), "c": (9, 9)}, 5)
    assert found == {"a": "<5", "b": "<5", "c": ""}


def test_a_single_small_group_takes_the_next_of_the_plan_with_it() -> None:
    # 1 + 30 and 2 + 30 leave room for any count below 5
    assert marks({"a": (30, 30), "b": (1, 2), "c": (9, 9)}, 5) == {"a": "withheld", "b": "<5", "c": ""}


def test_small_groups_that_hold_too_little_together_take_another_with_them() -> None:
    # 1 + 2 with recurrence would be told by subtraction
    assert marks({"a": (1, 9), "b": (2, 9), "c": (20, 20), "d": (8, 8)}, 5) == {
        "a": "<5", "b": "<5", "c": "withheld", "d": "",
    }  # fmt: skip


def test_the_whole_table_is_withheld_where_nothing_else_hides_the_small_group() -> None:
    # the other group has 5 at least, so that of 6 exactly one is in the small one
    assert marks({"a": (5, 9), "b": (1, 9)}, 5) is None


def test_counts_by_themselves_are_told_from_the_limit_on() -> None:
    assert [count_text(n, 5) for n in (0, 1, 4, 5)] == [0, "<5", "<5", 5]


def recoverable(rule: Rule, limit: int, groups: int, most: int) -> int:
    """How many small counts can be told by a reader who knows the totals, the rule, and what is shown.

    Among all tables with the same totals and the same publication, such a count is the same.
    """
    names, found = [f"g{k}" for k in range(groups)], 0
    for totals in product(range(limit, most + 1), repeat=2):
        published = defaultdict[object, list[Table]](list)
        for table in tables(totals, groups):
            said = rule(dict(zip(names, table, strict=True)), limit)
            shown = said and tuple(said[n] or n_of for n, n_of in zip(names, table, strict=True))
            published[shown].append(table)
        for shown, alike in published.items():
            hidden = [k for k in range(groups) if shown is None or shown[k] == f"<{limit}"]  # type: ignore[index]
            found += sum(len({t[k][label] for t in alike}) < 2 for k in hidden for label in (0, 1))
    return found


def tables(totals: tuple[int, ...], groups: int) -> Iterator[Table]:
    for of_labels in product(*(compositions(total, groups) for total in totals)):
        yield tuple(zip(*of_labels, strict=True))


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


@pytest.mark.parametrize(("limit", "groups", "most"), [(2, 3, 6), (3, 3, 7), (2, 4, 4), (3, 2, 11)])
def test_no_small_count_can_be_told_whatever_is_known(limit: int, groups: int, most: int) -> None:
    assert recoverable(marks, limit, groups, most) == 0


def test_the_reader_of_these_tests_does_find_what_subtraction_tells() -> None:
    assert recoverable(small_alone, 2, 3, 4) > 0
