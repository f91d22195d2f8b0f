"""Preprocessed volumes as the network takes them; those that cannot be used are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ricenet.preprocessing.dataset import load_volumes
from ricenet.runtime.errors import ScanError


def write_volumes(folder: Path, subject: str, volumes: np.ndarray) -> None:
    (folder / subject).mkdir()
    np.save(folder / subject / "volumes.npy", volumes)


def test_volumes_keep_the_order_of_subjects_and_modalities(tmp_path: Path) -> None:
    for number in (1, 2):
        values = np.stack([np.full((4, 4, 4), 10 * number + k) for k in range(3)]).astype(np.float16)
        write_volumes(tmp_path, f"sub-00{number}", values)
    volumes = load_volumes(tmp_path, ["sub-002", "sub-001"], "post_op+dose", 4)
    assert volumes[:, :, 0, 0, 0].tolist() == [[20, 22], [10, 12]]


def test_a_missing_subject_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"sub-001: volumes.npy: not found"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_a_cube_of_another_size_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.zeros((3, 5, 5, 5), np.float16))
    with pytest.raises(ScanError, match=r"shape \(3, 5, 5, 5\) of float16, expected \(3, 4, 4, 4\)"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_an_array_of_another_type_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.zeros((3, 4, 4, 4), np.float32))
    with pytest.raises(ScanError, match=r"of float32, expected .* of float16\. Run `dvc repro preprocess`"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    volumes = np.zeros((3, 4, 4, 4), np.float16)
    volumes[2, 0, 0, :2] = np.nan, np.inf
    write_volumes(tmp_path, "sub-001", volumes)
    with pytest.raises(ScanError, match=r"2 voxel\(s\) of dose are not finite"):
        load_volumes(tmp_path, ["sub-001"], "event+dose", 4)
    assert load_volumes(tmp_path, ["sub-001"], "event", 4).shape == (1, 1, 4, 4, 4)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "sub-001").mkdir()
    (tmp_path / "sub-001" / "volumes.npy").write_bytes(content)
    with pytest.raises(ScanError, match=r"sub-001: volumes.npy: cannot be read"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.array([{}], dtype=object))
    with pytest.raises(ScanError, match="cannot be read"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)
