"""Coarse copies: means over blocks of whole voxels, and where the head is on them."""

from __future__ import annotations

import numpy as np
import pytest
from moved_heads import displaced, head, placed
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.preprocessing.registration.coarse import averaged, head_mask
from ricenet.volume import Grid, Volume, resample


def counting(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Volume:
    """Voxels numbered through, on a tilted grid."""
    affine = np.eye(4)
    tilt = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix()
    affine[:3, :3] = tilt * np.array(spacing_mm)
    affine[:3, 3] = [5.0, -7.0, 11.0]
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), Grid(shape, affine))


def test_a_voxel_of_the_copy_is_the_mean_of_its_block() -> None:
    volume = counting((4, 6, 2), (1.0, 1.0, 2.0))
    copy = averaged(volume, 2.0)
    assert copy.grid.shape == (2, 3, 2)
    assert copy.data[0, 0, 0] == volume.data[:2, :2, 0].mean()
    assert copy.data[1, 2, 1] == volume.data[2:, 4:, 1].mean()


def test_blocks_lie_where_their_voxels_did_on_a_tilted_grid() -> None:
    volume = counting((4, 6, 2), (1.0, 1.0, 2.0))
    copy = averaged(volume, 2.0)
    middle = volume.grid.world_mm(np.array([2.5, 4.5, 1.0]))
    np.testing.assert_allclose(copy.grid.world_mm(np.array([1.0, 2.0, 1.0])), middle, atol=1e-12)
    np.testing.assert_allclose(copy.grid.spacing_mm, (2.0, 2.0, 2.0))


def test_voxels_that_fill_no_block_are_left_out_on_both_sides() -> None:
    volume = counting((7, 4, 4), (1.0, 1.0, 1.0))
    copy = averaged(volume, 4.0)
    assert copy.grid.shape == (1, 1, 1)
    assert copy.data[0, 0, 0] == volume.data[1:5].mean()


@pytest.mark.parametrize("spacing_mm", [0.4, 0.78, 0.9, 1.0, 1.3, 1.34, 1.6, 2.0, 2.9, 6.5])
def test_a_copy_is_a_copy_of_itself(spacing_mm: float) -> None:
    copy = averaged(counting((9, 8, 7), (spacing_mm, 1.0, 2.5)), 2.0)
    again = averaged(copy, 2.0)
    np.testing.assert_array_equal(again.data, copy.data)
    np.testing.assert_array_equal(again.grid.affine, copy.grid.affine)


def test_a_thin_scan_keeps_its_only_slice() -> None:
    assert averaged(counting((8, 8, 1), (1.0, 1.0, 1.0)), 4.0).grid.shape == (2, 2, 1)


def test_the_head_is_found_in_noise_and_its_dark_bone_filled() -> None:
    scan = averaged(placed(head(), displaced((0, 0, 0), (0, 0, 0))), 6.0)
    true = resample(Volume(ndimage.binary_fill_holes(head().data > 50), head().grid), scan.grid).data > 0.5
    found = head_mask(scan)
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.95
    assert found.sum() * scan.grid.voxel_ml == pytest.approx(true.sum() * scan.grid.voxel_ml, rel=0.1)


def test_a_margin_is_millimetres_on_every_axis() -> None:
    data = np.zeros((21, 21, 9), dtype=np.float32)
    data[10, 10, 4] = 1.0
    grown = head_mask(Volume(data, Grid((21, 21, 9), np.diag([1.0, 2.0, 6.0, 1.0]))), 6.0)
    for axis, reach in enumerate((6, 3, 1)):
        line = np.moveaxis(grown, axis, 0)
        extent = np.flatnonzero(line.any(axis=(1, 2)))
        assert extent[-1] - extent[0] == 2 * reach


def test_an_image_of_nothing_is_a_head_everywhere() -> None:
    grid = Grid((3, 3, 3), np.eye(4))
    assert head_mask(Volume(np.full((3, 3, 3), 7.0, np.float32), grid)).all()
