"""The network's input as files: read by name, and refused where they are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preprocessed_subjects import head_of, save_volumes

from ricenet.preprocessing.network_input import map_volume, read_volumes, write_volume
from ricenet.runtime.errors import ScanError


def test_volumes_are_stacked_in_the_order_of_their_names(tmp_path: Path) -> None:
    save_volumes(tmp_path, np.stack([np.full((4, 4, 4), k) for k in range(3)]).astype(np.float16))
    read = read_volumes(tmp_path, "sub-001", ["dose", "post_op"], head_of(4))
    assert read.dtype == np.float16 and read[:, 0, 0, 0].tolist() == [2, 0]
    assert map_volume(tmp_path, "sub-001", "event", head_of(4)).max() == 1


def test_what_is_written_comes_back_voxel_for_voxel_from_both_memory_orders(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 4, 4)).astype(np.float32)
    for name, order in (("c", "C"), ("f", "F")):
        write_volume(np.array(values, order=order), tmp_path, "sub-001", name)  # type: ignore[call-overload]
        np.testing.assert_array_equal(
            read_volumes(tmp_path, "sub-001", [name], head_of(4))[0], values.astype(np.float16)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 70000.0])
def test_what_float16_cannot_hold_is_not_written(tmp_path: Path, value: float) -> None:
    values = np.zeros((4, 4, 4), np.float32)
    values[0, 0, :2] = value
    with pytest.raises(ScanError, match=r"sub-001: adc.npy: 2 voxel\(s\) are not finite"):
        write_volume(values, tmp_path, "sub-001", "adc")
    assert list(tmp_path.iterdir()) == []


NOT_FINITE = np.zeros((4, 4, 4), np.float16)
NOT_FINITE[0, 0, :2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "not found in"),
        (np.zeros((5, 5, 5), np.float16), r"shape \(5, 5, 5\) of float16, expected \(4, 4, 4\)"),
        (
            np.zeros((4, 4, 4), np.float32),
            r".* of float32, expected .* of float16\. Run `dvc repro pre",
        ),
        (NOT_FINITE, r"2 voxel\(s\) are not finite"),
        (b"", "cannot be read"),
        (b"not an array", "cannot be read"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (np.array([{}], dtype=object), "cannot be read"),
    ],
    ids=["missing", "size", "type", "not finite", "empty", "text", "cut", "pickled"],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: np.ndarray | bytes | None, found: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "dose.npy").write_bytes(content)
    elif content is not None:
        np.save(tmp_path / "dose.npy", content)
    with pytest.raises(ScanError, match=rf"sub-001: dose.npy: {found}"):
        read_volumes(tmp_path, "sub-001", ["dose"], head_of(4))


def test_a_folder_of_an_earlier_version_is_recognised(tmp_path: Path) -> None:
    np.save(tmp_path / "volumes.npy", np.zeros((3, 4, 4, 4), np.float16))
    with pytest.raises(ScanError, match=r"earlier version.*\. Run `dvc repro preprocess`"):
        map_volume(tmp_path, "sub-001", "post_op", head_of(4))
