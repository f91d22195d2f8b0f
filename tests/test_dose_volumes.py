"""Volumes by dose against spheres whose volumes are known, on the grids that planning systems export."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import erf, erfinv

from ricenet.preprocessing.cube import dose_on_cube
from ricenet.preprocessing.dose_volumes import LEAST_SHARE, StructureDose
from ricenet.volume import Grid, Volume, resample, supersampling_for

GRIDS_MM = [(2.5, 2.5, 3.0), (2.0, 2.0, 5.0), (4.0, 4.0, 4.0)]
LEVELS_GY = (20, 30, 40, 50, 57)
RADIUS_MM, EDGE_MM, PLATEAU_GY = 30.0, 4.0, 60.0
PLACEMENTS = 6
"""Of each grid: one sphere on one grid is counted right by chance, or wrong."""

BRAIN_RADIUS_MM, BRAIN_AWAY_MM = 70.0, 60.0


def sphere_gy(world_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """60 Gy whose edge is an error function of 4 mm, 30 Gy at 30 mm from the world's middle."""
    beyond = (np.linalg.norm(world_mm, axis=-1) - RADIUS_MM) / EDGE_MM
    return (PLATEAU_GY / 2 * (1 - erf(beyond / np.sqrt(2)))).astype(np.float32)


def radius_mm(level_gy: float) -> float:
    """Of the sphere that gets a dose or more."""
    return RADIUS_MM + EDGE_MM * float(np.sqrt(2) * erfinv(1 - 2 * level_gy / PLATEAU_GY))


def whole_ml(level_gy: float) -> float:
    return 4 / 3 * np.pi * radius_mm(level_gy) ** 3 / 1000


def in_brain_ml(level_gy: float) -> float:
    """The lens that two balls have in common (mathworld: sphere-sphere intersection)."""
    a, b, d = BRAIN_RADIUS_MM, radius_mm(level_gy), BRAIN_AWAY_MM
    two = d**2 + 2 * d * (a + b) - 3 * (a - b) ** 2
    return float(np.pi * (a + b - d) ** 2 * two / (12 * d)) / 1000


def points_mm(grid: Grid) -> NDArray[np.float64]:
    return grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))


def doses(spacing_mm: tuple[float, float, float]) -> list[Volume]:
    """The sphere on grids of one spacing that lie elsewhere each."""
    made = []
    for shift in np.random.default_rng(5).uniform(-0.5, 0.5, (PLACEMENTS, 3)):
        shape = np.ceil(2 * (RADIUS_MM + 4 * EDGE_MM) / np.array(spacing_mm)).astype(int) + 1
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = (shift - (shape - 1) / 2) * spacing_mm
        grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
        made.append(Volume(sphere_gy(points_mm(grid)), grid))
    return made


def ball(centre_mm: tuple[float, float, float], radius: float) -> Volume:
    """A mask of 1 mm."""
    grid = Grid.cube(np.array(centre_mm), 1.0, 2 * round(radius) + 9)
    return Volume(np.linalg.norm(points_mm(grid) - centre_mm, axis=-1) <= radius, grid)


HEAD = ball((0.0, 0.0, 0.0), 60.0)
BRAIN = ball((BRAIN_AWAY_MM, 0.0, 0.0), BRAIN_RADIUS_MM)


@pytest.mark.parametrize("spacing_mm", GRIDS_MM)
@pytest.mark.parametrize(("structure", "expected"), [(HEAD, whole_ml), (BRAIN, in_brain_ml)])
def test_volumes_by_dose_are_those_of_the_sphere_that_was_planned(
    spacing_mm: tuple[float, float, float], structure: Volume, expected: Callable[[float], float]
) -> None:
    found = [
        StructureDose.of(dose, structure).volumes_ml(np.array(LEVELS_GY, float)) for dose in doses(spacing_mm)
    ]
    true = np.array([expected(level) for level in LEVELS_GY])
    np.testing.assert_allclose(np.mean(found, axis=0), true, rtol=0.007)
    # one sphere on one grid scatters about that
    np.testing.assert_allclose(found, np.broadcast_to(true, np.shape(found)), rtol=0.025)


@pytest.mark.parametrize("spacing_mm", GRIDS_MM)
def test_linear_interpolation_would_lose_of_the_high_dose(spacing_mm: tuple[float, float, float]) -> None:
    dose = doses(spacing_mm)[0]
    cube = dose_on_cube(dose, Grid.cube(np.zeros(3), 1.0, 90), 1.0)
    assert (cube >= 57).sum() / 1000 < 0.97 * whole_ml(57)


