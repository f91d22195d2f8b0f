"""Writing files so that a kill or a power cut leaves either the old or the new content, and hashing them.

What is written is synced before it takes its name, and the folder that holds the name after that; a folder
appears with all its files synced. Files are their owner's alone, unless RICENET_UMASK says otherwise.
Source: the order of syncing and renaming is that of rename(2) and fsync(2), as T. S. Pillai et al., "All file
systems are not created equal" (OSDI 2014), found it to be needed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ricenet.runtime.full_disk import told_if_full
from ricenet.runtime.private_modes import file_mode, folder_mode
from ricenet.runtime.strict_json import JsonError, parse_json
from ricenet.runtime.temporary import is_at, is_in_the_making, partial_file, partial_folder

logger = logging.getLogger(__name__)

Known = TypeVar("Known")

MOST_TEXT_BYTES = 2**28
"""Of one table or JSON file: more than the records of a thousand subjects."""

_SYNCED_AT_ONCE = 16


@contextlib.contextmanager
def atomic_path(path: Path, needed_bytes: int | None = None) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block ends well.

    The temporary name keeps the suffixes of `path`, since writers choose formats by them.
    needed_bytes: what will be written, where that is known. Raises OSError: of a full disk, with that.
    """
    make_folder(path.parent)
    with (
        told_if_full(path, needed_bytes),
        partial_file(path.parent, "".join(path.suffixes[-2:])) as temporary,
    ):
        yield temporary
        put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path, mode: int | None = None) -> None:
    """Give a file that is complete its name, which then outlasts a power cut. mode: by default as chosen."""
    temporary.chmod(file_mode() if mode is None else mode)
    # a folder in the making is synced as a whole, before it takes its own name
    if not is_in_the_making(path):
        sync(temporary)
    _named(temporary, path)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well."""
    make_folder(path.parent)
    with told_if_full(path), partial_folder(path.parent, path.name) as temporary:
        yield temporary
        temporary.chmod(folder_mode())
        with _one_at_a_time(path.parent):
            if path.exists():
                # two renames: a kill leaves the old folder, the new one or none, never half of one
                with partial_folder(path.parent, path.name) as replaced:
                    _sync_whole(temporary)
                    path.replace(replaced)
                    try:
                        _named(temporary, path)
                    except BaseException:
                        # nothing has its name yet: what had it must not go with the temporary folder
                        if not path.exists():
                            replaced.replace(path)
                        raise
            else:
                put_folder_in_place(temporary, path)


def put_folder_in_place(temporary: Path, path: Path) -> None:
    """Give a folder that is complete its name, which nothing has; both then outlast a power cut."""
    _sync_whole(temporary)
    _named(temporary, path)


def _named(temporary: Path, path: Path) -> None:
    """Give what is complete and synced its name, before anything is deleted that had it."""
    temporary.replace(path)
    if not is_in_the_making(path):
        sync(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing, so that they outlast a power cut."""
    if path.is_dir():
        return
    try:
        path.mkdir(mode=folder_mode(), exist_ok=True)
    except FileNotFoundError:
        make_folder(path.parent)
        path.mkdir(mode=folder_mode(), exist_ok=True)
    if not is_in_the_making(path):
        sync(path.parent)


def sync(path: Path) -> None:
    """Have the system write a file's content, or a folder's list of names, to its disk."""
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        # one may write into a folder without being allowed to list it
        if is_folder:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems sync no folders: their servers do
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not is_folder:
            raise
    finally:
        os.close(descriptor)


def _sync_whole(folder: Path) -> None:
    """Sync a folder with all that it holds; links are synced with the folder that they are in."""
    if is_in_the_making(folder):
        return
    found = [p for p in folder.rglob("*") if not p.is_symlink() and (p.is_dir() or p.is_file())]
    # in parallel, for the disk takes many at once
    with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
        list(pool.map(sync, found))
    sync(folder)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing something in the same folder meanwhile."""
    if is_in_the_making(folder / "any"):
        # which is this process's own, and locked by it already
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(lock: Path, *, shared: bool = False, wait: bool = True, temporary: bool = False) -> Iterator[None]:
    """Let one process at a time do the block; or several that share it, and none that does not.

    lock: an empty file for this alone, made where missing. The system releases it when the process ends.
    temporary: the file goes when the block ends.
    Raises BlockingIOError: another process has it, and `wait` is False.
    """
    make_folder(lock.parent)
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT, file_mode()), "w") as stream:
            fcntl.flock(stream, how)
            if not is_at(stream.fileno(), lock):
                # its last user removed it between the two steps
                continue
            try:
                yield
            finally:
                if temporary:
                    # while it is still locked, so that whoever opened it before sees that it is gone
                    lock.unlink(missing_ok=True)
            return


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically. Raises OSError: of a full disk, with what is needed."""
    with atomic_path(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with sorted keys so that equal content gives equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file to read its bytes; a link to one is one.

    Never waits, as a named pipe would let it. Raises OSError: not there, or a folder, a pipe, a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file, but a folder, a pipe or a device", str(path))


def regular_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file. most: bytes. Raises OSError: as `open_regular`, or larger."""
    with open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"Larger than {most / 2**20:.0f} MB", str(path))
        return stream.read()


def read_json(path: Path) -> Any:
    """Read a JSON file, as `parse_json` does. Raises OSError: as `regular_bytes`. JsonError, noting it."""
    try:
        return parse_json(regular_bytes(path, MOST_TEXT_BYTES))
    except JsonError as error:
        error.add_note(path.name)
        raise


def read_known(path: Path, kind: type[Known]) -> Known | None:
    """What is remembered in a JSON file to spare work; None where there is no file, or a damaged one."""
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except JsonError as error:
        logger.warning("%s %s: it is made anew", path.name, error)
        return None
    return found if isinstance(found, kind) else None


def file_digest(path: Path) -> str:
    """SHA-256 of a regular file's bytes, hexadecimal."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of the order of keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
