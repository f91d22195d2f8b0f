"""A folder and its copy elsewhere become equal again, in an order that a loss in between does not harm."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import PARTIAL, locked, write_text
from ricenet.runtime.ray import node
from ricenet.runtime.ray.keeper import Keeper, Line, SupersededError, Ticket
from ricenet.runtime.ray.node import sweep_run
from ricenet.runtime.ray.travel import Changes, Watched, apply, read_folder


def content(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def texts(folder: Path) -> dict[str, str]:
    return {name: bytes(held).decode() for name, held in read_folder(folder).items()}


def send(watched: Watched, there: Path, *, ended: bool = False) -> Changes:
    changes = pickle.loads(pickle.dumps(watched.changes(ended=ended)))  # noqa: S301 - as on the way
    apply(changes, there)
    watched.sent(changes)
    return changes


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
    watched = Watched(here, last="record")
    write(here / "a", "one", age_s=3)
    write(here / "deep" / "b", "two", age_s=2)
    assert list(send(watched, there).files) == ["a", "deep/b"]
    assert not send(watched, there)
    write(here / "a", "ONE")
    (here / "deep" / "b").unlink()
    changes = send(watched, there)
    assert (list(changes.files), changes.gone) == (["a"], ("deep/b",))
    assert texts(there) == {"a": "ONE"}


def test_files_go_oldest_first_and_the_mark_of_the_end_after_all_others(here: Path) -> None:
    watched = Watched(here, last="record")
    for age_s, name in enumerate(("record", "younger", "older")):
        write(here / name, name, age_s)
    assert list(watched.changes(ended=False).files) == ["older", "younger"]
    assert list(watched.changes(ended=True).files) == ["older", "younger", "record"]


def test_half_written_files_stay(here: Path) -> None:
    write(here / f"{PARTIAL}xyz.bin", "half")
    write(here / f"{PARTIAL}folder" / "part", "half")
    write(here / "whole", "whole")
    assert list(Watched(here, last="record").changes(ended=True).files) == ["whole"]


def test_a_renamed_file_is_not_sent_again(here: Path, there: Path) -> None:
    watched = Watched(here, last="record")
    write(here / "checkpoint", "epoch 1", age_s=2)
    send(watched, there)
    (here / "checkpoint").replace(here / "before")
    write(here / "checkpoint", "epoch 2", age_s=1)
    changes = send(watched, there)
    assert (dict(changes.same), list(changes.files)) == ({"before": "checkpoint"}, ["checkpoint"])
    assert texts(there) == {"before": "epoch 1", "checkpoint": "epoch 2"}


def test_files_that_changed_names_among_them_keep_their_contents(here: Path, there: Path) -> None:
    watched = Watched(here, last="record")
    write(here / "a", "one", age_s=2)
    write(here / "b", "two", age_s=1)
    send(watched, there)
    (here / "a").rename(here / "c")
    (here / "b").rename(here / "a")
    (here / "c").rename(here / "b")
    send(watched, there)
    assert texts(there) == {"a": "two", "b": "one"}


def test_what_was_there_at_the_start_is_known_to_both_sides(here: Path, there: Path) -> None:
    write(there / "checkpoint", "epoch 1")
    write(there / "record", "done")
    watched = Watched(here, last="record")
    watched.lay_out(read_folder(there))
    assert texts(here) == {"checkpoint": "epoch 1", "record": "done"}
    assert not send(watched, there)
    assert texts(there) == {"checkpoint": "epoch 1", "record": "done"}


# ---- the keeper


def changed(**files: str) -> Changes:
    return Changes({}, {name: content(text) for name, text in files.items()}, (), {})


def test_only_the_latest_attempt_is_kept(there: Path) -> None:
    keeper, first, second = Keeper([there]), Ticket(0, 1), Ticket(0, 2)
    assert keeper.begin(first, "node a") == {}
    keeper.take(first, changed(a="one"), [Line("ricenet", 20, "begun")])
    assert {name: bytes(held) for name, held in keeper.begin(second, "node b").items()} == {"a": b"one"}
    with pytest.raises(SupersededError, match="begun again on another node"):
        keeper.take(first, changed(a="late"), [])
    with pytest.raises(SupersededError):
        keeper.begin(first, "node a")
    assert texts(there) == {"a": "one"}
    assert (keeper.node_of(first), keeper.node_of(second)) == (None, "node b")
    assert [line.text for line in keeper.hear()] == ["begun"]
    assert keeper.hear() == []


def test_what_cannot_be_written_beside_the_driver_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    keeper, ticket = Keeper([tmp_path / "file"]), Ticket(0, 1)
    keeper.begin(ticket, "node")
    with pytest.raises(
        RicenetError, match=r"cannot be kept on the driver's machine \(.+\): make room"
    ) as caught:
        keeper.take(ticket, changed(a="one"), [])
    assert str(tmp_path) not in str(caught.value)


# ---- copies on a node


def test_copies_that_nobody_uses_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(node, "SWEEP_SECONDS", 0.2)
    home = node.home_of_copies()
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
    monkeypatch.setattr(node.tempfile, "tempdir", str(tmp_path))
    home = node.home_of_copies()
    assert home.stat().st_mode & 0o777 == 0o700
    if spoil == "a link":
        home.rename(tmp_path / "real")
        home.symlink_to(tmp_path / "real")
    else:
        home.chmod(0o755)
    with pytest.raises(RicenetError, match="no patient's data is copied there: remove it"):
        node.home_of_copies()
