"""Tables on disk, and files that an earlier stage makes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ricenet.runtime.errors import ResultError


def require(path: Path, stage: str) -> Path:
    """The path, if it exists.

    Raises ResultError: it does not; names the stage that makes it.
    """
    if not path.exists():
        raise ResultError(f"{path} is missing. The stage `{stage}` makes it: run `dvc repro`")
    return path


def read_rows(path: Path, delimiter: str = "\t") -> list[dict[str, str]]:
    """Rows of a table with a header line, as text."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def read_lines(path: Path, delimiter: str) -> list[list[str]]:
    """Each row's cells, the header's first, in UTF-8 with or without byte order mark.

    Raises OSError, UnicodeDecodeError; csv.Error: not well formed.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.reader(stream, delimiter=delimiter, strict=True))


def table_text(header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = "\t") -> str:
    """A table as text with a header line, for files whose bytes must repeat."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
