"""Volumes on their way to the network: the same from memory and from disk, in the order wanted."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from preprocessed_subjects import head_of, saved_volumes
from small_folds import CUBE, TRAINING, elsewhere, plan, results, write_subjects

from ricenet.runtime.errors import ScanError
from ricenet.training import batches
from ricenet.training.batches import ResidentVolumes, StreamedVolumes, VolumeFiles, open_volumes
from ricenet.training.fold import train_fold

CPU = torch.device("cpu")


def files(folder: Path, subjects: tuple[str, ...], *names: str) -> VolumeFiles:
    return VolumeFiles(folder, subjects, names, head_of(CUBE))


@pytest.fixture
def subjects(tmp_path: Path) -> tuple[str, ...]:
    return write_subjects(tmp_path).development


@pytest.mark.parametrize("kind", [ResidentVolumes, StreamedVolumes])
def test_batches_come_as_wanted(kind: type[StreamedVolumes], tmp_path: Path, subjects: tuple[str]) -> None:
    wanted = [np.array(positions) for positions in ([3, 1], [1, 1, 0], [9], [2, 4], [5, 6])]
    found = list(kind(files(tmp_path, subjects, "event", "dose"), CPU).batches(wanted))
    assert [batch.dtype for batch in found] == [torch.float16] * 5
    for batch, positions in zip(found, wanted, strict=True):
        expected = [saved_volumes(tmp_path / subjects[k], ["event", "dose"]) for k in positions]
        np.testing.assert_array_equal(batch.numpy(), np.stack(expected))


@pytest.mark.parametrize("kind", [ResidentVolumes, StreamedVolumes])
def test_a_value_that_is_not_finite_is_reported_by_subject(
    kind: type[StreamedVolumes], tmp_path: Path, subjects: tuple[str]
) -> None:
    spoilt = np.load(tmp_path / "sub-003" / "dose.npy")
    spoilt[0, 0, 0] = np.inf
    np.save(tmp_path / "sub-003" / "dose.npy", spoilt)
    with pytest.raises(ScanError, match=r"sub-003: dose.npy: 1 voxel\(s\) are not finite"):
        list(kind(files(tmp_path, subjects, "dose"), CPU).batches([np.arange(4)]))


def test_no_batch_is_read_too_far_ahead(tmp_path: Path, subjects: tuple[str]) -> None:
    streamed = StreamedVolumes(files(tmp_path, subjects, "dose"), CPU)
    batches = streamed.batches([np.array([k]) for k in range(10)])
    next(batches)
    time.sleep(0.05)
    assert len(streamed._seen) == 3
    batches.close()


def test_waiting_is_counted(tmp_path: Path, subjects: tuple[str], monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = StreamedVolumes(files(tmp_path, subjects, "dose"), CPU)
    read = streamed._read

    def slowly(positions: batches.Positions) -> torch.Tensor:
        time.sleep(0.02)
        return read(positions)

    monkeypatch.setattr(streamed, "_read", slowly)
    list(streamed.batches([np.array([k]) for k in range(5)]))
    assert streamed.waited_s >= 0.05


@pytest.mark.parametrize(
    ("memory", "room_bytes", "expected"),
    [
        ("auto", 2 * 10 * CUBE**3, ResidentVolumes),
        ("auto", 2 * 10 * CUBE**3 - 1, StreamedVolumes),
        ("device", 0, ResidentVolumes),
        ("streamed", 1e12, StreamedVolumes),
    ],
)
def test_volumes_stay_on_the_device_where_they_fit(
    memory: batches.Memory,
    room_bytes: float,
    expected: type,
    tmp_path: Path,
    subjects: tuple[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "_room_bytes", lambda _: room_bytes)
    assert isinstance(open_volumes(files(tmp_path, subjects, "dose"), CPU, memory), expected)


def test_where_volumes_wait_has_no_influence_on_the_training(tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    folds = [
        elsewhere(plan(tmp_path, splits, training=TRAINING.model_copy(update={"memory": memory}))[0], memory)
        for memory in ("device", "streamed")
    ]
    for fold in folds:
        train_fold(fold)
    assert folds[0].key == folds[1].key
    assert results(folds[0]) == results(folds[1])
