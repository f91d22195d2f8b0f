"""From raw volumes to the cube: geometry, intensities and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ricenet.preprocessing.cube import brain_cube, cumulative_dose_gy, require_coverage
from ricenet.preprocessing.intensity import dose_in_units, zscore_in_brain
from ricenet.preprocessing.registration.event import require_registered
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import ScanError
from ricenet.volume import Grid, Volume


def mask_of(grid: Grid, low: int, high: int) -> Volume:
    mask = np.zeros(grid.shape, bool)
    mask[low:high, low:high, low:high] = True
    return Volume(mask, grid)


def test_zscores_use_brain_voxels_only_and_background_becomes_zero() -> None:
    values = np.array([[[1.0, 3.0, 1000.0]]], np.float32)
    brain = np.array([[[True, True, False]]])
    # mean 2, SD 1 of the two brain voxels
    np.testing.assert_allclose(zscore_in_brain(values, brain, "sub-1", "event"), [[[-1.0, 1.0, 0.0]]])


def test_zscores_do_not_depend_on_the_scanners_units() -> None:
    rng = np.random.default_rng(0)
    values, brain = rng.normal(size=(5, 5, 5)).astype(np.float32), rng.uniform(size=(5, 5, 5)) > 0.3
    np.testing.assert_allclose(
        zscore_in_brain(values, brain, "s", "x"),
        zscore_in_brain(400 * values + 90, brain, "s", "x"),
        atol=1e-4,
    )


def test_an_empty_mask_and_a_constant_brain_are_refused_by_name() -> None:
    values = np.full((2, 2, 2), 7.0, np.float32)
    with pytest.raises(ScanError, match=r"sub-007: event: the brain mask is empty within the cube"):
        zscore_in_brain(values, np.zeros((2, 2, 2), bool), "sub-007", "event")
    with pytest.raises(ScanError, match=r"sub-007: event: every brain voxel is 7"):
        zscore_in_brain(values, np.ones((2, 2, 2), bool), "sub-007", "event")


def test_the_dose_keeps_its_absolute_level() -> None:
    np.testing.assert_allclose(
        dose_in_units(np.array([[[0.0, 30.0, 66.0]]], np.float32), 60.0), [[[0, 0.5, 1.1]]]
    )


def test_the_cube_is_centred_on_the_brains_bounding_box() -> None:
    grid = Grid.cube(np.zeros(3), 2.0, 20)
    cube = brain_cube(mask_of(grid, 4, 10), 3.0, 8, "sub-1")
    np.testing.assert_allclose(cube.world_mm(np.full(3, 3.5)), grid.world_mm(np.full(3, 6.5)))
    assert cube.shape == (8, 8, 8) and cube.spacing_mm == (3.0, 3.0, 3.0)


def test_a_brain_on_an_oblique_grid_is_as_long_as_it_is_along_the_world_axes() -> None:
    # a ball of 20 mm radius, on a grid turned by 45 degrees: the box of its voxels would be 1.4 times as long
    half = np.sqrt(0.5)
    affine = np.array([[half, -half, 0, 0], [half, half, 0, -28.0], [0, 0, 1, -20.0], [0, 0, 0, 1]])
    grid = Grid((41, 41, 41), affine)
    x, y, z = np.indices(grid.shape) - 20.0
    ball = Volume(x**2 + y**2 + z**2 <= 400, grid)
    cube = brain_cube(ball, 1.0, 42, "sub-1")
    np.testing.assert_allclose(cube.world_mm(np.full(3, 20.5)), grid.world_mm(np.full(3, 20.0)), atol=0.5)
    with pytest.raises(ScanError, match="the brain is 40 mm long, the cube 39 mm"):
        brain_cube(ball, 1.0, 39, "sub-1")


def test_a_brain_that_the_cube_would_cut_is_refused() -> None:
    brain = mask_of(Grid.cube(np.zeros(3), 2.0, 40), 0, 40)
    with pytest.raises(ScanError, match=r"sub-9: brain mask: the brain is 78 mm long, the cube 60 mm"):
        brain_cube(brain, 2.0, 30, "sub-9")


def test_one_fractions_dose_is_scaled_to_the_course_and_never_negative() -> None:
    cube = Grid.cube(np.zeros(3), 1.0, 4)
    data = np.full((4, 4, 4), 2.0, np.float32)
    data[0, 0, 0] = -0.1  # what interpolation by a treatment planning system may leave
    dose = cumulative_dose_gy(Volume(data, cube), cube, 30.0, np.ones((4, 4, 4), bool), "sub-1")
    assert dose[0, 0, 0] == 0.0
    np.testing.assert_allclose(dose[1:], 60.0)


def test_a_dose_that_misses_the_brain_is_refused() -> None:
    cube = Grid.cube(np.zeros(3), 1.0, 4)
    elsewhere = Volume(np.full((4, 4, 4), 2.0, np.float32), Grid.cube(np.full(3, 500.0), 1.0, 4))
    with pytest.raises(ScanError, match=r"sub-3: dose: no dose within the brain.*this patient's"):
        cumulative_dose_gy(elsewhere, cube, 1.0, np.ones((4, 4, 4), bool), "sub-3")


def test_a_registration_that_explains_nothing_is_refused() -> None:
    with pytest.raises(ScanError, match=r"sub-4: event T1ce: registration .* failed .*1.020, 1.010 before"):
        require_registered(RigidResult(np.eye(4), similarity=1.02, similarity_before=1.01), "sub-4")


def test_a_registration_worse_than_the_headers_is_refused() -> None:
    with pytest.raises(ScanError, match="sub-4: event T1ce: registration to the post-op scan failed"):
        require_registered(RigidResult(np.eye(4), similarity=1.20, similarity_before=1.30), "sub-4")
    require_registered(RigidResult(np.eye(4), similarity=1.29, similarity_before=1.30), "sub-4")


def test_an_event_scan_of_half_the_brain_is_refused() -> None:
    cube = Grid.cube(np.zeros(3), 1.0, 10)
    upper_half = Grid((10, 10, 5), cube.affine + np.array([[0] * 4, [0] * 4, [0, 0, 0, 5.0], [0] * 4]))
    brain = np.ones(cube.shape, bool)
    with pytest.raises(ScanError, match="sub-4: event T1ce: the scan covers 50% of the brain"):
        require_coverage(upper_half, cube, brain, np.eye(4), "sub-4")
    require_coverage(cube, cube, brain, np.eye(4), "sub-4")
