"""Files that may identify patients: complete or absent, and readable by their owner alone."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_private(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write text atomically, with mode 0600 from the first byte on."""
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


def write_private_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], encoding: str = "utf-8"
) -> None:
    """The same for a table, separated by commas; `utf-8-sig` is what spreadsheets know UTF-8 by."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_private(path, text.getvalue(), encoding)
