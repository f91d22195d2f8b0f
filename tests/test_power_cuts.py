"""After a power cut at any moment of a write, each result is there whole, as it was before, or not at all.

And what a function has returned from is there: `ricenet.runtime.files` syncs before and after the rename.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from power_cuts import Disk, cuts

from ricenet.importing.private_files import write_private
from ricenet.inference.test_ledger import LedgerRow, read_ledger, record_evaluation
from ricenet.runtime import files
from ricenet.runtime.files import atomic_folder, atomic_path, read_json, sync, write_json, write_text
from ricenet.runtime.store import Store
from ricenet.training.tensors_file import read_tensors, write_tensors

Work = Callable[[Path], None]
Found = Callable[[Path], object]
KEY = "ab" * 32
ABSENT = "absent"


def text_in(path: Path) -> str:
    return path.read_text() if path.exists() else ABSENT


def folder_texts(folder: Path) -> object:
    return {p.name: p.read_text() for p in folder.iterdir()} if folder.exists() else ABSENT


def write_folder(path: Path, text: str) -> None:
    with atomic_folder(path) as folder:
        for name in ("one", "two"):
            write_text(folder / name, text * 3)


def write_in_parts(path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w") as stream:
        for part in ("old", " and", " new"):
            stream.write(part)


def tensors_in(path: Path) -> object:
    return read_tensors(path)[0]["w"].tolist() if path.exists() else ABSENT


def store_entry(root: Path) -> object:
    store = Store(root / "store")
    # what is there in part is found by its hashes, and made again
    return folder_texts(store.path(KEY))["x"] if store.is_intact(KEY) else ABSENT  # type: ignore[index]


def fill_store(root: Path) -> None:
    Store(root / "store").get(KEY, lambda folder: write_text(folder / "x", "entry"))


OLD = {"one": "ooo", "two": "ooo"}
NEW = {"one": "nnn", "two": "nnn"}
WRITES: dict[str, tuple[Work, Work, Found, list[object]]] = {
    "JSON where there was none": (
        lambda root: None,
        lambda root: write_json(root / "deep/er/a.json", {"a": [1, 2, 3]}),
        lambda root: read_json(root / "deep/er/a.json") if (root / "deep/er/a.json").exists() else ABSENT,
        [ABSENT, {"a": [1, 2, 3]}],
    ),
    "text over another": (
        lambda root: write_text(root / "a.tsv", "old"),
        lambda root: write_text(root / "a.tsv", "new and longer"),
        lambda root: text_in(root / "a.tsv"),
        ["old", "new and longer"],
    ),
    "a file written in parts": (
        lambda root: write_text(root / "a.txt", "old"),
        lambda root: write_in_parts(root / "a.txt"),
        lambda root: text_in(root / "a.txt"),
        ["old", "old and new"],
    ),
    "a private file": (
        lambda root: write_private(root / "key.csv", "old"),
        lambda root: write_private(root / "key.csv", "old\nnew"),
        lambda root: text_in(root / "key.csv"),
        ["old", "old\nnew"],
    ),
    "a folder where there was none": (
        lambda root: None,
        lambda root: write_folder(root / "deep/er", "n"),
        lambda root: folder_texts(root / "deep/er"),
        [ABSENT, NEW],
    ),
    "a folder over another": (
        lambda root: write_folder(root / "er", "o"),
        lambda root: write_folder(root / "er", "n"),
        lambda root: folder_texts(root / "er"),
        [OLD, ABSENT, NEW],
    ),
    "tensors": (
        lambda root: write_tensors({"w": torch.zeros(2)}, root / "w.safetensors"),
        lambda root: write_tensors({"w": torch.ones(3)}, root / "w.safetensors"),
        lambda root: tensors_in(root / "w.safetensors"),
        [[0.0, 0.0], [1.0, 1.0, 1.0]],
    ),
    "an entry of the store": (lambda root: None, fill_store, store_entry, [ABSENT, "entry"]),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_power_cut_leaves_the_old_the_new_or_nothing(tmp_path: Path, what: str) -> None:
    before, write, found, allowed = WRITES[what]
    survived, last = survive(tmp_path, before, write, found, allowed)
    # what was returned from is there, whatever the disk had not written of its own accord
    assert last == [allowed[-1]] * len(last)
    print(f"{what}: {survived} cuts survived")  # noqa: T201


def survive(
    tmp_path: Path, before: Work, write: Work, found: Found, allowed: list[object]
) -> tuple[int, list[object]]:
    """How many cuts left one of what is allowed, and what was there after those at the very end."""
    root, scratch = tmp_path / "disk", tmp_path / "scratch"
    root.mkdir()
    scratch.mkdir()
    before(root)
    disk = Disk(root)
    with disk.watched():
        write(root)
    at_end: list[object] = []

    def check(folder: Path, at: int) -> None:
        left = found(folder)
        assert left in allowed, f"a cut at moment {at} leaves {left!r}"
        if at == len(disk.moments) - 1:
            at_end.append(left)

    return cuts(disk, 4, check, scratch), at_end


def evaluate(root: Path, digest: str) -> None:
    row = LedgerRow("", "dose", "rice-net-dose", "3", digest * 12, 2, "0.750000", 0, "one")
    record_evaluation(root / "models/test_ledger.tsv", row)


def test_no_evaluation_that_was_recorded_is_lost_by_a_power_cut(tmp_path: Path) -> None:
    def write(root: Path) -> None:
        for digest in "bcd":
            evaluate(root, digest)

    def found(root: Path) -> object:
        return "".join(row.digest12[0] for row in read_ledger(root / "models/test_ledger.tsv"))

    allowed: list[object] = ["a", "ab", "abc", "abcd"]
    survived, last = survive(tmp_path, lambda root: evaluate(root, "a"), write, found, allowed)
    assert survived >= 200 and set(last) == {"abcd"}
    print(f"ledger: {survived} cuts survived")  # noqa: T201


@pytest.mark.parametrize("unsynced", [Path.is_file, Path.is_dir])
@pytest.mark.parametrize("what", ["JSON where there was none", "a folder over another", "tensors"])
def test_without_syncing_either_files_or_folders_the_same_cuts_do_damage(
    tmp_path: Path, what: str, unsynced: Callable[[Path], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tests above can fail."""
    monkeypatch.setattr(files, "sync", lambda path: None if unsynced(path) else sync(path))
    with pytest.raises((AssertionError, ValueError)):
        test_a_power_cut_leaves_the_old_the_new_or_nothing(tmp_path, what)
