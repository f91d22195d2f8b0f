"""The planning CT: Hounsfield units of the same head, on a headrest and couch, in a space of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.phantom.anatomy import SCALP_MM, Anatomy, FloatArray, head_bounds_mm, rigid
from ricenet.phantom.contrasts import Tissues, mix_tissues, overlay
from ricenet.phantom.lesions import Lesions
from ricenet.volume import Affine, Grid, Volume, inverse, resample

AIR_HU = -1000.0
LOWEST_HU = -1024.0
TISSUES_HU = Tissues(white=28.0, grey=40.0, fluid=8.0, skull=900.0, scalp=20.0)
NOISE_SD_HU = 12.0

FIELD_BEFORE_MM, FIELD_AFTER_MM = np.array([45.0, 75.0, 30.0]), np.array([45.0, 35.0, 15.0])
"""How far the field of view reaches beyond the head: to the left, back and below; right, front and above."""

HEADREST_GAP_MM, HEADREST_THICKNESS_MM, HEADREST_HU = 6.0, 4.0, -350.0
COUCH_GAP_MM, COUCH_THICKNESS_MM, COUCH_HU = 32.0, 40.0, -930.0
COUCH_SKIN_MM, COUCH_SKIN_HU = 2.5, -250.0
"""A carbon-fibre shell under the head, and below it a flat couch: foam between two skins."""


@dataclass(frozen=True)
class PlanningCt:
    """HU on an axial grid in the CT's own space; `world_from_anatomy` leads there."""

    image: Volume
    world_from_anatomy: Affine


def make_planning_ct(
    anatomy: Anatomy, lesions: Lesions, spacing_mm: float, rng: np.random.Generator
) -> PlanningCt:
    """Scan the head after surgery, displaced by up to 8 degrees, and by what couches are moved.

    spacing_mm: in plane; slices are 1 to 1.5 times as thick. The origin of a planning CT has nothing to
    do with that of an MRI: up to 15, 40 and 300 mm away along the three axes.
    """
    corners = head_bounds_mm(anatomy)
    shift = rng.uniform(-1, 1, 3) * np.array([15.0, 40.0, 300.0])
    world_from_anatomy = rigid(rng.uniform(-8, 8, 3), shift, corners.mean(axis=0))
    low, high = _head_in(anatomy, world_from_anatomy)
    slices_mm = spacing_mm * float(rng.uniform(1.0, 1.5))
    grid = _grid_between(low - FIELD_BEFORE_MM, high + FIELD_AFTER_MM, (spacing_mm, spacing_mm, slices_mm))
    head = overlay(_head_above_air(anatomy), lesions.cavity, TISSUES_HU.fluid - AIR_HU)
    # relative to air, for outside of the anatomy's grid resampling yields 0
    above_air = resample(Volume(head, anatomy.grid), grid, inverse(world_from_anatomy)).data
    above_air = np.maximum(above_air, _couch_above_air(grid, low, high))
    noisy = above_air + AIR_HU + rng.normal(0.0, NOISE_SD_HU, grid.shape)
    values = np.rint(np.maximum(noisy, LOWEST_HU)).astype(np.float32)
    return PlanningCt(Volume(values, grid), world_from_anatomy)


def axial_grid_around_head(anatomy: Anatomy, world_from_anatomy: Affine, spacing_mm: float) -> Grid:
    """An isotropic axial grid that just covers the head, as planning systems lay for the dose."""
    low, high = _head_in(anatomy, world_from_anatomy)
    return _grid_between(low - 5.0, high + 5.0, (spacing_mm, spacing_mm, spacing_mm))


def _head_above_air(anatomy: Anatomy) -> FloatArray:
    relative = Tissues(**{tissue: value - AIR_HU for tissue, value in vars(TISSUES_HU).items()})
    return mix_tissues(anatomy, relative)


def _head_in(anatomy: Anatomy, world_from_anatomy: Affine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest world coordinates (3,) of the head itself, not of a box turned with it."""
    head = np.argwhere(anatomy.brain_depth_mm > -SCALP_MM[1]).astype(np.float64)
    world = anatomy.grid.world_mm(head) @ world_from_anatomy[:3, :3].T + world_from_anatomy[:3, 3]
    return world.min(axis=0), world.max(axis=0)


def _grid_between(
    low: NDArray[np.float64], high: NDArray[np.float64], spacing_mm: tuple[float, float, float]
) -> Grid:
    """Rows to the patient's left, columns to the back, slices upwards, as CT is stored."""
    spacing = np.array(spacing_mm)
    x, y, z = (int(n) + 1 for n in np.ceil((high - low) / spacing))
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [high[0], high[1], low[2]]
    return Grid((x, y, z), affine)


def _couch_above_air(grid: Grid, low: NDArray[np.float64], high: NDArray[np.float64]) -> FloatArray:
    """Headrest and couch behind the head, (X, Y, 1): the same in every slice, as they are extrusions."""
    x = (grid.affine[0, 3] + grid.affine[0, 0] * np.arange(grid.shape[0]))[:, None]
    y = (grid.affine[1, 3] + grid.affine[1, 1] * np.arange(grid.shape[1]))[None, :]
    pixel = grid.spacing_mm[0]
    # the shell of the headrest curves around the head's axis, below its centre
    radius = (high[0] - low[0]) / 2 + HEADREST_GAP_MM
    centre_x, centre_y = (low[0] + high[0]) / 2, low[1] + radius - HEADREST_GAP_MM
    distance = np.hypot(x - centre_x, y - centre_y) - radius
    below = np.clip((centre_y - 0.35 * radius - y) / pixel + 0.5, 0, 1)
    headrest = _layer(distance, 0.0, HEADREST_THICKNESS_MM, pixel) * below * (HEADREST_HU - AIR_HU)
    depth = (low[1] - COUCH_GAP_MM) - y + 0 * x
    foam = _layer(depth, 0.0, COUCH_THICKNESS_MM, pixel) * (COUCH_HU - AIR_HU)
    skins = sum(
        _layer(depth, top, top + COUCH_SKIN_MM, pixel) * (COUCH_SKIN_HU - AIR_HU)
        for top in (0.0, COUCH_THICKNESS_MM - COUCH_SKIN_MM)
    )
    table: FloatArray = np.maximum(np.maximum(headrest, foam), skins).astype(np.float32)[:, :, None]
    return table


def _layer(depth: NDArray[np.float64], near: float, far: float, pixel: float) -> NDArray[np.float64]:
    """Fraction of a pixel within a layer."""
    covered = np.minimum(depth + pixel / 2, far) - np.maximum(depth - pixel / 2, near)
    return np.asarray(np.clip(covered / pixel, 0, 1), dtype=np.float64)
