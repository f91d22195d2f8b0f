"""Heads whose true displacement is known, for tests of the registration; no template, quick to make."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import rigid
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
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in source.grid.shape])).reshape(3, 8).T
    world = source.grid.world_mm(corners) @ world_from_head[:3, :3].T + world_from_head[:3, 3]
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
