"""A folder that another takes the place of is lost at no step, and what others hold is left alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ricenet.runtime import files, temporary
from ricenet.runtime.files import atomic_folder
from ricenet.runtime.private_modes import close_folders
from ricenet.runtime.temporary import PARTIAL, clear, left_behind


def test_an_error_between_the_two_renames_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")

    def fails(temporary: Path, path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "_named", fails)
    with pytest.raises(OSError, match="Input/output error"), atomic_folder(tmp_path / "out") as made:
        (made / "new").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    assert left_behind(tmp_path) == []


def test_what_another_user_may_be_making_is_not_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, opened = tmp_path / f"{PARTIAL}theirs", os.open
    theirs.write_text("half")

    def refused(path: str | Path, *arguments: int) -> int:
        if Path(path) == theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(temporary.os, "open", refused)
    assert not clear(theirs)
    assert theirs.exists()


def test_what_cannot_be_deleted_or_is_gone_counts_as_not_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / f"{PARTIAL}kept"
    assert not clear(kept)
    kept.write_text("half")

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        assert not clear(kept)
    assert clear(kept) and not kept.exists()


def test_what_a_link_at_a_projects_door_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    shared, project = tmp_path / "shared", tmp_path / "project"
    shared.mkdir(mode=0o755)
    project.mkdir()
    shared.chmod(0o755)
    (project / "data").symlink_to(shared)
    close_folders(project)
    assert shared.stat().st_mode & 0o777 == 0o755
