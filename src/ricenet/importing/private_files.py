"""Files that may identify patients: complete or absent, and readable by their owner alone."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ricenet.importing.spreadsheets import guarded
from ricenet.runtime.errors import CohortError
from ricenet.runtime.files import locked, make_folder, put_in_place, sync
from ricenet.runtime.full_disk import told_if_full
from ricenet.runtime.temporary import partial_file

_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700


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


def place_of(path: Path) -> Path:
    """A path without links. Raises CohortError: its links lead in a circle, or the file system refuses it."""
    with file_errors_reported(f"{path.name}: cannot be looked for"):
        try:
            return path.resolve()
        except RuntimeError:
            # Python 3.11 and 3.12 tell of a circle so, later ones leave the link as it is
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


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
        content = text.encode(encoding)
        make_folder(path.parent)
        with private_path(path, len(content)) as temporary:
            temporary.write_bytes(content)


@contextlib.contextmanager
def private_path(path: Path, needed_bytes: int) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block ends well; mode 0600 throughout.

    needed_bytes: what will be written. Raises OSError: of a full disk, with that.
    """
    # not atomic_path, for no setting lets others read this
    with told_if_full(path, needed_bytes), partial_file(path.parent, "") as temporary:
        yield temporary
        put_in_place(temporary, path, _PRIVATE)


def make_private_folder(path: Path) -> None:
    """Make a folder with mode 0700, those above it as others are made. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=_PRIVATE_FOLDER)
    sync(path.parent)


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
