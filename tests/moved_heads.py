"""Heads whose true displacement is known, for tests of the registration; no template, quick to make."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import rigid
from ricenet.preprocessing.registration.image_comparison import head_mask
from ricenet.volume import Affine, Grid, Volume, inverse, resample


@functools.cache
def head(spacing_mm: float = 3.0) -> Volume:
    """Scalp, skull, and a brain of blobs, symmetric nowhere; its middle at the origin."""
    half = np.array([96, 114, 105])
    shape = tuple(int(n) for n in np.ceil(2 * half / spacing_mm))
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -spacing_mm * (np.array(shape) - 1) / 2
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    points = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    # a pointed front and a flat base: no turn lays the head over itself
    x, y, z = np.moveaxis(points, -1, 0)
    radius = np.sqrt((x / 72) ** 2 + ((y + 8) / (88 - 0.12 * y)) ** 2 + (z / (82 + 0.1 * y)) ** 2)
    radius = np.maximum(radius, (-z + 0.2 * y) / 75)
    noise = np.random.default_rng(1).normal(size=(64, 76, 70))
    blobs = ndimage.gaussian_filter(noise, 2.2)
    on_grid = ndimage.zoom(blobs / blobs.std(), np.array(shape) / blobs.shape, order=1)
    brain = 600 + 140 * np.clip(on_grid, -2, 2)
    data = np.select([radius < 0.8, radius < 0.9, radius < 1.0], [brain, 80.0, 700.0], 0.0)
    return Volume(ndimage.gaussian_filter(data.astype(np.float32), 1.5 / spacing_mm), grid)


def placed(
    source: Volume,
    world_from_head: Affine,
    *,
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0),
    axes: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Volume:
    """A noisy scan of the displaced head, on a grid of its own that is tilted; axes: their directions."""
    directions = Rotation.from_euler("xyz", tilt_deg, degrees=True).as_matrix()
    directions = directions if axes is None else directions @ axes
    world = source.grid.corners_mm @ world_from_head[:3, :3].T + world_from_head[:3, 3]
    along = world @ directions
    low, high = along.min(axis=0), along.max(axis=0)
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing_mm))
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing_mm)
    affine[:3, 3] = directions @ low
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    data = resample(source, grid, inverse(world_from_head)).data
    noise = np.random.default_rng(seed).normal(0, 15, (2, *grid.shape))
    return Volume(np.hypot(data + noise[0], noise[1]).astype(np.float32), grid)


def displaced(degrees: tuple[float, float, float], mm: tuple[float, float, float]) -> Affine:
    """A turn about the head's middle, then a shift."""
    return rigid(np.array(degrees), np.array(mm), np.zeros(3))


def errors_mm(found: Affine, true: Affine) -> NDArray[np.float64]:
    """Target registration errors at points all over the head's brain."""
    points = 50 * np.random.default_rng(2).uniform(-1, 1, (400, 3))
    difference = found - true
    return np.asarray(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1))


def with_header_turned(volume: Volume, turn: NDArray[np.float64]) -> Volume:
    """The same voxels, stated to lie turned about the world's origin."""
    transform = np.eye(4)
    transform[:3, :3] = turn
    return Volume(volume.data, Grid(volume.grid.shape, transform @ volume.grid.affine))


RADIUS_MM = 19.3
"""Of 30 ml."""

CAVITY_MM, LESION_MM = np.array([25.0, 20.0, 20.0]), np.array([15.0, -15.0, 5.0])


def offsets(volume: Volume, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every voxel from a point (X, Y, Z, 3), mm."""
    points = volume.grid.world_mm(np.moveaxis(np.indices(volume.grid.shape), 0, -1).astype(np.float64))
    return np.asarray(points - point_mm)


def after_surgery() -> Volume:
    """The head with a dark cavity of 30 ml."""
    cavity = np.linalg.norm(offsets(head(), CAVITY_MM), axis=-1) < RADIUS_MM
    return Volume(np.where(cavity, 150, head().data).astype(np.float32), head().grid)


def at_event(swollen_mm: float = 0.0) -> Volume:
    """The head with a bright lesion of 30 ml that pushes the tissue around it aside, and a swollen scalp."""
    grid, offset = head().grid, offsets(head(), LESION_MM)
    distance = np.linalg.norm(offset, axis=-1)
    fading = np.exp(-(np.maximum(distance - RADIUS_MM, 0) ** 2) / 2 / 20**2)
    inside = ndimage.distance_transform_edt(head_mask(head()), sampling=grid.spacing_mm)
    held = np.clip((inside - 10) / 12, 0, 1)  # the skull stays
    push = 8 * np.minimum(distance / RADIUS_MM, 1) * fading * held / np.maximum(distance, 1e-3)
    field = push[..., None] * offset
    if swollen_mm:
        out = np.array([0.8, 0.0, 0.6])
        there = np.exp(-(offsets(head(), 85 * out) ** 2).sum(axis=-1) / 2 / 40**2)
        field += (swollen_mm * there * np.clip((16 - inside) / 8, 0, 1))[..., None] * out
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1) - field / grid.spacing_mm[0]
    pushed = ndimage.map_coordinates(np.asarray(head().data, np.float32), np.moveaxis(voxels, -1, 0), order=1)
    return Volume(np.where(distance < RADIUS_MM, 1200, pushed).astype(np.float32), grid)
