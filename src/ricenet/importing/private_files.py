"""Files that may identify patients: complete or absent, and readable by their owner alone."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ricenet.importing.spreadsheets import guarded
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import locked


@contextlib.contextmanager
def file_errors_reported(failed: str) -> Iterator[None]:
    """Report a full disk, missing rights and the like. failed: what did, as `map.csv: cannot be written`.

    Raises CohortError: in place of an OSError, whose text holds paths that may name patients.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CohortError(f"{failed} ({reason}). Mend the cause, and give the same command again") from None


@contextlib.contextmanager
def sole_use(lock: Path, of: str) -> Iterator[None]:
    """Keep other imports from using something. lock: a file for this alone, gone afterwards. of: its name.

    Raises CohortError: another import uses it at the moment, or the lock cannot be made.
    """
    with contextlib.ExitStack() as stack:
        with file_errors_reported(f"{of}: cannot be locked"):
            try:
                stack.enter_context(locked(lock, wait=False, temporary=True))
            except BlockingIOError:
                raise CohortError(
                    f"another import is using {of}. Wait for its end, then import again"
                ) from None
        yield


def write_private(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write text atomically, with mode 0600 from the first byte on.

    Raises CohortError: the file system refuses it.
    """
    with file_errors_reported(f"{path.name}: cannot be written"):
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
    """The same for a table, separated by commas; `utf-8-sig` is what spreadsheets know UTF-8 by.

    Cells that a spreadsheet would calculate are guarded.
    """
    text = io.StringIO()
    # with both characters a cell is quoted that holds one of them
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    write_private(path, text.getvalue(), encoding)
