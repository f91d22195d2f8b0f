"""Finished folds whose files are no longer those that were written are trained again, and it is said so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from small_folds import SERIAL, plan, results, write_subjects

from ricenet.config.training import TrainingParams
from ricenet.runtime.execution import torch_threads
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.store import CONTENTS
from ricenet.tracking.run_content import ARITHMETIC, arithmetic_tags
from ricenet.training.cross_validation import lay_out_training, train_folds
from ricenet.training.fold import train_fold
from ricenet.training.task import HISTORY, PREDICTIONS, RECORD, WEIGHTS, FoldTask

SHORT = TrainingParams(
    epochs=1, batch_size=4, learning_rate=1e-2, weight_decay=1e-4, checkpoint_every_epochs=1, overrides={}
)


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return plan(tmp_path, write_subjects(tmp_path / "preprocessed"), training=SHORT)[0]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_bit, empty, cut, Path.unlink])
@pytest.mark.parametrize("name", [WEIGHTS, HISTORY, PREDICTIONS, RECORD, CONTENTS])
def test_a_damaged_result_is_trained_again_to_the_same_one_with_a_warning(
    task: FoldTask, caplog: pytest.LogCaptureFixture, name: str, damage: object, tmp_path: Path
) -> None:
    with torch_threads(1):
        train_folds([task], SERIAL)
        whole = results(task)
        damage(task.folder / name)  # type: ignore[operator]
        assert not task.is_finished
        # what the stage asks for before it trains
        assert task.record["key"] == task.key
        with caplog.at_level(logging.WARNING):
            train_folds([task], SERIAL)
    assert "dose, fold 0: its results in the store are damaged or incomplete" in caplog.text
    assert task.is_finished and results(task) == whole
    lay_out_training([task], tmp_path / "training")


def test_an_intact_result_is_kept_without_a_word(task: FoldTask, caplog: pytest.LogCaptureFixture) -> None:
    with torch_threads(1), caplog.at_level(logging.WARNING):
        train_fold(task)
        written = (task.folder / WEIGHTS).stat().st_mtime_ns
        train_folds([task], SERIAL)
    assert (task.folder / WEIGHTS).stat().st_mtime_ns == written and caplog.text == ""


def test_a_record_says_what_the_sums_depend_on(task: FoldTask) -> None:
    with torch_threads(1):
        train_fold(task)
    record = read_json(task.folder / RECORD)
    assert (record["device"], record["precision"], record["threads"]) == ("cpu", "float32", 1)
    assert arithmetic_tags([record]) == {ARITHMETIC: "cpu, float32, 1 thread(s)"}
    both = arithmetic_tags([record, {**record, "threads": 2}])
    assert both == {ARITHMETIC: "cpu, float32, 1 thread(s); cpu, float32, 2 thread(s)"}
    # records of earlier versions say less, and are not made to say more
    assert arithmetic_tags([{"precision": "float32"}, {}]) == {ARITHMETIC: "float32"}


def test_a_record_of_an_earlier_version_is_named_and_not_overwritten(task: FoldTask) -> None:
    write_json(task.folder / RECORD, {"format": 1})
    with pytest.raises(Exception, match="made by an earlier version"):
        train_folds([task], SERIAL)
    assert read_json(task.folder / RECORD) == {"format": 1}
