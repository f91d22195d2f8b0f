"""Tables that people keep in spreadsheets: read strictly, every fault with its line, no cell repeated."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.importing.spreadsheet_cells import plain
from ricenet.runtime.errors import CohortError

DELIMITERS = (",", ";", "\t")
"""Which of them a table has, its header says: a spreadsheet's depends on the language of the computer."""

PATIENT_ID = "patient_id"
"""Kept but for spaces around it, as DICOM reads it; other cells lose tabs and other white space too."""


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
class Table:
    """A table's rows as far as they could be read, and what is wrong with the others."""

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]


def read_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Read a table in UTF-8 (with or without byte order mark), separated by commas, semicolons or tabs.

    Rows without any content are skipped; optional columns that are absent are empty in every row.
    Raises CohortError: unreadable, or a header with missing, unknown or repeated columns.
    """
    lines = _lines(path, _text(path), [*required, *optional])
    if not lines:
        raise CohortError(f"{path.name}: is empty. The first line names the columns: {', '.join(required)}")
    header = [cell.strip() for cell in lines[0][1]]
    if faults := _header_faults(header, required, optional):
        raise CohortError(problem_list(path, faults))
    rows, ragged = [], []
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]) or len(cells) < len(header):
            ragged.append(_ragged(line, len(cells), len(header)))
            continue
        present = {column: _cell(column, cell) for column, cell in zip(header, cells, strict=False)}
        rows.append(Row(line, {column: present.get(column, "") for column in (*required, *optional)}))
    return Table(tuple(rows), tuple(ragged))


def problem_list(path: Path, problems: Iterable[object]) -> str:
    """All problems of a table as one message."""
    told = list(problems)
    return f"{path.name}: {len(told)} problem(s)\n" + "\n".join(f"  - {problem}" for problem in told)


def _cell(column: str, cell: str) -> str:
    return plain(cell.strip(" ") if column == PATIENT_ID else cell.strip())


def _ragged(line: int, cells: int, columns: int) -> Fault:
    return Fault(
        (line,),
        f"{cells} cell(s) under {columns} column(s). "
        "Give every column a cell, and put cells that hold a separator in double quotes",
    )


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return stream.read()
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
    names = {delimiter: _split(first, delimiter) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: len(set(known).intersection(names[d])))
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


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _header_faults(header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    known = [*required, *optional]
    faults = [f"column {name} is missing. Add it" for name in required if name not in header]
    # by position: in a table without a header these are a patient's cells
    faults += [
        f"column {position} is not known. Name it one of {', '.join(known)}, or remove it"
        for position, name in enumerate(header, start=1)
        if name not in known and name
    ]
    counts = Counter(name for name in header if name in known)
    return faults + [f"column {name} occurs twice. Keep one of them" for name, n in counts.items() if n > 1]
