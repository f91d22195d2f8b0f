"""A comparison of two trainings for people: tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ricenet.evaluation.evidence.paired import Differing, Paired
from ricenet.evaluation.evidence.swap_tests import p_text
from ricenet.evaluation.scores import SCORES

if TYPE_CHECKING:
    from rich.console import Console

Cells = Sequence[Sequence[str]]
"""A table; the first row is its header."""

_TESTS = {"macro_f1": "swapped answers, macro-F1", "mcnemar": "McNemar, exact", "auc": "swapped ranks, AUC"}
_DIGEST_LETTERS = 12


def parts(found: Paired) -> list[Cells | str]:
    """Everything that is shown, in order: sentences and tables."""
    shown: list[Cells | str] = [_whom(found), _score_cells(found), _right_cells(found), _test_cells(found)]
    shown += [text for text in (found.verdict, found.caution) if text]
    shown.append(_remarks(found))
    if cells := _differing_cells(found):
        shown.append(cells)
    return shown


def plain(found: Paired) -> str:
    """For files and pipes."""
    return "\n\n".join(part if isinstance(part, str) else aligned(part) for part in parts(found))


def print_rich(found: Paired, console: Console) -> None:
    """For a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for part in parts(found):
        if isinstance(part, str):
            console.print(Text(part), end="\n\n")
            continue
        header, *rows = part
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        # Text: what stands in brackets is a name, no markup
        for cell in header:
            table.add_column(Text(cell))
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)


def aligned(cells: Cells) -> str:
    """A table as lines with columns below each other."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _whom(found: Paired) -> str:
    counts = ", ".join(f"{n} {label}" for label, n in found.common.items())
    lines = [
        f"A: {found.a.name}",
        f"B: {found.b.name}",
        f"{found.n} subjects that both held out: {counts}. Excluded: {found.only_a_held_out} that only A "
        f"held out, {found.only_b_held_out} that only B did.",
    ]
    if not found.same_folds:
        lines.append(
            "Their folds differ: part of the difference may be the luck of the division, which the "
            "intervals do not hold."
        )
    return "\n".join(lines)


def _score_cells(found: Paired) -> Cells:
    cells = [["score (95 % interval)", "A", "B", "A minus B"]]
    for name, title in SCORES.items():
        of_both = [getattr(side.scores, name).text() for side in (found.a, found.b)]
        difference = found.differences.get(name)
        cells.append([title, *of_both, "" if difference is None else difference.text(signed=True)])
    return cells


def _right_cells(found: Paired) -> Cells:
    counts = {
        label: (right.both, right.only_a, right.only_b, right.neither) for label, right in found.right.items()
    }
    total = {"all": tuple(map(sum, zip(*counts.values(), strict=True)))}
    rows = [[label, *map(str, numbers)] for label, numbers in (*counts.items(), *total.items())]
    return [["right on", "both", "A alone", "B alone", "neither"], *rows]


def _test_cells(found: Paired) -> Cells:
    return [["test of A against B", "p"]] + [
        [title, p_text(found.p_values[name])] for name, title in _TESTS.items()
    ]


def _remarks(found: Paired) -> str:
    lines = ["The p-values are those of one comparison, not corrected for others that are made."]
    if not found.digests and not found.parameters:
        lines.append("Nothing that is recorded of data, preprocessing, splits, code or settings differs.")
    return "\n".join(lines)


def _differing_cells(found: Paired) -> Cells:
    rows = [[_name(d), *_digest_values(d)] for d in found.digests]
    rows += [[d.name, _value(d.a), _value(d.b)] for d in found.parameters]
    return [["what differs", "A", "B"], *rows] if rows else []


def _name(digest: Differing) -> str:
    return digest.name.removesuffix("_digest")


def _digest_values(digest: Differing) -> list[str]:
    return [_value(text if text is None else text[:_DIGEST_LETTERS]) for text in (digest.a, digest.b)]


def _value(text: str | None) -> str:
    return "not recorded" if text is None else text
