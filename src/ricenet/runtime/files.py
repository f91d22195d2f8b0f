"""Writing files so that a kill leaves either the old or the new content, and hashing them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ricenet.runtime.strict_json import parse_json

PARTIAL = ".partial-"
"""What temporary names begin with: whatever has it was left behind by a kill."""

MOST_TEXT_BYTES = 2**28
"""Of one table or JSON file: more than the records of a thousand subjects."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block ends well.

    The temporary name keeps the suffixes of `path`, since writers choose formats by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{path.name}-", dir=path.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        with _one_at_a_time(path.parent):
            if path.exists():
                # two renames: a kill leaves the old folder, the new one or none, never half of one
                replaced = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{path.name}-", dir=path.parent))
                path.replace(replaced)
                temporary.replace(path)
                shutil.rmtree(replaced)
            else:
                temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing something in the same folder meanwhile."""
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
    lock.parent.mkdir(parents=True, exist_ok=True)
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        with lock.open("a") as stream:
            fcntl.flock(stream, how)
            if not _is_at(stream.fileno(), lock):
                # its last user removed it between the two steps
                continue
            try:
                yield
            finally:
                if temporary:
                    # while it is still locked, so that whoever opened it before sees that it is gone
                    lock.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    """Read a JSON file, as `parse_json` does. Raises OSError: see `regular_bytes`. JsonError."""
    return parse_json(regular_bytes(path, MOST_TEXT_BYTES))


def file_digest(path: Path) -> str:
    """SHA-256 of a regular file's bytes, hexadecimal."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of the order of keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def source_digest(*modules: ModuleType) -> str:
    """SHA-256 over the source text of modules: the code's part of a content address."""
    digest = hashlib.sha256()
    for module in sorted(modules, key=lambda m: m.__name__):
        assert module.__file__ is not None
        digest.update(module.__name__.encode() + b"\0" + Path(module.__file__).read_bytes() + b"\0")
    return digest.hexdigest()
