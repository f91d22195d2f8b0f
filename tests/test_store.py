"""The store holds whole, intact results, whoever is killed, and however many use it."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ricenet.runtime.errors import ScanError, StoreError
from ricenet.runtime.store import CONTENTS, Store, discard

KEY = "ab" * 32


def write_answer(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "answer").write_text("42")


def never(_: Path) -> None:
    raise AssertionError("made again")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_result_is_made_once(store: Store) -> None:
    assert not store.has(KEY) and not store.is_intact(KEY)
    folder = store.get(KEY, write_answer)
    assert (folder / "part" / "answer").read_text() == "42"
    assert store.get(KEY, never) == folder == store.path(KEY)


def test_what_fails_half_way_leaves_nothing(store: Store) -> None:
    def half(folder: Path) -> None:
        write_answer(folder)
        raise ScanError("sub-1", "dose", "all zero", "Check it.")

    with pytest.raises(ScanError):
        store.get(KEY, half)
    assert not store.has(KEY)
    assert list(store.path(KEY).parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["changed", "cut off", "missing", "added", "no digests", "no JSON"])
def test_a_damaged_result_is_made_again_with_a_warning(
    damage: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    folder = store.get(KEY, write_answer)
    answer, contents = folder / "part" / "answer", folder / CONTENTS
    for path in (answer, contents):
        path.chmod(0o644)
    if damage == "changed":
        answer.write_text("41")
    elif damage == "cut off":
        answer.write_text("4")
    elif damage == "missing":
        answer.unlink()
    elif damage == "added":
        (folder / "other").write_text("")
    elif damage == "no digests":
        contents.unlink()
    else:
        contents.write_text("{")
    assert store.has(KEY) and not store.is_intact(KEY)
    with caplog.at_level(logging.WARNING):
        again = store.get(KEY, write_answer)
    assert "the result abababababab is damaged; it is replaced" in caplog.text
    assert (again / "part" / "answer").read_text() == "42" and store.is_intact(KEY)
    assert [path.name for path in again.parent.iterdir()] == [KEY]


def test_files_of_a_result_are_guarded_and_shared_with_where_they_are_laid_out(
    store: Store, tmp_path: Path
) -> None:
    folder = store.get(KEY, write_answer)
    store.lay_out(KEY, tmp_path / "out")
    laid_out = tmp_path / "out" / "part" / "answer"
    assert laid_out.read_text() == "42" and not (tmp_path / "out" / CONTENTS).exists()
    assert laid_out.stat().st_ino == (folder / "part" / "answer").stat().st_ino
    assert laid_out.stat().st_mode & 0o222 == 0
    shutil.rmtree(tmp_path / "out")
    assert store.is_intact(KEY)


def test_without_links_files_are_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "another disk")

    folder = store.get(KEY, write_answer)
    monkeypatch.setattr(os, "link", refused)
    store.lay_out(KEY, tmp_path / "out")
    laid_out = tmp_path / "out" / "part" / "answer"
    assert laid_out.read_text() == "42"
    assert laid_out.stat().st_ino != (folder / "part" / "answer").stat().st_ino
    assert laid_out.stat().st_mode & 0o222 == 0


# ---- several processes


def make_slowly(root: Path, mark: Path) -> None:
    def make(folder: Path) -> None:
        with mark.open("a") as stream:
            stream.write("made\n")
        time.sleep(0.5)
        write_answer(folder)

    Store(root).get(KEY, make)


def test_two_processes_that_need_one_result_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=make_slowly, args=(tmp_path / "s", tmp_path / "mark")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "mark").read_text() == "made\n" and Store(tmp_path / "s").is_intact(KEY)


def test_a_kill_leaves_no_half_result_and_no_lock(store: Store, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ricenet.runtime.store import Store\n"
        "def make(folder):\n"
        "    (folder / 'half').write_text('x'); Path(sys.argv[2]).touch(); time.sleep(60)\n"
        "Store(Path(sys.argv[1])).get(sys.argv[3], make)\n"
    )
    mark = tmp_path / "begun"
    with subprocess.Popen([sys.executable, "-c", script, str(store.root), str(mark), KEY]) as process:
        while not mark.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not store.has(KEY)
    assert (store.get(KEY, write_answer) / "part" / "answer").read_text() == "42"


# ---- a disk that refuses


def full(folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "volumes.npy"))


def test_a_full_disk_is_told_with_what_to_do(store: Store) -> None:
    with pytest.raises(
        StoreError, match=r"cannot be written: the disk is full.*[.] Make room .* what is finished is kept"
    ):
        store.get(KEY, full)
    assert not store.has(KEY) and list(store.path(KEY).parent.iterdir()) == []


def test_a_store_that_may_not_be_written_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(StoreError, match="cannot be written: writing is not permitted"):
        store.get(KEY, write_answer)


def test_a_scan_that_may_not_be_read_is_no_fault_of_the_store(store: Store) -> None:
    def unreadable(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/sub-001_T1w.nii.gz")

    with pytest.raises(PermissionError):
        store.get(KEY, unreadable)


def test_on_a_small_file_system_what_fits_is_kept(tmp_path: Path) -> None:
    """A real one: 256 KiB of tmpfs in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("no file system can be mounted here: there is no command unshare")
    script = (
        "from pathlib import Path\nfrom ricenet.runtime.errors import StoreError\n"
        "from ricenet.runtime.store import Store\n"
        "import sys; store = Store(Path(sys.argv[1]) / 'store')\n"
        "def make(folder): (folder / 'values').write_bytes(bytes(100_000))\n"
        "keys = [f'{n:02d}' * 32 for n in range(4)]\n"
        "try:\n"
        "    for key in keys: store.get(key, make)\n"
        "except StoreError as error: print(error)\n"
        "print(sum(store.is_intact(key) for key in keys), sum(store.has(key) for key in keys))\n"
    )
    mounted = tmp_path / "small"
    mounted.mkdir()
    inner = f'mount -t tmpfs -o size=256k tmpfs {mounted} && exec {sys.executable} -c "$0" {mounted}'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner, script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.stdout.splitlines()[0].startswith("the store cannot be written: the disk is full"), (
        done.stderr
    )
    assert done.stdout.splitlines()[-1] == "2 2"


def test_an_entry_that_another_process_discarded_first_is_no_fault(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    entry.mkdir()
    discard(entry)
    discard(entry)
    assert list(tmp_path.iterdir()) == []
