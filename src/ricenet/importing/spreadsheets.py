"""Tables that people keep in spreadsheets: read strictly, every fault with its line, no cell repeated."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes

logger = logging.getLogger(__name__)

DELIMITERS = (",", ";", "\t")
"""Which of them a table has, its header says: a spreadsheet's depends on the language of the computer."""

PATIENT_ID = "patient_id"
"""Kept but for spaces around it, as DICOM reads it; other cells lose tabs and other white space too."""

IDENTIFIERS = (PATIENT_ID, "participant_id", "uid")
"""Columns by which rows of several tables are matched."""

FORMULA_SIGNS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula starts with; the last four are East Asian spreadsheets' wide ones."""

_TEXT_SIGN = "'"


@dataclass(frozen=True)
class Row:
    """One row. line: where it starts in the file, the header being line 1. cells: by column, stripped."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong with rows of a table, and what to do; `text` repeats no cell."""

    lines: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        return f"line{'s' if len(self.lines) > 1 else ''} {', '.join(map(str, self.lines))}: {self.text}"


@dataclass(frozen=True)
class Spreadsheet:
    """A table's rows as far as they could be read, and what is wrong with the others."""

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]


def read_spreadsheet(path: Path, required: Sequence[str], optional: Sequence[str]) -> Spreadsheet:
    """Read a table in UTF-8 (with or without byte order mark), separated by commas, semicolons or tabs.

    Rows without any content are skipped; optional columns that are absent are empty in every row. Blanks
    around names of columns and identifiers are read past, and counted in the log.
    Raises CohortError: unreadable, or a header with missing, unknown or repeated columns.
    """
    known = [*required, *optional]
    lines = _lines(path, _text(path), known)
    if not lines:
        raise CohortError(f"{path.name}: is empty. The first line names the columns: {', '.join(required)}")
    header = [cell.strip() for cell in lines[0][1]]
    if faults := _header_faults(header, required, known):
        raise CohortError(problem_list(path, faults))
    _note_blanks(path, lines[0][1], [cells for _, cells in lines[1:]])
    rows, ragged = [], []
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]) or len(cells) < len(header):
            ragged.append(
                Fault(
                    (line,),
                    f"{len(cells)} cell(s) under {len(header)} column(s). "
                    "Give every column a cell, and put cells that hold a separator in double quotes",
                )
            )
            continue
        present = {column: _cell(column, cell) for column, cell in zip(header, cells, strict=False)}
        rows.append(Row(line, {column: present.get(column, "") for column in known}))
    return Spreadsheet(tuple(rows), tuple(ragged))


def repeated(keys: Iterable[tuple[object, int]], text: str) -> list[Fault]:
    """A fault for each key that several lines have. keys: with their lines; text: may hold {count}."""
    lines_of: dict[object, list[int]] = {}
    for key, line in keys:
        lines_of.setdefault(key, []).append(line)
    return [
        Fault(tuple(lines), text.format(count=len(lines))) for lines in lines_of.values() if len(lines) > 1
    ]


def problem_list(path: Path, problems: Iterable[object]) -> str:
    """All problems of a table as one message."""
    listed = list(problems)
    return f"{path.name}: {len(listed)} problem(s)\n" + "\n".join(f"  - {problem}" for problem in listed)


def guarded(cell: str) -> str:
    """A cell as it is written, so that opening the table calculates nothing: a sign marks it as text.

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


def _note_blanks(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    names = sum(name != name.strip() for name in header)
    ids = [i for i, name in enumerate(header) if name.strip() in IDENTIFIERS]
    padded = sum(row[i] != row[i].strip() for row in rows for i in ids if i < len(row))
    if names or padded:
        logger.info(
            "%s: blanks around %d name(s) of columns and %d identifier(s) are read past",
            path.name, names, padded,
        )  # fmt: skip


def _cell(column: str, cell: str) -> str:
    return plain(cell.strip(" ") if column == PATIENT_ID else cell.strip())


def _text(path: Path) -> str:
    try:
        return regular_bytes(path, MOST_TEXT_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise CohortError(f"{path.name}: no such file. Name the table that you mean") from None
    except UnicodeDecodeError:
        raise CohortError(
            f"{path.name}: is not text in UTF-8. In a spreadsheet, save it as CSV UTF-8"
        ) from None
    except OSError as error:
        raise CohortError(
            f"{path.name}: cannot be read ({error.strerror}). Name a file that you may read"
        ) from None


def _lines(path: Path, text: str, known: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Each row's first line and its cells, separated as most of the known columns say."""
    first = text.partition("\n")[0].strip("\r")
    names = {
        delimiter: {cell.strip().strip('"') for cell in first.split(delimiter)} for delimiter in DELIMITERS
    }
    delimiter = max(DELIMITERS, key=lambda d: len(names[d].intersection(known)))
    lines, start = [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            lines.append((start, cells))
            start = reader.line_num + 1
    except csv.Error:
        raise CohortError(
            f"{path.name}: line {start} is not well formed. Close every double quote that is opened"
        ) from None
    return lines


def _header_faults(header: Sequence[str], required: Sequence[str], known: Sequence[str]) -> list[str]:
    faults = [f"column {name} is missing. Add it" for name in required if name not in header]
    # by position: in a table without a header these are a patient's cells
    faults += [
        f"column {position} is not known. Name it one of {', '.join(known)}, or remove it"
        for position, name in enumerate(header, start=1)
        if name not in known and name
    ]
    counts = Counter(name for name in header if name in known)
    return faults + [f"column {name} occurs twice. Keep one of them" for name, n in counts.items() if n > 1]
