"""Volumes by dose of a sphere whose volumes are known: on the dose's own voxels, and after interpolation.

    python benchmarks/dose_volumes.py

60 Gy whose edge is an error function of 4 mm SD, 30 Gy at the radius; on three grids that planning systems
export, each at many places. In a head that holds all of it, and in a brain whose surface cuts it.
"""

from __future__ import annotations

import argparse

import numpy as np
from figure import report
from numpy.typing import NDArray
from scipy.special import erf, erfinv

from ricenet.preprocessing.cube import dose_on_cube, on_cube
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Grid, Volume

GRIDS_MM = ((2.5, 2.5, 3.0), (2.0, 2.0, 5.0), (4.0, 4.0, 4.0))
LEVELS_GY = np.array([20.0, 30.0, 40.0, 50.0, 57.0])
PLATEAU_GY, EDGE_MM = 60.0, 4.0
BRAIN_RADIUS_MM, BRAIN_AWAY_MM = 70.0, 60.0
CUBE_MM = 1.0


def points_mm(grid: Grid) -> NDArray[np.float64]:
    """World positions (X, Y, Z, 3) of the voxels' middles."""
    return grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))


def ball(centre_mm: tuple[float, float, float], radius_mm: float) -> Volume:
    """A mask of 1 mm."""
    grid = Grid.cube(np.array(centre_mm), 1.0, 2 * round(radius_mm) + 9)
    return Volume(np.linalg.norm(points_mm(grid) - centre_mm, axis=-1) <= radius_mm, grid)


def sphere(grid: Grid, radius_mm: float) -> Volume:
    """The dose in Gy around the world's middle."""
    beyond = (np.linalg.norm(points_mm(grid), axis=-1) - radius_mm) / EDGE_MM
    return Volume((PLATEAU_GY / 2 * (1 - erf(beyond / np.sqrt(2)))).astype(np.float32), grid)


def placed(spacing_mm: tuple[float, float, float], radius_mm: float, shift: NDArray[np.float64]) -> Grid:
    """A grid that covers the sphere; shift: of its middle from the sphere's, in voxels."""
    x, y, z = (int(n) + 1 for n in np.ceil(2 * (radius_mm + 4 * EDGE_MM) / np.array(spacing_mm)))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (shift - (np.array([x, y, z]) - 1) / 2) * spacing_mm
    return Grid((x, y, z), affine)


def true_ml(radius_mm: float, in_brain: bool) -> NDArray[np.float64]:
    """Of every level: a ball, or the lens that two balls have in common."""
    b = radius_mm + EDGE_MM * np.sqrt(2) * erfinv(1 - 2 * LEVELS_GY / PLATEAU_GY)
    if not in_brain:
        return np.asarray(4 / 3 * np.pi * b**3 / 1000)
    a, d = BRAIN_RADIUS_MM, BRAIN_AWAY_MM
    two = d**2 + 2 * d * (a + b) - 3 * (a - b) ** 2
    return np.asarray(np.pi * (a + b - d) ** 2 * two / (12 * d) / 1000)


def on_the_cube(dose: Volume, brain: Volume) -> NDArray[np.float64]:
    """What the levels hold once dose and mask are interpolated to a cube of 1 mm, for the network."""
    low, high = dose.grid.corners_mm.min(axis=0), dose.grid.corners_mm.max(axis=0)
    cube = Grid.box(low, high, CUBE_MM)
    inside_gy = dose_on_cube(dose, cube, 1.0)[on_cube(brain, cube, 1) >= 0.5]
    return np.array([(inside_gy >= level).sum() * cube.voxel_ml for level in LEVELS_GY])


def main() -> None:
    """Errors in percent, by grid, radius and structure; the figures are of their means over places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=64, help="of each grid")
    places = parser.parse_args().places
    worst = {"own": 0.0, "cube": 0.0, "scatter": 0.0}
    for radius_mm in (20.0, 30.0):
        head = ball((0.0, 0.0, 0.0), radius_mm + 25)
        cut = ball((BRAIN_AWAY_MM, 0.0, 0.0), BRAIN_RADIUS_MM)
        for spacing_mm in GRIDS_MM:
            shifts = generator_for("dose volumes", 1, *map(str, spacing_mm)).uniform(-0.5, 0.5, (places, 3))
            doses = [sphere(placed(spacing_mm, radius_mm, shift), radius_mm) for shift in shifts]
            for structure, in_brain in ((head, False), (cut, True)):
                true = true_ml(radius_mm, in_brain)
                own = [StructureDose.of(dose, structure).volumes_ml(LEVELS_GY) for dose in doses]
                cube = [on_the_cube(dose, structure) for dose in doses[:4]]
                errors = 100 * (np.array(own) / true - 1)
                lost = 100 * (np.mean(cube, axis=0) / true - 1)
                where = "cut by the brain" if in_brain else "all in the head"
                print(f"{radius_mm:g} mm, {spacing_mm} mm, {where}: levels {LEVELS_GY.tolist()} Gy")
                print(f"  own voxels {errors.mean(axis=0).round(2)} % +- {errors.std(axis=0).round(2)}")
                print(f"  on the cube {lost.round(2)} %")
                worst["own"] = max(worst["own"], float(np.abs(errors.mean(axis=0)).max()))
                worst["scatter"] = max(worst["scatter"], float(errors.std(axis=0).max()))
                worst["cube"] = max(worst["cube"], float(np.abs(lost).max()))
    agreement = f"with the sphere's volumes; interpolated to 1 mm first: {worst['cube']:.1f} %"
    report("dose_volumes_bias_percent", worst["own"], "at most 1", agreement, worst["own"] <= 1)
    agreement = "SD over the grid's places, of 20 to 57 Gy; 34 ml and 113 ml, whole or cut"
    report("dose_volumes_scatter_percent", worst["scatter"], "at most 2", agreement, worst["scatter"] <= 2)


if __name__ == "__main__":
    main()
