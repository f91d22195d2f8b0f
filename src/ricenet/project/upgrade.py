"""`ricenet upgrade`: what the installed version writes otherwise, and writing it where the user has not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ricenet import __version__
from ricenet.project.create import note_python
from ricenet.project.record import WRITTEN, ProjectRecord, digest_of
from ricenet.project.template import project_files
from ricenet.runtime.errors import ProjectError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes, write_bytes

SETTINGS = "params.yaml"
"""The user's own from the start: never written again (`settings_news`)."""

BESIDE = ".new"
"""What the name of a file ends with that stands beside one that the user edited."""

_OURS = ".ricenet/"
_UNSHOWN = (_OURS, "docs/", "requirements.lock")
"""Of these a list of names tells more than the lines."""

Kind = Literal["new", "changed", "dropped", "edited", "edited, dropped"]


@dataclass(frozen=True)
class Change:
    """One file that the installed version writes otherwise than the version that the project is at.

    kind: new, changed, dropped: the user left the file as it was written. edited: the user changed or
    deleted it, or had one of that name; it stays. now, new: contents, None where there is none.
    """

    path: str
    kind: Kind
    now: bytes | None
    new: bytes | None

    @property
    def difference(self) -> str:
        """The lines that differ, as `diff -u` shows them; empty for files of which the name says enough."""
        if self.path.startswith(_UNSHOWN):
            return ""
        before, after = (
            (content or b"").decode("utf-8", "replace").splitlines(keepends=True)
            for content in (self.now, self.new)
        )
        return "".join(difflib.unified_diff(before, after, self.path, f"{self.path} (ricenet {__version__})"))


def require_project(project: Path) -> ProjectRecord:
    """The record of the project that a folder is.

    Raises ProjectError: it is none, or of a later version. FormatError: of a later format.
    """
    record = ProjectRecord.found(project)
    if record is None:
        raise ProjectError(
            f"no project of `ricenet init` here: {WRITTEN.as_posix()} is not there. Change to the project's "
            "folder; a clone of the repository is brought to another version by `git pull` and `make setup`"
        )
    if record.is_newer:
        raise ProjectError(
            f"this project is at ricenet {record.version}, which is later than the installed {__version__}; "
            f"nothing is changed. Install ricenet {record.version} or a later one"
        )
    return record


def find_changes(project: Path, record: ProjectRecord) -> list[Change]:
    """What the installed version writes otherwise than the recorded one, by path.

    A file that both versions write alike is no change, whatever the user made of it.
    """
    files = project_files(record.name)
    changes = (
        _change(path, _content(project / path), record.files.get(path), files.get(path))
        for path in sorted({*files, *record.files} - {SETTINGS})
    )
    return [change for change in changes if change is not None]


def _change(path: str, now: bytes | None, written: str | None, new: bytes | None) -> Change | None:
    """written: digest of what an earlier version wrote; None where it wrote no such file."""
    found, wanted = digest_of(now), digest_of(new)
    if wanted in (found, written) and not (path.startswith(_OURS) and wanted != found):
        return None
    # nobody edits what only tells of the installed code
    if found == written or path.startswith(_OURS):
        kind: Kind = "dropped" if new is None else "changed" if written is not None else "new"
    else:
        kind = "edited, dropped" if new is None else "edited"
    return Change(path, kind, now, new)


def apply_changes(project: Path, record: ProjectRecord, changes: Iterable[Change]) -> None:
    """Write what the user has not edited, and beside what the user has edited a file of the new content.

    The record is written last: after a kill the same call goes on.
    """
    for change in changes:
        path = project / change.path
        if change.kind == "edited" and change.new is not None:
            write_bytes(path.with_name(path.name + BESIDE), change.new)
        elif change.kind in ("new", "changed") and change.new is not None:
            write_bytes(path, change.new)
        elif change.kind == "dropped":
            path.unlink(missing_ok=True)
    note_python(project)
    ProjectRecord.of(record.name, project_files(record.name)).write(project)


def _content(path: Path) -> bytes | None:
    return regular_bytes(path, MOST_TEXT_BYTES) if path.is_file() else None
