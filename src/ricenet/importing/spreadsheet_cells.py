"""Cells that a spreadsheet would calculate, and a sign before them by which it takes them as text."""

from __future__ import annotations

FORMULA_SIGNS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula starts with; the last four are East Asian spreadsheets' wide ones."""

_TEXT_SIGN = "'"


def guarded(cell: str) -> str:
    """A cell as it is written, so that opening the table calculates nothing.

    >>> guarded("=HYPERLINK(1)"), guarded("+C AX T1"), guarded("T1"), guarded("'=1")
    ("'=HYPERLINK(1)", "'+C AX T1", 'T1', "''=1")
    """
    return _TEXT_SIGN + cell if cell[:1] in FORMULA_SIGNS or _is_guarded(cell) else cell


def plain(cell: str) -> str:
    """What `guarded` was given.

    >>> plain("'=HYPERLINK(1)"), plain("''=1"), plain("'s"), plain("=1")
    ('=HYPERLINK(1)', "'=1", "'s", '=1')
    """
    return cell[1:] if _is_guarded(cell) else cell


def _is_guarded(cell: str) -> bool:
    return cell[:1] == _TEXT_SIGN and (cell[1:2] == _TEXT_SIGN or cell[1:2] in FORMULA_SIGNS)
