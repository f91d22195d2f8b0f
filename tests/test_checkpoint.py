"""States of an unfinished fold: whole at any moment, and of the last two the newest that is undamaged."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pickle
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_folds import (
    TRAINING,
    InterruptAfter,
    Interrupted,
    Recorder,
    elsewhere,
    plan,
    results,
    write_subjects,
)

from ricenet.runtime.errors import FormatError, StoreError
from ricenet.runtime.files import read_json
from ricenet.training.checkpoint import Arithmetic, Checkpoint, CheckpointFiles
from ricenet.training.fold import train_fold
from ricenet.training.history import EpochMetrics
from ricenet.training.task import CHECKPOINT, CHECKPOINT_BEFORE, RECORD, FoldTask
from ricenet.training.tensors_file import write_tensors

METRICS = EpochMetrics(0.1, 1 / 3, 0.5, 0.25)
ARITHMETIC = Arithmetic(threads=1, bfloat16=False)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return plan(tmp_path, write_subjects(tmp_path / "preprocessed"))[0]


def test_a_checkpoint_keeps_every_bit(tmp_path: Path) -> None:
    tensors = {"network/a": torch.tensor([1 / 3, -0.0]), "optimiser/0/step": torch.tensor(7.0)}
    CheckpointFiles(tmp_path).write(Checkpoint(1, (METRICS,), tensors, ARITHMETIC))
    found = CheckpointFiles(tmp_path).read()
    assert found is not None
    assert (found.epoch, found.history, found.arithmetic) == (1, (METRICS,), ARITHMETIC)
    assert found.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found.tensors[name].numpy().tobytes() == value.numpy().tobytes()


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path)
    for epoch in (1, 2, 3):
        tensors = {"network/a": torch.tensor([float(epoch)])}
        files.write(Checkpoint(epoch, (METRICS,) * epoch, tensors, ARITHMETIC))
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT_BEFORE, CHECKPOINT]
    newest = files.read()
    (tmp_path / CHECKPOINT).unlink()
    before = files.read()
    assert newest is not None and before is not None
    assert (newest.epoch, before.epoch) == (3, 2)
    files.remove()
    assert files.read() is None


DAMAGES = ["cut", "flipped", "empty", "foreign", "older", "metrics"]


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    # a field that this version does not know, in the header of another
    older = content.replace(b"train_loss", b"train_cost", 1)
    # a digit of a loss, in the header
    metrics = re.sub(rb'(train_loss\\?": 0\.)\d', rb"\g<1>0", content, count=1)
    whole = {"cut": content[:-9], "flipped": flipped, "empty": b"", "foreign": b"x" * 99}
    damaged = (whole | {"older": older, "metrics": metrics})[kind]
    assert damaged != content
    path.write_bytes(damaged)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_means_going_on_from_the_one_before(
    task: FoldTask, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, broken = elsewhere(task, "whole"), elsewhere(task, "broken")
    train_fold(whole)
    with pytest.raises(Interrupted):
        train_fold(broken, InterruptAfter(3))
    damage(broken.folder / CHECKPOINT, kind)
    recorder = Recorder()
    with caplog.at_level(logging.INFO):
        train_fold(broken, recorder)
    assert "is damaged" in caplog.text
    assert "the checkpoint before it is taken" in caplog.text
    assert "resumed after epoch 2" in caplog.text
    assert recorder.seen[0][1] == 3
    assert results(broken) == results(whole)


def test_two_damaged_checkpoints_mean_starting_over_with_warnings(
    task: FoldTask, caplog: pytest.LogCaptureFixture
) -> None:
    whole, broken = elsewhere(task, "whole"), elsewhere(task, "broken")
    train_fold(whole)
    with pytest.raises(Interrupted):
        train_fold(broken, InterruptAfter(3))
    for name in (CHECKPOINT, CHECKPOINT_BEFORE):
        damage(broken.folder / name, "cut")
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        train_fold(broken, recorder)
    assert caplog.text.count("is damaged") == 2
    assert "starts over from its first epoch" in caplog.text
    assert recorder.seen[0][1] == 1
    assert results(broken) == results(whole)


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    write_tensors({"network/a": torch.zeros(1)}, tmp_path / CHECKPOINT, {"progress": "{}", "crc32": "0"})
    with pytest.raises(
        FormatError, match=r"safetensors is of format 1, .*made by an earlier version of ricenet"
    ):
        CheckpointFiles(tmp_path).read()


KILLED = """
import os, pathlib, pickle, signal, sys
import ricenet.training.checkpoint as checkpoint
import ricenet.training.optimisation as optimisation
from ricenet.training.fold import train_fold

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_in_epoch(count):
    step, seen = optimisation.Optimisation.step, []
    def counting(self, *args):
        seen.append(1)
        return die() if len(seen) > count else step(self, *args)
    optimisation.Optimisation.step = counting

