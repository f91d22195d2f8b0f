"""The network's cube around the brain, and volumes on it, each interpolated once from its raw grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import ScanError
from ricenet.volume import Affine, Grid, Volume, resample, supersampling_for

LEAST_COVERAGE = 0.95
INTERPOLATION_ORDER = {"linear": 1, "bspline": 3}


def brain_cube(brain: Volume, spacing_mm: float, voxels: int, subject: str) -> Grid:
    """The isotropic cube centred on the middle of the brain's bounding box along the world axes.

    Raises ScanError: the brain would be cut off.
    """
    low, high = bounding_box_mm(brain)
    extent_mm, cube_mm = float((high - low).max()), spacing_mm * voxels
    if extent_mm > cube_mm:
        raise ScanError(
            subject,
            "brain mask",
            f"the brain is {extent_mm:.0f} mm long, the cube {cube_mm:.0f} mm",
            "Raise preprocessing.cube_voxels or preprocessing.spacing_mm.",
        )
    return Grid.cube((low + high) / 2, spacing_mm, voxels)


def bounding_box_mm(mask: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest world corner (3,) of the voxel centres inside a mask that is not empty."""
    # a plane touches a set at the end of one of its rows
    inside = np.asarray(mask.data, dtype=np.bool_)
    y, z = np.nonzero(inside.any(axis=0))
    rows = inside[:, y, z]
    first, last = rows.argmax(axis=0), len(rows) - 1 - rows[::-1].argmax(axis=0)
    ends = np.stack([np.append(first, last), np.tile(y, 2), np.tile(z, 2)], axis=1)
    world = mask.grid.world_mm(ends.astype(np.float64))
    return world.min(axis=0), world.max(axis=0)


def shown(scan: Grid, cube: Grid, brain: NDArray[np.bool_], scan_from_cube: Affine) -> NDArray[np.bool_]:
    """The brain's voxels (X, Y, Z) on the cube whose middle a scan shows (`Grid.contains`)."""
    points_mm = cube.world_mm(np.argwhere(brain).astype(np.float64))
    result = np.zeros(brain.shape, dtype=np.bool_)
    result[brain] = scan.contains(points_mm @ scan_from_cube[:3, :3].T + scan_from_cube[:3, 3])
    return result


def require_coverage(share: float, subject: str, scan: str) -> None:
    """Refuse a scan that leaves much of the brain out: what it lacks would pass for tissue.

    share: of the brain's voxels on the cube that it shows. Raises ScanError.
    """
    if share < LEAST_COVERAGE:
        raise ScanError(
            subject,
            scan,
            f"the scan covers {share:.0%} of the brain, expected at least {LEAST_COVERAGE:.0%}",
            "Use a scan of the whole head.",
        )


def on_cube(
    volume: Volume, cube: Grid, order: int, source_from_cube: Affine | None = None
) -> NDArray[np.float32]:
    """A volume's values on the cube, in one interpolation with the low-pass filter that it needs."""
    points = supersampling_for(volume.grid, cube, source_from_cube)
    return np.asarray(resample(volume, cube, source_from_cube, order, points).data, dtype=np.float32)


def mri_on_cube(
    mri: Volume, cube: Grid, order: int, source_from_cube: Affine | None = None
) -> NDArray[np.float32]:
    """An MRI's values on the cube, of what it shows alone: no 0 from beyond its edge enters a mean."""
    points = supersampling_for(mri.grid, cube, source_from_cube)
    values = resample(mri, cube, source_from_cube, order, points, outside=np.nan).data
    return np.nan_to_num(np.asarray(values, dtype=np.float32), copy=False)


def dose_on_cube(
    dose: Volume, cube: Grid, factor: float, source_from_cube: Affine | None = None
) -> NDArray[np.float32]:
    """The whole course's dose on the cube, in Gy: linear, never below zero, times `factor`.

    Source: RICE-NET 2.1 (a single fraction's dose is scaled by the number of fractions).
    """
    return np.maximum(on_cube(dose, cube, 1, source_from_cube), 0) * np.float32(factor)
