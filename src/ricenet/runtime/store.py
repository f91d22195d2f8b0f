"""A content-addressed store of finished results: one folder a key, complete and intact, or made again.

Several processes may use one store: a key's folder appears by one rename, whoever makes it holds a lock
that the system releases when a process dies, and others wait for it instead of doing the same.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import (
    file_digest,
    locked,
    make_folder,
    put_folder_in_place,
    read_json,
    sync,
    write_json,
)
from ricenet.runtime.formats import FIRST
from ricenet.runtime.full_disk import MAKE_ROOM, NO_ROOM, no_room_found
from ricenet.runtime.private_modes import file_mode, folder_mode
from ricenet.runtime.temporary import partial_folder

logger = logging.getLogger(__name__)

CONTENTS = "contents.json"
"""SHA-256 of every other file of an entry, by its path within."""

FORMAT = FIRST
"""Of the store: an entry of another is neither used nor replaced."""

_EMPTY = "Move the folder work/store away, and run `dvc repro`: what is needed is made again"

IN_USE = "in_use.json"
"""Keys that the last run of a stage asked for; `ricenet store gc` keeps these."""

LOCKS = ".locks"

STORE = Path("work/store")
"""In the project's folder."""

STAGE_LOCK = ".lock"

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
        """Whether the result of a key is there, and its files are those that were written.

        Raises FormatError: another version of ricenet wrote it.
        """
        folder = self.path(key)
        try:
            return bool(_digests(folder) == _noted(folder))
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
            make_folder(target.parent)
            with partial_folder(target.parent) as temporary:
                yield temporary
                write_json(temporary / CONTENTS, _digests(temporary))
                _protect(temporary)
                self._discard(key)
                put_folder_in_place(temporary, target)

    def lay_out(self, key: str, folder: Path) -> None:
        """Put a result's files into a new folder; they take no room twice where the file system has links."""
        shutil.copytree(self.path(key), folder, ignore=lambda *_: [CONTENTS], copy_function=_link_or_copy)

    def use(self, keys: Iterable[str]) -> None:
        """Note which results are in use from now on: all others may be swept."""
        write_json(self.root / IN_USE, sorted(set(keys)))

    def _locked(self, key: str) -> contextlib.AbstractContextManager[None]:
        with _told_if_not_writable(self.root):
            make_folder(self.root / LOCKS)
            return locked(self.root / LOCKS / key)

    def _discard(self, key: str) -> None:
        if self.has(key):
            logger.warning("store: the result %s is damaged; it is replaced", key[:12])
            # by way of a rename: a kill in between leaves no half of it under its name
            discard(self.path(key))


def _noted(folder: Path) -> Any:
    return FORMAT.content(read_json(folder / CONTENTS), f"{CONTENTS} in work/store", _EMPTY)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / CONTENTS)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def seal(folder: Path, names: Iterable[str]) -> None:
    """Note the hashes of a folder's files, which so are complete; others may lie beside them."""
    write_json(folder / CONTENTS, {name: file_digest(folder / name) for name in names})


def is_sealed(folder: Path) -> bool:
    """Whether every file is there as it was when the folder was sealed."""
    try:
        noted = _noted(folder)
        return bool(noted) and all(file_digest(folder / name) == found for name, found in noted.items())
    except (OSError, ValueError, AttributeError):
        return False


def discard(folder: Path) -> None:
    """Delete an entry, by way of a rename: a kill in between leaves no half of it under its name.

    Nothing is to do where another process was faster.
    """
    with partial_folder(folder.parent) as discarded, contextlib.suppress(FileNotFoundError):
        folder.replace(discarded)
        sync(folder.parent)


def _protect(folder: Path) -> None:
    """Guard an entry against slips of the hand, for its files may lie in other folders as links."""
    folder.chmod(folder_mode())
    for path in folder.rglob("*"):
        path.chmod(folder_mode() if path.is_dir() else file_mode() & 0o444)


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
        if number in NO_ROOM:
            found = no_room_found(error)
            raise StoreError(f"the store cannot be written: {found}. {MAKE_ROOM}") from None
        if number not in _FORBIDDEN or not here:
            raise
        raise StoreError(
            f"the store cannot be written: {_FORBIDDEN[number]}. Finished results are kept: give the folder "
            "work/store to your user, and run again"
        ) from None
