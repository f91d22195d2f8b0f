"""Files and folders in the making: under temporary names, and held as long as their process lives.

A hold is a lock of the system's (flock), so it ends with the process: what nobody holds was left behind by a
kill, and may be cleared whenever anybody looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial-"
"""What temporary names begin with."""

WRITTEN = ("work", "models", "data", "mlflow")
"""Folders of a project in which stages and commands write."""


@contextlib.contextmanager
def partial_folder(parent: Path, name: str = "") -> Iterator[Path]:
    """An empty folder with a temporary name, held; what is still there under it goes when the block ends."""
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{name}-" if name else PARTIAL, dir=parent))
        with _held(os.open(temporary, os.O_RDONLY), temporary) as is_held:
            if not is_held:
                continue
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return


@contextlib.contextmanager
def partial_file(parent: Path, suffix: str) -> Iterator[Path]:
    """The same for an empty file."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=PARTIAL, suffix=suffix, dir=parent)
        with _held(descriptor, Path(name)) as is_held:
            if not is_held:
                continue
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
            return


def is_in_the_making(path: Path) -> bool:
    """Whether a path lies in a folder with a temporary name."""
    return any(part.startswith(PARTIAL) for part in path.parent.parts)


def left_behind(folder: Path) -> list[Path]:
    """Every temporary file and folder below a folder, whether it is held or not, but none in another one."""
    found = []
    for parent, folders, files in os.walk(folder):
        found += [Path(parent, name) for name in (*folders, *files) if name.startswith(PARTIAL)]
        folders[:] = [name for name in folders if not name.startswith(PARTIAL)]
    return sorted(found)


def is_held(path: Path) -> bool:
    """Whether a living process is making this temporary file or folder."""
    with _sole(path) as is_ours:
        return not is_ours


def clear(path: Path) -> bool:
    """Delete a temporary file or folder, unless a living process holds it; whether it is gone by that."""
    with _sole(path) as is_ours:
        if not is_ours or not os.path.lexists(path):
            return False
        if path.is_dir() and not path.is_symlink():
            # another process may be clearing too
            shutil.rmtree(path, ignore_errors=True)
        else:
            # it may lie where this user may read and not write
            with contextlib.suppress(OSError):
                path.unlink()
        return not os.path.lexists(path)


def found_left_behind(project: Path) -> list[Path]:
    """What killed runs left half written in a project."""
    found = [path for folder in WRITTEN for path in left_behind(project / folder)]
    return [path for path in found if not is_held(path)]


@contextlib.contextmanager
def _held(descriptor: int, path: Path) -> Iterator[bool]:
    """Hold what was just made, by its open descriptor; False: somebody cleared it before that."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield is_at(descriptor, path)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _sole(path: Path) -> Iterator[bool]:
    """Keep others from holding it meanwhile; False: somebody does already."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except PermissionError:
        # another user's, who may be at work on it
        yield False
        return
    except OSError:
        # gone, or a link: of those we make none
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
