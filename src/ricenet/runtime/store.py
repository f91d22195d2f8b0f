"""A content-addressed store of finished results: one folder a key, complete and intact, or made again.

Several processes may use one store: a key's folder appears by one rename, whoever makes it holds a lock
that the system releases when a process dies, and others wait for it instead of doing the same.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import PARTIAL, file_digest, locked, read_json, write_json

logger = logging.getLogger(__name__)

CONTENTS = "contents.json"
"""SHA-256 of every other file of an entry, by its path within."""

IN_USE = "in_use.json"
"""Keys that the last run of a stage asked for; `ricenet store gc` keeps these."""

LOCKS = ".locks"

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}

_FORBIDDEN = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing is not permitted",
    errno.EPERM: "writing is not permitted",
}


@dataclass(frozen=True)
class Store:
    """Results by content key below `root`."""

    root: Path

    def path(self, key: str) -> Path:
        """Where the result of a key lies or would lie."""
        return self.root / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the result of a key is there, intact or not."""
        return self.path(key).is_dir()

    def is_intact(self, key: str) -> bool:
        """Whether the result of a key is there, and its files are those that were written."""
        folder = self.path(key)
        try:
            return bool(_digests(folder) == read_json(folder / CONTENTS))
        except (OSError, ValueError):
            return False

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """The intact result of a key; where there is none, `make` writes it into the folder it is given.

        Raises StoreError: the store cannot be written; and whatever `make` raises.
        """
        if not self.is_intact(key):
            with self._locked(key):
                # another process may have made it in the meantime
                if not self.is_intact(key):
                    with self.writing(key) as folder:
                        make(folder)
        return self.path(key)

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A temporary folder that becomes the key's result when the block ends well.

        What was there before was damaged, and goes.
        Raises StoreError: the store cannot be written.
        """
        target = self.path(key)
        with _told_if_not_writable(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=target.parent))
            try:
                yield temporary
                write_json(temporary / CONTENTS, _digests(temporary))
                _protect(temporary)
                self._discard(key)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def lay_out(self, key: str, folder: Path) -> None:
        """Put a result's files into a new folder; they take no room twice where the file system has links."""
        shutil.copytree(self.path(key), folder, ignore=lambda *_: [CONTENTS], copy_function=_link_or_copy)

    def use(self, keys: Iterable[str]) -> None:
        """Note which results are in use from now on: all others may be swept."""
        write_json(self.root / IN_USE, sorted(set(keys)))

    def _locked(self, key: str) -> contextlib.AbstractContextManager[None]:
        with _told_if_not_writable(self.root):
            (self.root / LOCKS).mkdir(parents=True, exist_ok=True)
            return locked(self.root / LOCKS / key)

    def _discard(self, key: str) -> None:
        if self.has(key):
            logger.warning("store: the result %s is damaged; it is replaced", key[:12])
            # by way of a rename: a kill in between leaves no half of it under its name
            damaged = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.path(key).parent))
            self.path(key).replace(damaged)
            shutil.rmtree(damaged)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / CONTENTS)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def _protect(folder: Path) -> None:
    """Guard an entry against slips of the hand, for its files may lie in other folders as links."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        # another disk, or one without links; read-only as well
        shutil.copy(source, target)
    return target


@contextlib.contextmanager
def _told_if_not_writable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        # what may not be read elsewhere is another matter
        here = isinstance(error.filename, str) and Path(error.filename).is_relative_to(root)
        found = _NO_ROOM.get(number) or (_FORBIDDEN.get(number) if here else None)
        if found is None:
            raise
        raise StoreError(
            f"the store cannot be written: {found}. Finished results are kept: "
            "make room (`ricenet store gc`) or give the folder work/store to your user, and run again"
        ) from None


STORE = Path("work/store")

SWEPT = ("work", "models", "data")
"""Folders of the project in which stages write."""

STAGE_LOCK = ".lock"

_KEY = re.compile(r"[0-9a-f]{64}")

_DAY_S = 86_400


@dataclass(frozen=True)
class Sweep:
    """What was swept, or would be, in one kind of results. left_behind: by killed runs."""

    kind: str
    kept: int
    unused: tuple[Path, ...]
    left_behind: tuple[Path, ...]
    freed_bytes: int


def sweep(project: Path, *, older_than_days: float = 0.0, dry_run: bool = False) -> list[Sweep]:
    """Delete what no stage's last run asked for, and temporary files, that are older than some days.

    A kind of results whose stage has not said yet what it uses is kept whole.
    Raises StoreError: a stage is running, or there is no store.
    """
    store = project / STORE
    if not store.is_dir():
        raise StoreError(
            f"{STORE} is not here: run the command in the project's folder, after its first `dvc repro`"
        )
    before_s = time.time() - older_than_days * _DAY_S
    try:
        with locked(store / STAGE_LOCK, wait=False):
            kinds = sorted(path for path in store.iterdir() if path.is_dir())
            swept = [_sweep_kind(kind, before_s, dry_run) for kind in kinds]
            return [*swept, _sweep_left_behind(project, before_s, dry_run)]
    except BlockingIOError:
        raise StoreError("a stage is running and may use any result: sweep when it has finished") from None


def _sweep_kind(kind: Path, before_s: float, dry_run: bool) -> Sweep:
    entries = list(_entries(kind))
    used = _keys_in_use(kind)
    unused = [e for e in entries if used is not None and e.name not in used and _is_older(e, before_s)]
    freed = _size_bytes(unused)
    if not dry_run:
        _delete(unused)
        shutil.rmtree(kind / LOCKS, ignore_errors=True)
    return Sweep(kind.name, len(entries) - len(unused), tuple(unused), (), freed)


def _sweep_left_behind(project: Path, before_s: float, dry_run: bool) -> Sweep:
    found = [
        path
        for folder in SWEPT
        for path in sorted((project / folder).rglob(f"{PARTIAL}*"))
        if not any(parent.name.startswith(PARTIAL) for parent in path.parents) and _is_older(path, before_s)
    ]
    freed = _size_bytes(found)
    if not dry_run:
        _delete(found)
    return Sweep("temporary files", 0, (), tuple(found), freed)


def _entries(kind: Path) -> Iterator[Path]:
    """Results lie by their key, or by it in a folder named after its first two digits."""
    for path in sorted([*kind.glob("*"), *kind.glob("??/*")]):
        if path.is_dir() and _KEY.fullmatch(path.name):
            yield path


def _keys_in_use(kind: Path) -> set[str] | None:
    path = kind / IN_USE
    return set(read_json(path)) if path.is_file() else None


def _is_older(path: Path, before_s: float) -> bool:
    return path.stat().st_mtime <= before_s


def _size_bytes(paths: Iterable[Path]) -> int:
    """What deleting frees: a file that another folder links stays."""
    files = (f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file())
    return sum(f.stat().st_size for f in files if f.stat().st_nlink == 1)


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
