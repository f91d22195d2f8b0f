"""A folder and its copy elsewhere become equal again, in an order that a loss in between does not harm."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import locked, write_text
from ricenet.runtime.ray import copies
from ricenet.runtime.ray.copies import sweep_run
from ricenet.runtime.ray.staging import (
    Files,
    FolderWatch,
    ResultKeeper,
    SupersededError,
    read_folder,
)
from ricenet.runtime.temporary import PARTIAL


def contents(**files: str) -> Files:
    return {name: np.frombuffer(text.encode(), np.uint8) for name, text in files.items()}


def texts(files: Files) -> dict[str, str]:
    return {name: bytes(held).decode() for name, held in files.items()}


def send(watch: FolderWatch, there: Path, *, ended: bool = False) -> tuple[list[str], list[str]]:
    """Names that were sent and that are gone."""
    files, gone, stamps = pickle.loads(pickle.dumps(watch.changes(ended=ended)))  # noqa: S301 - as on the way
    keeper = ResultKeeper([there])
    attempt, _ = keeper.begin(0, "node")
    keeper.keep(0, attempt, files, gone, [])
    watch.sent(stamps)
    return list(files), gone


def write(path: Path, text: str, age_s: float = 0) -> None:
    write_text(path, text)
    os.utime(path, ns=(0, 10**18 - int(age_s * 1e9)))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def test_only_what_changed_is_sent_and_what_vanished_vanishes(here: Path, there: Path) -> None:
    watch = FolderWatch(here, last="record")
    write(here / "a", "one", age_s=3)
    write(here / "deep" / "b", "two", age_s=2)
    assert send(watch, there) == (["a", "deep/b"], [])
    assert send(watch, there) == ([], [])
    write(here / "a", "ONE")
    (here / "deep" / "b").unlink()
    assert send(watch, there) == (["a"], ["deep/b"])
    assert texts(read_folder(there)) == {"a": "ONE"}


def test_files_go_oldest_first_and_the_mark_of_the_end_after_all_others(here: Path) -> None:
    watch = FolderWatch(here, last="record")
    for age_s, name in enumerate(("record", "younger", "older")):
        write(here / name, name, age_s)
    assert list(watch.changes(ended=False)[0]) == ["older", "younger"]
    assert list(watch.changes(ended=True)[0]) == ["older", "younger", "record"]


def test_half_written_files_stay(here: Path) -> None:
    write(here / f"{PARTIAL}xyz.bin", "half")
    write(here / f"{PARTIAL}folder" / "part", "half")
    write(here / "whole", "whole")
    assert list(FolderWatch(here, last="record").changes(ended=True)[0]) == ["whole"]


def test_files_that_changed_names_among_them_keep_their_contents(here: Path, there: Path) -> None:
    watch = FolderWatch(here, last="record")
    write(here / "a", "one", age_s=2)
    write(here / "b", "two", age_s=1)
    send(watch, there)
    (here / "a").rename(here / "c")
    (here / "b").rename(here / "a")
    (here / "c").rename(here / "b")
    send(watch, there)
    assert texts(read_folder(there)) == {"a": "two", "b": "one"}


def test_what_was_there_at_the_start_is_known_to_both_sides(here: Path, there: Path) -> None:
    write(there / "checkpoint", "epoch 1")
    write(there / "record", "done")
    watch = FolderWatch(here, last="record")
    watch.lay_out(read_folder(there))
    assert texts(read_folder(here)) == {"checkpoint": "epoch 1", "record": "done"}
    assert send(watch, there) == ([], [])


def test_only_the_latest_attempt_is_kept(there: Path) -> None:
    keeper = ResultKeeper([there])
    first, left = keeper.begin(0, "node a")
    assert left == {}
    keeper.keep(0, first, contents(a="one"), [], [("ricenet", 20, "begun")])
    second, left = keeper.begin(0, "node b")
    assert texts(left) == {"a": "one"}
    with pytest.raises(SupersededError, match="begun again on another node"):
        keeper.keep(0, first, contents(a="late"), [], [])
    keeper.keep(0, second, contents(b="two"), [], [])
    assert texts(read_folder(there)) == {"a": "one", "b": "two"}
    assert keeper.node_of(0) == "node b"
    assert keeper.log_lines() == [("ricenet", 20, "begun")]
    assert keeper.log_lines() == []


def test_what_cannot_be_written_beside_the_driver_is_an_error_without_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    keeper = ResultKeeper([tmp_path / "file"])
    attempt, _ = keeper.begin(0, "node")
    with pytest.raises(RicenetError, match=r"cannot be kept on the driver's machine \(.+\)") as caught:
        keeper.keep(0, attempt, contents(a="one"), [], [])
    assert str(tmp_path) not in str(caught.value)


def test_copies_that_nobody_uses_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(copies, "SWEEP_SECONDS", 0.2)
    home = copies.home_of_copies()
    write_text(home / "run-one-node" / "inputs" / "a", "volumes")
    write_text(home / "run-two-node" / "inputs" / "a", "volumes")
    with locked(home / "run-one-node.lock", shared=True):
        sweep_run("one")
        assert (home / "run-one-node").exists()
    sweep_run("one")
    assert [path.name for path in home.iterdir() if path.is_dir()] == ["run-two-node"]


@pytest.mark.parametrize("spoil", ["open to others", "a link"])
def test_a_folder_that_others_can_read_gets_no_copies(
    spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies.tempfile, "tempdir", str(tmp_path))
    home = copies.home_of_copies()
    assert home.stat().st_mode & 0o777 == 0o700
    if spoil == "a link":
        home.rename(tmp_path / "real")
        home.symlink_to(tmp_path / "real")
    else:
        home.chmod(0o755)
    with pytest.raises(RicenetError, match="no patient's data is copied there"):
        copies.home_of_copies()
