"""Files that may identify patients: complete or absent, and readable by their owner alone."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ricenet.importing.file_errors import file_errors_told
from ricenet.importing.spreadsheet_cells import guarded


def write_private(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write text atomically, with mode 0600 from the first byte on.

    Raises CohortError: the file system refuses it.
    """
    with file_errors_told(f"{path.name}: cannot be written"):
        _write(path, text, encoding)


def write_private_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], encoding: str = "utf-8"
) -> None:
    """The same for a table, separated by commas; `utf-8-sig` is what spreadsheets know UTF-8 by.

    Cells that a spreadsheet would calculate are guarded (`spreadsheet_cells`).
    """
    text = io.StringIO()
    # with both characters a cell is quoted that holds one of them
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    write_private(path, text.getvalue(), encoding)


def _write(path: Path, text: str, encoding: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # atomic_path would open the file to everybody before it is in its place
    handle, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding=encoding, newline="") as stream:
            stream.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
