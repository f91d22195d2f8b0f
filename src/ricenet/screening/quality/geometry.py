"""Numbers about transforms, masks and doses, each computed from plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Affine, Grid, Volume, resample, supersampling_for

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


def rotation_deg(transform: Affine) -> float:
    """The angle of a rigid transform's rotation about its own axis, 0 to 180 degrees."""
    cosine = (float(np.trace(transform[:3, :3])) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def shift_mm(transform: Affine, point_mm: NDArray[np.float64]) -> float:
    """How far a transform moves one point: unlike its translation, it does not depend on the origin."""
    moved = transform[:3, :3] @ point_mm + transform[:3, 3]
    return float(np.linalg.norm(moved - point_mm))


def dice(one: Mask, other: Mask) -> float:
    """Twice the common voxels over the sum of both masks, of which not both are empty."""
    return 2.0 * int((one & other).sum()) / (int(one.sum()) + int(other.sum()))


def bounding_box_mm(mask: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest world corner (3,) of the voxel centres inside a mask that is not empty."""
    inside = mask.grid.world_mm(np.argwhere(mask.data).astype(np.float64))
    return inside.min(axis=0), inside.max(axis=0)


def box_grid(low_mm: NDArray[np.float64], high_mm: NDArray[np.float64], spacing_mm: float) -> Grid:
    """The isotropic grid along the world axes that fills a box."""
    shape = np.maximum(1, np.ceil((high_mm - low_mm) / spacing_mm)).astype(int)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = (low_mm + high_mm) / 2 - spacing_mm * (shape - 1) / 2
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def mask_on(mask: Volume, grid: Grid, source_from_target: Affine | None = None) -> Mask:
    """A mask on another grid: voxels that it fills by half or more."""
    k = supersampling_for(mask.grid, grid)
    share = resample(mask, grid, source_from_target, order=1, supersampling=k).data
    inside: Mask = share >= 0.5
    return inside


def coverage(scan: Grid, brain: Mask, grid: Grid, scan_from_grid: Affine) -> float:
    """Share of a brain mask's voxels that lie within a scan's field of view. brain: not empty."""
    whole = Volume(np.ones(scan.shape, dtype=np.float32), scan)
    seen = resample(whole, grid, scan_from_grid, order=1).data > 0.5
    return float(seen[brain].mean())


def share_outside(dose: Volume, brain: Volume) -> float:
    """Share of a dose's integral outside a brain mask, on the dose's own grid, of which no voxel is lost.

    dose: not 0 everywhere. Voxels that the mask fills in part count in part.
    """
    share = resample(brain, dose.grid, order=1, supersampling=supersampling_for(brain.grid, dose.grid)).data
    values = np.asarray(dose.data, dtype=np.float64)
    return 1.0 - float((values * share).sum()) / float(values.sum())


def volume_from_ml(dose_gy: Floats, brain: Mask, level_gy: float, voxel_ml: float) -> float:
    """Volume of the brain that gets a dose or more (V20: level_gy 20), in ml."""
    return float((dose_gy[brain] >= level_gy).sum()) * voxel_ml


def dose_volume_curve(
    dose_gy: Floats, brain: Mask, voxel_ml: float, step_gy: float = 1.0
) -> list[list[float]]:
    """Cumulative dose-volume histogram: rows (dose in Gy, volume in ml that gets it or more)."""
    inside = dose_gy[brain]
    levels = np.arange(0.0, float(inside.max(initial=0.0)) + 2 * step_gy, step_gy)
    return [[gy, round(volume_from_ml(dose_gy, brain, gy, voxel_ml), 2)] for gy in levels.tolist()]
