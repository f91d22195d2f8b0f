"""Sweeping takes what nobody uses, and leaves alone what somebody may."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.runtime.errors import StoreError
from ricenet.runtime.files import locked
from ricenet.runtime.store import STAGE_LOCK, STORE, Store
from ricenet.runtime.sweep import sweep

OLD, NEW, OTHER = "a1" * 32, "b2" * 32, "c3" * 32
CONTENT = bytes(1000)


def write(folder: Path) -> None:
    (folder / "values").write_bytes(CONTENT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two results of preprocessing, one of them in use; a kind that has not said what it uses."""
    subjects = Store(tmp_path / STORE / "subjects")
    for key in (OLD, NEW):
        subjects.get(key, write)
    subjects.use([NEW])
    Store(tmp_path / STORE / "quality").get(OTHER, write)
    return tmp_path


def test_what_the_last_run_did_not_use_goes(project: Path) -> None:
    swept = {part.kind: part for part in sweep(project)}
    subjects = Store(project / STORE / "subjects")
    assert not subjects.has(OLD) and subjects.is_intact(NEW)
    assert [path.name for path in swept["subjects"].unused] == [OLD] and swept["subjects"].kept == 1
    assert swept["subjects"].freed_bytes > len(CONTENT)


def test_results_of_a_stage_that_has_not_said_what_it_uses_stay(project: Path) -> None:
    sweep(project)
    assert Store(project / STORE / "quality").is_intact(OTHER)


def test_a_dry_run_deletes_nothing(project: Path) -> None:
    swept = {part.kind: part for part in sweep(project, dry_run=True)}
    assert len(swept["subjects"].unused) == 1
    assert Store(project / STORE / "subjects").is_intact(OLD)


def test_recent_results_may_be_spared(project: Path) -> None:
    sweep(project, older_than_days=1)
    assert Store(project / STORE / "subjects").is_intact(OLD)
    path, two_days_ago = Store(project / STORE / "subjects").path(OLD), time.time() - 2 * 86_400
    os.utime(path, (two_days_ago, two_days_ago))
    sweep(project, older_than_days=1)
    assert not path.exists()


def test_folds_that_lie_directly_by_their_key_are_swept_too(project: Path) -> None:
    folds = project / STORE / "folds"
    for key in (OLD, NEW):
        (folds / key).mkdir(parents=True)
        (folds / key / "weights.safetensors").write_bytes(CONTENT)
    Store(folds).use([NEW])
    sweep(project)
    assert sorted(path.name for path in folds.iterdir() if path.is_dir()) == [NEW]


def test_what_killed_runs_left_behind_goes(project: Path) -> None:
    for place in ("work/.partial-preprocessed-x", "work/store/subjects/a1/.partial-y", "models/.partial-z"):
        (project / place / "deeper/.partial-inner").mkdir(parents=True)
        (project / place / "values").write_bytes(CONTENT)
    (project / "work/.partial-file.json").write_text("{")
    (swept,) = (part for part in sweep(project) if part.left_behind)
    assert len(swept.left_behind) == 4 and swept.freed_bytes == 3 * len(CONTENT) + 1
    assert not list(project.rglob(".partial-*"))


def test_nothing_is_swept_while_a_stage_runs(project: Path) -> None:
    with (
        locked(project / STORE / STAGE_LOCK, shared=True),
        pytest.raises(StoreError, match="a stage is running and may use any result: sweep when it has"),
    ):
        sweep(project)
    assert Store(project / STORE / "subjects").has(OLD)


def test_stages_run_side_by_side(project: Path) -> None:
    with (
        locked(project / STORE / STAGE_LOCK, shared=True),
        locked(project / STORE / STAGE_LOCK, shared=True, wait=False),
    ):
        pass


def test_outside_a_project_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"work/store is not here: run the command in the project's folder"):
        sweep(tmp_path)


def test_the_command_says_what_goes_and_what_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    before = CliRunner().invoke(app, ["store", "gc", "--dry-run"])
    assert "subjects: 1 would go, 1 kept (0.0 MB)" in before.stdout
    after = CliRunner().invoke(app, ["store", "gc"])
    assert "subjects: 1 deleted, 1 kept (0.0 MB)" in after.stdout and after.exit_code == 0
    monkeypatch.chdir(project / "work")
    elsewhere = CliRunner().invoke(app, ["store", "gc"])
    assert elsewhere.exit_code == 1 and "work/store is not here" in elsewhere.stderr
