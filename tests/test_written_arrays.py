"""What is written comes back voxel for voxel, in whatever order the memory of an array lies.

safetensors.numpy 0.8.0 stores an array in Fortran's order as if it were in C's, without an error; so each
writer of ours is held against every order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from preprocessed_subjects import head_of

from ricenet.preprocessing.network_input import read_volumes, write_volume
from ricenet.training.tensors_file import read_tensors, write_tensors
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

Order = Callable[[], NDArray[np.float32]]
N = 6
VALUES = np.random.default_rng(11).normal(size=(N, N, N)).astype(np.float32)
"""A cube, which a wrong order passes through without another shape."""


def in_c_order() -> NDArray[np.float32]:
    return VALUES.copy(order="C")


def in_fortran_order() -> NDArray[np.float32]:
    return np.asfortranarray(VALUES)


def with_axes_exchanged() -> NDArray[np.float32]:
    return VALUES.transpose(2, 0, 1).copy().transpose(1, 2, 0)


def every_second_of_more() -> NDArray[np.float32]:
    more = np.zeros((2 * N, N, 3 * N), np.float32)
    more[::2, :, ::3] = VALUES
    return more[::2, :, ::3]


def backwards() -> NDArray[np.float32]:
    return VALUES[::-1, :, ::-1].copy()[::-1, :, ::-1]


def big_endian() -> NDArray[np.float32]:
    return VALUES.astype(">f4")


ORDERS = [in_c_order, in_fortran_order, with_axes_exchanged, every_second_of_more, backwards, big_endian]
TORCH_ORDERS = ORDERS[:4]  # torch knows no negative strides and no other byte order


@pytest.mark.parametrize("order", TORCH_ORDERS)
def test_tensors_come_back_from_any_order(tmp_path: Path, order: Order) -> None:
    values = torch.from_numpy(order())
    write_tensors(
        {"whole": values, "part": values[1:, :-1], "half": values.half()}, tmp_path / "t.safetensors"
    )
    found, _ = read_tensors(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(found["whole"].numpy(), VALUES)
    np.testing.assert_array_equal(found["part"].numpy(), VALUES[1:, :-1])
    np.testing.assert_array_equal(found["half"].numpy(), VALUES.astype(np.float16))


def test_weights_in_channels_last_and_views_that_repeat_come_back(tmp_path: Path) -> None:
    weights = torch.from_numpy(np.stack([VALUES] * 2)[None]).repeat(3, 1, 1, 1, 1)
    last = weights.contiguous(memory_format=torch.channels_last_3d)
    repeated = torch.arange(4.0).expand(3, 4)
    flipped = torch.from_numpy(in_c_order()).flip(0, 2)
    content = {"last": last, "repeated": repeated, "flipped": flipped, "turned": weights[0, 0].mT}
    assert not last.is_contiguous() and not repeated.is_contiguous()
    write_tensors(content, tmp_path / "t.safetensors")
    found, _ = read_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(found[name], value) for name, value in content.items())


@pytest.mark.parametrize("order", ORDERS)
def test_volumes_for_the_network_come_back_from_any_order(tmp_path: Path, order: Order) -> None:
    write_volume(order(), tmp_path, "sub-1", "dose", "")
    (found,) = read_volumes(tmp_path, "sub-1", ["dose"], head_of(N))
    np.testing.assert_array_equal(found, VALUES.astype(np.float16))


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("order", ORDERS)
def test_niftis_come_back_from_any_order(tmp_path: Path, order: Order, ending: str) -> None:
    values, grid = order(), Grid((N, N, N), np.diag([1.0, 2.0, 3.0, 1.0]))
    for name, written in (("values", values), ("mask", values > 0)):
        save_nifti(Volume(written, grid), tmp_path / f"{name}.{ending}")
    np.testing.assert_array_equal(load_nifti(tmp_path / f"values.{ending}").data, VALUES)
    np.testing.assert_array_equal(load_nifti(tmp_path / f"mask.{ending}").data, VALUES > 0)
