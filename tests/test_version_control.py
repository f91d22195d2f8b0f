"""Which commit a result comes from, and whether the code had changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ricenet.runtime.git import has_changes, head_commit


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("a = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def test_a_clean_project_has_a_commit_and_no_changes(repository: Path) -> None:
    assert len(head_commit(repository) or "") == 40
    assert not has_changes(repository, "src")


def test_changed_and_new_code_counts_as_a_change(repository: Path) -> None:
    (repository / "src" / "new.py").write_text("b = 2\n")
    assert has_changes(repository, "src")
    assert not has_changes(repository, "docs")


def test_lock_files_that_a_run_writes_are_no_change(repository: Path) -> None:
    (repository / "src" / "dvc.lock").write_text("stages: {}\n")
    assert not has_changes(repository, "src")


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert head_commit(tmp_path) is None
    assert not has_changes(tmp_path, "src")
