"""Who may read what is written: its owner alone, unless the user chooses otherwise.

Raw heads show faces, and volumes, tables and models tell of patients; a usual umask would let every user of a
machine read them. The idea of a second mask is that of git's core.sharedRepository.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ricenet.runtime.errors import RicenetError

VARIABLE = "RICENET_UMASK"
"""The environment variable by which a user lets others read: 027 lets the group, 022 everybody."""

CLOSED = ("work", "data", "models", "mlflow", ".dvc/cache")
"""Folders of a project that hold what tells of patients."""

_PRIVATE = 0o077


def _read_umask() -> int:
    # it can only be read by setting it, which other threads would see: so this is done once, on loading
    mask = os.umask(_PRIVATE)
    os.umask(mask)
    return mask


_PROCESS_MASK = _read_umask()


def mask() -> int:
    """The permissions that files and folders go without: those of RICENET_UMASK, and of the umask too.

    Raises RicenetError: RICENET_UMASK is no such number.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return _PRIVATE | _PROCESS_MASK
    try:
        chosen = int(text, 8)
    except ValueError:
        chosen = -1
    if not 0 <= chosen <= _PRIVATE:
        raise RicenetError(
            f"{VARIABLE} is {text!r}; expected three octal digits from 000 to 077, such as 027, by which the "
            "group may read. Correct it, or unset it to keep files to yourself"
        )
    return chosen | _PROCESS_MASK


def file_mode() -> int:
    """Of a file that is written: 0600 unless chosen otherwise."""
    return 0o666 & ~mask()


def folder_mode() -> int:
    """Of a folder that is made: 0700 unless chosen otherwise."""
    return 0o777 & ~mask()


def close_folders(project: Path) -> None:
    """Take from others what RICENET_UMASK does not give them, at the doors of a project.

    git and DVC make folders by the umask alone, and DVC lets everybody read what it caches. Where a door is a
    link, what it leads to is somebody's choice elsewhere and stays as it is.
    """
    for folder in (project / name for name in CLOSED):
        if folder.is_dir() and not folder.is_symlink() and (status := folder.stat()).st_uid == os.getuid():
            kept = stat.S_IMODE(status.st_mode) & ~mask()
            if kept != stat.S_IMODE(status.st_mode):
                folder.chmod(kept)


@contextlib.contextmanager
def written_privately() -> Iterator[None]:
    """Let libraries in this process, and processes that it starts, write by the same mask."""
    before = os.umask(mask())
    try:
        yield
    finally:
        os.umask(before)
