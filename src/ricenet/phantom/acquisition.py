"""Scanning the phantom: bias field, noise, oblique grids and displaced heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import Anatomy, FloatArray, head_bounds_mm, rigid, smooth_field
from ricenet.phantom.contrasts import Contrast
from ricenet.phantom.scanners import NOMINAL, Scanner
from ricenet.volume import Affine, Grid, Volume, inverse, resample

SCANNER_UNITS = 600.0
BIAS_SD = 0.08

ORIENTATIONS = {
    "axial": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, -1.0, 0]]),
    "sagittal": np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]]),
}
"""Columns: world direction (RAS) of the first, second and slice axis."""


@dataclass(frozen=True)
class Placement:
    """How a head lay in a scanner: `world_from_anatomy` is the ground truth of registration."""

    world_from_anatomy: Affine
    grid: Grid


def place(anatomy: Anatomy, spacing_mm: float, rng: np.random.Generator) -> Placement:
    """Displace the head by up to 8 degrees and 12 mm an axis and lay an oblique grid over it."""
    corners = head_bounds_mm(anatomy)
    world_from_anatomy = rigid(rng.uniform(-8, 8, 3), rng.uniform(-12, 12, 3), corners.mean(axis=0))
    return Placement(world_from_anatomy, oblique_grid(corners, world_from_anatomy, spacing_mm, rng))


def oblique_grid(
    corners_mm: NDArray[np.float64], world_from_anatomy: Affine, spacing_mm: float, rng: np.random.Generator
) -> Grid:
    """A grid of random orientation, tilt (up to 10 degrees an axis) and spacing around the head."""
    orientation = ORIENTATIONS[str(rng.choice(list(ORIENTATIONS)))]
    axes = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix() @ orientation
    in_plane, through_plane = spacing_mm * rng.uniform(0.9, 1.1), spacing_mm * rng.uniform(1.0, 1.25)
    spacing = np.array([in_plane, in_plane, through_plane])
    world = corners_mm @ world_from_anatomy[:3, :3].T + world_from_anatomy[:3, 3]
    along = world @ axes
    low, high = along.min(axis=0) - 4, along.max(axis=0) + 4
    shape = np.ceil((high - low) / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def scan(
    signal: FloatArray,
    contrast: Contrast,
    anatomy: Anatomy,
    placement: Placement,
    rng: np.random.Generator,
    scanner: Scanner = NOMINAL,
) -> Volume:
    """The signal on the scanner's grid in whole numbers, as a scanner writes them.

    A weighted image is multiplied by a bias field and has Rician noise; a map keeps its quantity, with
    normal noise inside the head, and is not negative. scanner: how it differs from others.
    """
    signal = scanner.seen(signal, anatomy.grid.spacing_mm[0], is_map=contrast.is_map)
    source = Volume(signal, anatomy.grid)
    if not contrast.is_map:
        bias = np.exp(smooth_field(anatomy.grid, 1, 70.0, BIAS_SD * scanner.bias, rng)[0])
        source = Volume(signal * bias, anatomy.grid)
    ideal = resample(source, placement.grid, inverse(placement.world_from_anatomy)).data
    noise = rng.normal(0.0, contrast.noise_sd * scanner.noise, (2, *placement.grid.shape)).astype(np.float32)
    if contrast.is_map:
        values = np.maximum(ideal + noise[0] * (ideal > 0), 0)
    else:
        values = np.hypot(ideal + noise[0], noise[1]) * np.float32(SCANNER_UNITS)
    return Volume(np.rint(values).astype(np.float32), placement.grid)
