"""What is written is its owner's alone, unless the user chooses otherwise; and what kills left is cleared."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ricenet.cli.running import run_stage
from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import atomic_folder, atomic_path, locked, write_json, write_text
from ricenet.runtime.private_modes import VARIABLE, close_folders, mask, written_privately
from ricenet.runtime.store import STAGE_LOCK, STORE, Store
from ricenet.runtime.temporary import clear, found_left_behind, is_held, partial_file, partial_folder
from ricenet.training.tensors_file import write_tensors

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def umask_of_most_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("ricenet.runtime.private_modes._PROCESS_MASK", 0o022)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_everything(root: Path) -> None:
    """By each of the project's ways of writing, and as libraries write."""
    with written_privately():
        write_json(root / "work/deep/a.json", {})
        write_text(root / "models/a.tsv", "")
        with atomic_path(root / "work/b.bin") as path:
            path.unlink()
            path.write_bytes(b"as by a library that makes the file anew")
        with atomic_folder(root / "data/mine") as folder:
            (folder / "sub-001").mkdir()
            (folder / "sub-001/scan.nii").touch()
        write_tensors({"w": torch.zeros(1)}, root / "work/w.safetensors")
        with locked(root / "work/.lock"):
            pass


def modes_below(root: Path) -> dict[bool, set[int]]:
    """Of folders (True) and files."""
    found: dict[bool, set[int]] = {True: set(), False: set()}
    for path in root.rglob("*"):
        found[path.is_dir()].add(mode(path))
    return found


@pytest.mark.parametrize(
    ("chosen", "process_mask", "files", "folders"),
    [
        (None, 0o022, 0o600, 0o700),
        (None, 0o000, 0o600, 0o700),
        ("027", 0o022, 0o640, 0o750),
        ("022", 0o022, 0o644, 0o755),
        # the stricter of both
        ("022", 0o077, 0o600, 0o700),
        ("007", 0o022, 0o640, 0o750),
    ],
)
def test_files_are_their_owners_alone_unless_the_user_chooses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str | None,
    process_mask: int,
    files: int,
    folders: int,
) -> None:
    monkeypatch.setattr("ricenet.runtime.private_modes._PROCESS_MASK", process_mask)
    if chosen is not None:
        monkeypatch.setenv(VARIABLE, chosen)
    write_everything(tmp_path)
    assert modes_below(tmp_path) == {True: {folders}, False: {files}}


def test_an_entry_of_the_store_is_its_owners_alone_and_guarded_against_writing(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep/values").touch(0o644)

    entry = Store(tmp_path / "store").get(KEY, make)
    assert modes_below(entry) == {True: {0o700}, False: {0o400}} and mode(entry) == 0o700


def test_the_umask_is_the_users_again_afterwards() -> None:
    before = os.umask(0o022)
    try:
        with written_privately():
            assert os.umask(0o077) == 0o077
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize("text", ["77777", "rw", "100", "-1", "0o27x"])
def test_a_choice_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(RicenetError, match=r"RICENET_UMASK is '.*'; expected three octal digits"):
        mask()


def test_what_git_and_dvc_made_is_closed_at_the_projects_doors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("work", "data", "models", "mlflow", ".dvc/cache", "src"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv(VARIABLE, "027")
    close_folders(tmp_path)
    assert {mode(tmp_path / name) for name in ("work", "data", "models", ".dvc/cache")} == {0o750}
    monkeypatch.delenv(VARIABLE)
    close_folders(tmp_path)
    assert {mode(tmp_path / name) for name in ("work", "data", "models", ".dvc/cache")} == {0o700}
    # code is no secret, and what is stricter already stays
    assert mode(tmp_path / "src") == 0o755
    (tmp_path / "work").chmod(0o500)
    close_folders(tmp_path)
    assert mode(tmp_path / "work") == 0o500


# ---- what kills leave behind


MAKING = """
import sys, time
from pathlib import Path
from ricenet.runtime.files import atomic_folder, atomic_path
root = Path(sys.argv[1])
with atomic_folder(root / "work/preprocessed") as folder, atomic_path(root / "a.json"):
    (folder / "half").touch()
    print("making", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main() -> None:
    """A stage that does nothing."""


def test_the_next_run_clears_what_a_killed_one_left_and_nothing_that_another_is_making(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    making = [sys.executable, "-c", MAKING, str(project / "data")]
    with (
        subprocess.Popen(making, stdout=subprocess.PIPE) as living,
        subprocess.Popen([*making[:-1], str(project)], stdout=subprocess.PIPE) as killed,
    ):
        for process in (living, killed):
            assert process.stdout is not None and process.stdout.readline() == b"making\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        before = set(project.rglob(".partial-*"))
        # two folders, and a file in data/; that beside work/ lies where no stage writes
        assert len(before) == 4
        run_stage(main)
        left = set(project.rglob(".partial-*"))
        living.kill()
    (gone,) = before - left
    assert gone.parent == project / "work"
    assert sorted(path.parent.name for path in left) == ["data", project.name, "work"]
    run_stage(main)
    assert [path.parent for path in project.rglob(".partial-*")] == [project]


def test_clearing_takes_only_what_nobody_holds(project: Path) -> None:
    with partial_folder(project / "data") as folder, partial_file(project / "data", ".json") as file:
        (folder / "half").touch()
        assert is_held(folder) and is_held(file)
        assert not clear(folder) and not clear(file)
        assert (folder / "half").exists() and file.exists()
        assert found_left_behind(project) == []
    (project / "data/.partial-folder").mkdir()
    (project / "data/.partial-file").touch()
    (project / "data/.partial-link").symlink_to("gone")
    assert len(found_left_behind(project)) == 3
    assert all(clear(path) for path in found_left_behind(project))
    assert list((project / "data").iterdir()) == []


def test_what_is_cleared_between_its_making_and_its_holding_is_made_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ricenet.runtime import temporary

    taken, lock = [], temporary.fcntl.flock

    def beaten(descriptor: int, how: int) -> None:
        if not taken:
            (path,) = (project / "data").iterdir()
            taken.append(path)
            path.rmdir()
        lock(descriptor, how)

    monkeypatch.setattr(temporary.fcntl, "flock", beaten)
    with partial_folder(project / "data") as folder:
        assert folder.is_dir() and folder != taken[0]


def test_stages_keep_their_lock_where_the_sweep_looks_for_it(project: Path) -> None:
    run_stage(main)
    assert mode(project / STORE / STAGE_LOCK) == 0o600 and mode(project / STORE) == 0o700
