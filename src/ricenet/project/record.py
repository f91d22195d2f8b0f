"""`.ricenet/written.json`: at which version a project is, and what was written into it.

By the digests `ricenet upgrade` tells what the user edited from what only another version writes otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, ValidationError

from ricenet import __version__
from ricenet.runtime.errors import ProjectError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes, write_json
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError

WRITTEN = Path(".ricenet/written.json")
RESTORE = "Restore it from git"


def _version(text: str) -> str:
    """The text, if it is a version of a Python package. Raises ValueError."""
    try:
        Version(text)
    except InvalidVersion as error:
        raise ValueError(str(error)) from None
    return text


def _within(path: str) -> str:
    """The path, unless it leads out of the project. Raises ValueError."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("not inside the project")
    return path


def digest_of(content: bytes | None) -> str | None:
    """SHA-256 of a file's content, hexadecimal; None where there is no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


class ProjectRecord(Record):
    """name: the project's. version: of ricenet. files: path in the project -> SHA-256 of what was written."""

    name: str
    version: Annotated[str, AfterValidator(_version)]
    files: Mapping[Annotated[str, AfterValidator(_within)], str]

    @classmethod
    def of(cls, name: str, files: Mapping[str, bytes]) -> Self:
        """The record of files that this version has written."""
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
        return cls(name=name, version=__version__, files=digests)

    @classmethod
    def found(cls, project: Path) -> Self | None:
        """A project's record; None where the folder is no project of `ricenet init`.

        Raises ProjectError: it is damaged. FormatError: of another format.
        """
        if not (project / WRITTEN).is_file():
            return None
        try:
            content = regular_bytes(project / WRITTEN, MOST_TEXT_BYTES)
            return cls.parse(content, WRITTEN.as_posix(), RESTORE)
        except (JsonError, ValidationError):
            raise ProjectError(
                f"{WRITTEN.as_posix()} is damaged: it does not say name, version and files. {RESTORE}"
            ) from None

    @property
    def is_newer(self) -> bool:
        """Whether a later version of ricenet than this one wrote the project."""
        return Version(self.version) > Version(__version__)

    def write(self, project: Path) -> None:
        """Write it into a project's folder."""
        write_json(project / WRITTEN, self.model_dump())
