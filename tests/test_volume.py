"""Grids and resampling, with hand-computed numbers and conserved integrals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import rigid
from ricenet.volume import (
    Grid,
    Volume,
    dice,
    load_nifti,
    resample,
    rotation_deg,
    save_nifti,
    supersampling_for,
)


def oblique(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -20, 35], degrees=True).as_matrix() * spacing
    affine[:3, 3] = [5.0, -7.0, 11.0]
    return Grid(shape, affine)


def test_a_cube_lies_around_its_centre() -> None:
    grid = Grid.cube(np.array([1.0, 2.0, 3.0]), 2.0, 4)
    np.testing.assert_allclose(grid.world_mm(np.zeros(3)), [-2.0, -1.0, 0.0])
    np.testing.assert_allclose(grid.world_mm(np.full(3, 1.5)), [1.0, 2.0, 3.0])


def test_spacing_and_voxel_volume_do_not_depend_on_orientation() -> None:
    grid = oblique((3, 4, 5), (1.0, 2.0, 2.5))
    np.testing.assert_allclose(grid.spacing_mm, (1.0, 2.0, 2.5))
    assert grid.voxel_ml == pytest.approx(0.005)


def test_a_finer_grid_covers_the_same_space() -> None:
    grid = oblique((2, 3, 4), (2.0, 2.0, 3.0))
    fine = grid.divided((3, 3, 3))
    assert fine.shape == (6, 9, 12)
    low, high = np.full(3, -0.5), np.array(grid.shape) - 0.5
    np.testing.assert_allclose(fine.world_mm(np.full(3, -0.5)), grid.world_mm(low))
    np.testing.assert_allclose(fine.world_mm(np.array(fine.shape) - 0.5), grid.world_mm(high))


def test_a_covering_grid_holds_every_corner_of_an_oblique_one() -> None:
    grid = oblique((6, 7, 8), (1.0, 1.5, 3.0))
    cover = Grid.covering(grid, 1.3)
    voxels = (grid.corners_mm - cover.affine[:3, 3]) / 1.3
    assert voxels.min() > -0.51 and (voxels < np.array(cover.shape) - 0.49).all()


def test_resampling_interpolates_linearly_between_voxel_centres() -> None:
    data = np.zeros((3, 1, 1), np.float32)
    data[:, 0, 0] = [0.0, 10.0, 20.0]
    volume = Volume(data, Grid((3, 1, 1), np.diag([2.0, 1.0, 1.0, 1.0])))
    target = Grid((2, 1, 1), np.array([[1.0, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    np.testing.assert_allclose(resample(volume, target).data[:, 0, 0], [2.5, 7.5])  # at 0.5 and 1.5 mm


def test_resampling_through_a_transform_equals_resampling_point_by_point() -> None:
    rng = np.random.default_rng(3)
    volume = Volume(
        ndimage.gaussian_filter(rng.normal(size=(9, 10, 11)), 1).astype(np.float32),
        oblique((9, 10, 11), (1, 2, 1.5)),
    )
    affine = np.diag([1.7, 1.7, 1.7, 1.0])
    affine[:3, 3] = [4.0, -5.0, 13.0]
    target = Grid((6, 5, 4), affine)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("z", 12, degrees=True).as_matrix()
    transform[:3, 3] = [1.0, 0.5, -2.0]
    slow = np.zeros(target.shape, np.float32)
    for index in np.ndindex(*target.shape):
        world = transform @ target.affine @ np.array([*index, 1.0])
        voxel = np.linalg.solve(volume.grid.affine, world)[:3]
        last = np.array(volume.grid.shape) - 1
        if (voxel >= -0.5).all() and (voxel <= last + 0.5).all():
            at = np.clip(voxel, 0, last)
            slow[index] = ndimage.map_coordinates(volume.data, at[:, None], order=1)[0]
    np.testing.assert_allclose(resample(volume, target, transform).data, slow, atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
def test_the_outer_half_voxel_holds_the_edges_value_and_beyond_it_is_nothing(order: int) -> None:
    # 4 voxels of 2 mm, centres at 0 to 6 mm: the extent goes from -1 to 7 mm
    grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    data = np.broadcast_to(np.array([60.0, 60.0, 40.0, 40.0], np.float32)[:, None, None], (4, 4, 4))
    at_mm = np.array([-1.5, -1.02, -0.98, -0.5, 0.0, 6.0, 6.5, 6.98, 7.02, 7.5])
    found = []
    for mm in at_mm:
        affine = np.eye(4)
        affine[:3, 3] = [mm, 3.0, 3.0]
        found.append(float(resample(Volume(data, grid), Grid((1, 1, 1), affine), order=order).data[0, 0, 0]))
    np.testing.assert_allclose(found, [0, 0, 60, 60, 60, 40, 40, 40, 0, 0], atol=1e-4)
    # the same rule says what is covered
    points = np.stack([at_mm, np.full(10, 3.0), np.full(10, 3.0)], axis=-1)
    assert grid.contains(points).tolist() == [value > 0 for value in found]


@pytest.mark.parametrize("order", [1, 3])
def test_itk_reads_the_outer_half_voxel_the_same_way(order: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    data = np.random.default_rng(8).uniform(40, 60, (5, 6, 7)).astype(np.float32)
    volume = Volume(data, Grid((5, 6, 7), np.diag([1.0, 1.0, 1.0, 1.0])))
    affine = np.diag([0.31, 0.31, 0.31, 1.0])
    affine[:3, 3] = -1.17
    target = Grid((24, 27, 30), affine)
    image = sitk.GetImageFromArray(data.transpose(2, 1, 0))
    settings = sitk.ResampleImageFilter()
    settings.SetSize(target.shape)
    settings.SetOutputSpacing(target.spacing_mm)
    settings.SetOutputOrigin((-1.17, -1.17, -1.17))
    settings.SetInterpolator(sitk.sitkLinear if order == 1 else sitk.sitkBSpline)
    expected = sitk.GetArrayFromImage(settings.Execute(image)).transpose(2, 1, 0)
    np.testing.assert_allclose(resample(volume, target, order=order).data, expected, atol=1e-3)


def test_supersampling_conserves_the_integral_on_a_coarser_grid() -> None:
    rng = np.random.default_rng(4)
    dose = np.zeros((24, 24, 24), np.float32)
    dose[6:18, 6:18, 6:18] = rng.uniform(10, 60, (12, 12, 12))
    fine = Volume(dose, Grid.cube(np.zeros(3), 1.0, 24))
    coarse_grid = Grid.cube(np.array([0.4, -0.3, 0.2]), 4.0, 8)
    k = supersampling_for(fine.grid, coarse_grid)
    assert k == (4, 4, 4)
    coarse = resample(fine, coarse_grid, supersampling=k)
    assert coarse.data.sum() * coarse_grid.voxel_ml == pytest.approx(
        dose.sum() * fine.grid.voxel_ml, rel=0.01
    )


def test_supersampling_follows_the_source_along_each_axis_of_the_target() -> None:
    target = Grid.cube(np.zeros(3), 1.0, 8)
    assert supersampling_for(Grid.cube(np.zeros(3), 2.0, 4), target) == (1, 1, 1)
    assert supersampling_for(Grid.cube(np.zeros(3), 0.9, 4), target) == (1, 1, 1)
    slices = Grid((8, 8, 2), np.diag([0.5, 0.4, 6.5, 1.0]))
    assert supersampling_for(slices, target) == (2, 3, 1)
    lying = np.eye(4)
    lying[:3, :3] = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # its slices face the front
    assert supersampling_for(slices, target, lying) == (2, 1, 3)


def test_slabs_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    volume = Volume(rng.normal(size=(12, 9, 10)).astype(np.float32), oblique((12, 9, 10), (1, 2, 1.5)))
    target = Grid.covering(volume.grid, 3.0)
    for order in (0, 1, 3):
        whole = resample(volume, target, order=order, supersampling=(3, 2, 2))
        with monkeypatch.context() as patch:
            patch.setattr("ricenet.volume.SLAB_POINTS", 1)  # a plane of the target at a time
            np.testing.assert_allclose(
                resample(volume, target, order=order, supersampling=(3, 2, 2)).data, whole.data, atol=1e-6
            )


def test_a_spline_goes_through_the_voxels_and_keeps_a_cubic_curve() -> None:
    data = np.broadcast_to((np.arange(24.0) / 10)[:, None, None] ** 3, (24, 8, 8)).astype(np.float32)
    volume = Volume(np.ascontiguousarray(data), Grid((24, 8, 8), np.eye(4)))
    np.testing.assert_allclose(resample(volume, volume.grid, order=3).data, data, atol=1e-5)
    between = Grid((4, 1, 1), np.eye(4) + np.array([[0, 0, 0, 10.5], [0, 0, 0, 4], [0, 0, 0, 4], [0] * 4]))
    expected = (np.array([10.5, 11.5, 12.5, 13.5]) / 10) ** 3
    np.testing.assert_allclose(resample(volume, between, order=3).data[:, 0, 0], expected, atol=1e-4)
    assert np.abs(resample(volume, between, order=1).data[:, 0, 0] - expected).max() > 2e-3


def test_nifti_keeps_values_and_positions_and_repeats_its_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    volume = Volume(rng.normal(size=(3, 4, 5)).astype(np.float32), oblique((3, 4, 5), (1, 2, 3)))
    for name in ("a.nii.gz", "b.nii.gz"):
        save_nifti(volume, tmp_path / name)
    again = load_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.data, volume.data)
    np.testing.assert_allclose(again.grid.affine, volume.grid.affine, atol=1e-5)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_mask_is_stored_in_one_byte_a_voxel(tmp_path: Path) -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 2, 3] = True
    save_nifti(Volume(mask, Grid.cube(np.zeros(3), 1.0, 4)), tmp_path / "mask.nii")
    assert (tmp_path / "mask.nii").stat().st_size == 352 + 64
    assert np.argwhere(load_nifti(tmp_path / "mask.nii").data).tolist() == [[1, 2, 3]]


def test_data_that_does_not_fit_its_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data of shape \(2, 2, 2\) on a grid of shape \(3, 3, 3\)"):
        Volume(np.zeros((2, 2, 2), np.float32), Grid.cube(np.zeros(3), 1.0, 3))


@pytest.mark.parametrize("angle", [0.0, 12.5, 90.0, 180.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_is_the_angle_about_its_own_axis(angle: float, axis: int) -> None:
    angles = np.zeros(3)
    angles[axis] = angle
    transform = rigid(angles, np.array([5.0, 6.0, 7.0]), np.array([10.0, -20.0, 30.0]))
    assert rotation_deg(transform) == pytest.approx(angle, abs=1e-5)


def test_dice_counts_common_voxels_twice() -> None:
    def mask(*values: int) -> np.ndarray:
        return np.array(values, dtype=bool)

    assert dice(mask(1, 1, 1, 0), mask(0, 1, 1, 1)) == pytest.approx(4 / 6)
    assert (dice(mask(1, 0), mask(0, 1)), dice(mask(1, 0), mask(1, 0)), dice(mask(0), mask(0))) == (0, 1, 0)


def test_a_box_is_filled_by_whole_voxels_around_its_middle() -> None:
    grid = Grid.box(np.array([-8.0, 4.0, 5.0]), np.array([-4.0, 4.0, 11.0]), 2.0)
    assert grid.shape == (2, 1, 3)
    np.testing.assert_array_equal(grid.affine[:3, 3], [-7.0, 4.0, 6.0])


def test_a_grid_contains_what_lies_within_its_outer_corners() -> None:
    grid = oblique((2, 3, 4), (2.0, 2.0, 3.0))
    inside = grid.world_mm(np.array([[-0.49, -0.49, -0.49], [1.49, 2.49, 3.49]]))
    outside = grid.world_mm(np.array([[-0.51, 0, 0], [0, 2.51, 0], [0, 0, 3.51]]))
    assert grid.contains(inside).tolist() == [True, True]
    assert grid.contains(outside).tolist() == [False] * 3
    np.testing.assert_allclose(grid.corners_mm.mean(axis=0), grid.world_mm(np.array([0.5, 1.0, 1.5])))