def test_a_structure_keeps_its_volume_on_any_grid_also_beyond_the_dose() -> None:
    for dose in (doses((2.0, 2.0, 5.0))[0], doses((4.0, 4.0, 4.0))[1]):
        # the brain reaches 130 mm from the sphere's middle, the dose 46 mm
        inside = StructureDose.of(dose, BRAIN)
        assert inside.total_ml == pytest.approx(float(BRAIN.data.sum()) / 1000)
        assert inside.mean_gy * inside.total_ml == pytest.approx(inside.integral_gy_ml)
        assert inside.dose_gy[-1] == 0 and inside.ml[-1] > 100


def test_voxels_count_by_the_share_that_the_mask_fills_through_the_transform() -> None:
    # three voxels of 4 mm side by side: 10, 20, 30 Gy; the mask fills a half of the second, all of the third
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    dose = Volume(np.array([10, 20, 30], np.float32).reshape(3, 1, 1), Grid((3, 1, 1), affine))
    fine = np.eye(4)
    fine[:3, 3] = [4.5 + 100, -1.5, -1.5]
    mask = Volume(np.ones((6, 4, 4), bool), Grid((6, 4, 4), fine))
    mask_from_dose = np.eye(4)
    mask_from_dose[0, 3] = 100.0
    inside = StructureDose.of(dose, mask, mask_from_dose)
    assert inside.total_ml == pytest.approx(0.096)
    assert inside.volume_ml(25) == pytest.approx(0.064, rel=0.02)
    assert inside.volume_ml(20) == pytest.approx(0.096, rel=0.02)
    assert inside.mean_gy == pytest.approx((20 * 0.032 + 30 * 0.064) / 0.096, rel=0.02)


@pytest.mark.parametrize(
    "shift_mm", [(0.0, 0.0, 0.0), (11.3, -7.9, 4.1), (40.0, 0.0, 0.0), (200.0, 0.0, 0.0)]
)
def test_the_part_of_the_dose_around_the_structure_gives_what_all_of_it_gives(
    shift_mm: tuple[float, float, float],
) -> None:
    rng = np.random.default_rng(8)
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", [12.0, -20.0, 31.0], degrees=True).as_matrix()
    turned[:3, 3] = shift_mm
    dose = Volume(
        rng.uniform(0, 60, (20, 24, 16)).astype(np.float32), Grid((20, 24, 16), np.diag([3.0, 2.5, 4.0, 1.0]))
    )
    mask = Volume(rng.uniform(size=(30, 30, 30)) > 0.3, Grid((30, 30, 30), np.diag([1.0, 1.0, 2.0, 1.0])))
    points = supersampling_for(mask.grid, dose.grid, turned)
    share = resample(mask, dose.grid, turned, supersampling=points).data
    inside = StructureDose.of(dose, mask, turned)
    assert inside.ml[:-1].sum() == pytest.approx(
        share[share >= LEAST_SHARE].sum() * dose.grid.voxel_ml, rel=1e-6
    )
    assert len(inside.dose_gy) - 1 == (share >= LEAST_SHARE).sum()
    whole = float((dose.data.astype(float) * share)[share >= LEAST_SHARE].sum()) * dose.grid.voxel_ml
    assert inside.integral_gy_ml == pytest.approx(whole, rel=1e-6)


def test_volumes_and_doses_by_hand() -> None:
    # of 100 ml: 1 ml of 62 Gy, 9 ml of 60, 90 ml of 10
    inside = StructureDose(np.array([62.0, 60.0, 10.0]), np.array([1.0, 9.0, 90.0]))
    assert [inside.volume_ml(gy) for gy in (0, 10, 10.5, 60, 60.5, 62, 63)] == [100, 100, 10, 10, 1, 1, 0]
    assert (inside.hottest_gy(0.01), inside.hottest_gy(0.02), inside.hottest_gy(0.5)) == (62, 60, 10)
    assert (inside.max_gy, inside.mean_gy) == (62, (62 + 540 + 900) / 100)
    by_hand = (0.01 * 62**8 + 0.09 * 60**8 + 0.9 * 10**8) ** (1 / 8)
    assert inside.equivalent_uniform_gy(8) == pytest.approx(by_hand)
    # 57 Gy kept as float32 of 2 Gy times 28.5 fractions is 57 Gy
    rounded = StructureDose(np.array([float(np.float32(1.9) * np.float32(30))]), np.ones(1))
    assert rounded.volume_ml(57) == 1
