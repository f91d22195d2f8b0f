"""The loop over subjects: results are kept, only what is missing is made, every failure is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import CohortError, ScanError
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


def test_a_subject_is_made_once_and_again_only_when_its_key_changes(tmp_path: Path) -> None:
    store, made = Store(tmp_path / "store"), []

    def make(subject: str, folder: Path) -> None:
        made.append(subject)
        (folder / "name.txt").write_text(subject)

    folders = per_subject("names", make, {"sub-1": "a" * 64, "sub-2": "b" * 64}, store, SERIAL)
    assert {subject: (folder / "name.txt").read_text() for subject, folder in folders.items()} == {
        "sub-1": "sub-1",
        "sub-2": "sub-2",
    }
    per_subject("names", make, {"sub-1": "a" * 64, "sub-2": "c" * 64}, store, SERIAL)
    assert made == ["sub-1", "sub-2", "sub-2"]


def test_failures_are_named_together_and_the_others_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def make(subject: str, folder: Path) -> None:
        if subject != "sub-2":
            raise ScanError(subject, "post_op", "truncated", "Export it again.")
        (folder / "ok").touch()

    keys = {f"sub-{number}": str(number) * 64 for number in (1, 2, 3)}
    with pytest.raises(CohortError, match="2 of 3 subjects failed") as caught:
        per_subject("names", make, keys, store, SERIAL)
    assert "sub-1: post_op: truncated" in str(caught.value)
    assert "sub-3: post_op: truncated" in str(caught.value)
    assert store.is_intact(keys["sub-2"])
