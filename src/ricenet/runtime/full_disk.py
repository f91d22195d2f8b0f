"""A full disk, told as what it is: which file, how much it needs, how much is free, what to do."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}

MAKE_ROOM = (
    "Make room (`ricenet store gc` sweeps what is no longer used, while no stage runs), and run again: "
    "what is finished is kept"
)

_SAID = ("No space left on device", "Disk quota exceeded", "database or disk is full")
"""How other libraries and sqlite put it into their messages."""


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that there is no room left on a disk."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    cause = error.__cause__ or error.__context__
    return any(said in str(error) for said in _SAID) or (cause is not None and is_full(cause))


def full_disk(path: Path, needed_bytes: int | None = None, found: str = NO_ROOM[errno.ENOSPC]) -> str:
    """A sentence without its full stop. path: what was to be written, there or not. needed_bytes: of it."""
    folder = next((one for one in (path, *path.absolute().parents) if one.is_dir()), None)
    free = None if folder is None else shutil.disk_usage(folder).free
    needed = f"{path.name} needs {_size(needed_bytes)}" if needed_bytes else f"{path.name} finds no room"
    return f"{found}: {needed}" + ("" if free is None else f", {_size(free)} are free")


def no_room_found(error: OSError) -> str:
    """What an OSError for want of room says, in the words of `full_disk`."""
    found = NO_ROOM.get(error.errno or 0, NO_ROOM[errno.ENOSPC])
    if (error.strerror or "").startswith(found):
        return str(error.strerror)
    return full_disk(Path(error.filename) if isinstance(error.filename, str) else Path("a file"), found=found)


@contextlib.contextmanager
def told_if_full(path: Path, needed_bytes: int | None = None) -> Iterator[None]:
    """Say of an OSError for want of room which file it was and what that needs; its number stays."""
    try:
        yield
    except OSError as error:
        found = NO_ROOM.get(error.errno or 0)
        if found is None or (error.strerror or "").startswith(found):
            raise
        # from None: the temporary name that the system's own message has tells nobody anything
        raise OSError(error.errno, full_disk(path, needed_bytes, found), str(path)) from None


def _size(count: int) -> str:
    """
    >>> _size(1_500_000), _size(20)
    ('1.5 MB', '20 bytes')
    """
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"
