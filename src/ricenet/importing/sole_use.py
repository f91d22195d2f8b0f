"""One import at a time: a key file and a cohort's folder serve no second one meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ricenet.importing.file_errors import file_errors_told
from ricenet.runtime.errors import CohortError


@contextlib.contextmanager
def sole_use(lock: Path, of: str) -> Iterator[None]:
    """Keep other imports from using something. lock: a file for this alone, gone afterwards. of: its name.

    A kill frees the lock, whatever becomes of its file.
    Raises CohortError: another import uses it at the moment, or the lock cannot be made.
    """
    with file_errors_told(f"{of}: cannot be locked"):
        stream = _taken(lock, of)
    try:
        yield
    finally:
        # while it is still locked, so that whoever opened it before sees that it is gone
        lock.unlink(missing_ok=True)
        stream.close()


def _taken(lock: Path, of: str) -> TextIO:
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = lock.open("w")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise CohortError(f"another import is using {of}. Wait for its end, then import again") from None
        if _is_there(stream, lock):
            return stream
        # its last user removed it between the two steps
        stream.close()


def _is_there(stream: TextIO, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), lock.stat())
    except FileNotFoundError:
        return False