def die_while_writing(count):
    import safetensors.torch as library
    save, seen = library.save_file, []
    def half(tensors, path, **options):
        seen.append(1)
        if len(seen) > count:
            # what the library leaves beside the file that it was to write
            pathlib.Path(path).with_name(".tmp0815").write_bytes(b"half of it")
            die()
        save(tensors, path, **options)
    library.save_file = half

def die_between_renames(count):
    write, seen = checkpoint._write, []
    def after(state, path):
        seen.append(1)
        die() if len(seen) > count else write(state, path)
    checkpoint._write = after

with open(sys.argv[1], "rb") as stream:
    whole, deaths = pickle.load(stream)
# what libraries load at first use takes longer than all trainings together
train_fold(whole)
for task, moment, count in deaths:
    if (child := os.fork()) == 0:
        globals()[moment](count)
        train_fold(task)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
"""

DEATHS = {
    # 5 training subjects in batches of 4 and one more: one step an epoch
    "in mid-epoch": ("die_in_epoch", 2),
    "in mid-checkpoint": ("die_while_writing", 2),
    "between the renames": ("die_between_renames", 2),
    "in the last write": ("die_while_writing", 3),
}
"""Moment -> how a process dies then, and after how many epochs that are whole."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FoldTask]:
    """By moment a fold whose process was killed then; and one whose process was not, `whole`."""
    folder = tmp_path_factory.mktemp("killed")
    task = plan(folder, write_subjects(folder / "preprocessed"))[0]
    folds = {name: elsewhere(task, name) for name in ("whole", *DEATHS)}
    deaths = [(folds[name], *how) for name, how in DEATHS.items()]
    (folder / "deaths").write_bytes(pickle.dumps((folds["whole"], deaths)))
    script = [sys.executable, "-c", KILLED, str(folder / "deaths")]
    subprocess.run(script, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    return folds


@pytest.mark.parametrize("moment", DEATHS)
def test_a_process_killed_at_any_moment_is_resumed_to_the_same_weights(
    killed: dict[str, FoldTask], moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Bit for bit, as trained with the same number of threads."""
    whole, broken, (_, epochs) = killed["whole"], killed[moment], DEATHS[moment]
    with one_thread(), caplog.at_level(logging.INFO):
        train_fold(broken)
    assert f"resumed after epoch {epochs}" in caplog.text
    assert results(broken) == results(whole)
    assert not list(broken.folder.glob(".*"))


def test_where_channels_lie_last_a_resumed_training_ends_with_the_same_weights(task: FoldTask) -> None:
    """The optimiser's averages have to lie in memory as their weights do: Adam goes through both at once."""
    reduced = TRAINING.model_copy(update={"precision": "bfloat16"})
    reduced_task = dataclasses.replace(task, training=reduced)
    whole, broken = elsewhere(reduced_task, "whole"), elsewhere(reduced_task, "broken")
    train_fold(whole)
    with pytest.raises(Interrupted):
        train_fold(broken, InterruptAfter(2))
    train_fold(broken)
    assert results(broken) == results(whole)


def test_a_training_goes_on_with_the_threads_and_the_precision_that_it_began_with(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where more memory or another node changes both: other sums would end in other weights."""
    wide = dataclasses.replace(task, training=TRAINING.model_copy(update={"precision": "auto"}))
    whole, broken = elsewhere(wide, "whole"), elsewhere(wide, "broken")
    with one_thread():
        monkeypatch.setattr("ricenet.training.hardware.has_bfloat16", lambda _: True)
        train_fold(whole)
        with pytest.raises(Interrupted):
            train_fold(broken, InterruptAfter(2))
        torch.set_num_threads(2)
        monkeypatch.setattr("ricenet.training.hardware.has_bfloat16", lambda _: False)
        train_fold(broken)
        assert torch.get_num_threads() == 2
    assert results(broken) == results(whole)
    assert read_json(broken.folder / RECORD)["precision"] == "bfloat16"


def test_a_full_disk_is_reported_with_the_file_and_a_way_out(task: FoldTask) -> None:
    """A limit to the size of files stands for the disk's end; the training goes on once there is room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"checkpoint\.safetensors cannot be written: .*Make room"):
            train_fold(task)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(task.folder.glob(".*"))
    train_fold(task)
    assert task.is_finished
