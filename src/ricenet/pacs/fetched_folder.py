"""The folder that fetched objects are kept in: STUDY/SERIES/OBJECT.dcm, for its owner alone.

An object is there whole or not at all. In place of one that the PACS lists and does not deliver lies an empty
file, by which the import knows that the series is incomplete; and one in each series that is not settled yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, quietly
from ricenet.importing.dicom.headers import read_header
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.private_files import (
    file_errors_reported,
    make_private_folder,
    private_path,
    sole_use,
    write_private,
)
from ricenet.pacs.query import ListedSeries
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.runtime.temporary import PARTIAL, clear, left_behind

_MARK, _LOCK = ".fetched-by-ricenet", ".fetching.lock"
_UNLISTED = "lacking-"


class FetchedFolder:
    """root: the folder. Made by `opened`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, series: ListedSeries, sop_uid: str) -> bool:
        """Whether an object is there."""
        path = self._path(series, sop_uid)
        return path.is_file() and path.stat().st_size > 0

    def keep(self, series: ListedSeries, sop_uid: str, content: bytes) -> Instance:
        """Keep a whole object under the UID that the PACS lists; returns what its header says.

        Raises SourceError: damaged or cut short; nothing is kept then. CohortError: it cannot be written.
        """
        path = self._path(series, sop_uid)
        with self._writing():
            make_private_folder(path.parent.parent)
            make_private_folder(path.parent)
            with private_path(path, len(content)) as temporary:
                temporary.write_bytes(content)
                with quietly():
                    instance = read_header(temporary)
                if instance is None:
                    raise SourceError("no DICOM object", EXPORT_AGAIN)
        return instance

    def note_unsettled(self, series: ListedSeries) -> None:
        """Put one empty file into a series, until `note_lacking` says what it lacks."""
        self.note_lacking(series, [], 1)

    def note_lacking(self, series: ListedSeries, sop_uids: list[str], unlisted: int) -> None:
        """Put an empty file in place of each object that does not come, of counted and unlisted ones too."""
        folder = self._path(series, "").parent
        paths = [self._path(series, uid) for uid in sop_uids]
        paths += [folder / f"{_UNLISTED}{number}.dcm" for number in range(1, unlisted + 1)]
        with self._writing():
            if paths:
                make_private_folder(folder.parent)
                make_private_folder(folder)
            for path in paths:
                with private_path(path, 0):
                    pass
            # last, so that a kill leaves one too many rather than none
            for path in set(folder.glob(f"{_UNLISTED}*.dcm")).difference(paths):
                path.unlink()

    def _path(self, series: ListedSeries, sop_uid: str) -> Path:
        return self.root / series.study_uid / series.uid / f"{sop_uid}.dcm"

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return file_errors_reported(f"{self.root.name}: an object cannot be written")


@contextlib.contextmanager
def opened(root: Path) -> Iterator[FetchedFolder]:
    """The folder, made where it is missing, used by one fetch at a time; what a killed one left is cleared.

    Raises CohortError: a file, another's folder, in use at the moment, or the file system refuses it.
    """
    with file_errors_reported(f"{root.name}: cannot be opened"):
        if root.exists() and not root.is_dir():
            raise CohortError(f"{root.name} is a file. Name a folder for what is fetched")
        make_private_folder(root)
        known = {_MARK, _LOCK}
        others = [one for one in root.iterdir() if one.name not in known and not one.name.startswith(PARTIAL)]
        if others and not (root / _MARK).is_file():
            raise CohortError(
                f"{root.name} holds files that were not fetched from a PACS. Name a new folder, for the "
                "import would take them for the PACS's too"
            )
    with sole_use(root / _LOCK, root.name):
        with file_errors_reported(f"{root.name}: cannot be written into"):
            for path in left_behind(root):
                clear(path)
        write_private(root / _MARK, "What ricenet import dicomweb fetched; its objects name patients.\n")
        yield FetchedFolder(root)
