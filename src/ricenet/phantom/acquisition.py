"""Scanning the phantom: T1ce contrast, bias field, noise, oblique grids and displaced heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ricenet.phantom.anatomy import (
    SCALP_MM,
    SKULL_MM,
    Anatomy,
    FloatArray,
    head_bounds_mm,
    rigid,
    smooth_field,
)
from ricenet.phantom.lesions import Lesions
from ricenet.volume import Affine, Grid, Volume, inverse, resample

ENHANCING, UNENHANCED = 1.75, 0.68
"""Relative T1 signal of vital tumour after and before contrast agent."""

SCANNER_UNITS = 600.0
NOISE_SD = 0.025
BIAS_SD = 0.08

ORIENTATIONS = {
    "axial": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, -1.0, 0]]),
    "sagittal": np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]]),
}
"""Columns: world direction (RAS) of the first, second and slice axis."""


@dataclass(frozen=True)
class Tissues:
    """A value for each tissue of the head."""

    white: float
    grey: float
    fluid: float
    skull: float
    scalp: float


T1CE = Tissues(white=1.0, grey=0.78, fluid=0.32, skull=0.12, scalp=1.05)
"""Relative signal."""

T2 = Tissues(white=0.55, grey=0.75, fluid=1.6, skull=0.1, scalp=0.8)
"""Relative signal."""


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


def scan(signal: FloatArray, anatomy: Anatomy, placement: Placement, rng: np.random.Generator) -> Volume:
    """A T1ce scan: the signal on the scanner's grid, times a bias field, plus Rician noise.

    Values are whole numbers, as a scanner writes them.
    """
    bias = np.exp(smooth_field(anatomy.grid, 1, 70.0, BIAS_SD, rng)[0])
    source = Volume(signal * bias, anatomy.grid)
    ideal = resample(source, placement.grid, inverse(placement.world_from_anatomy)).data
    noise = rng.normal(0.0, NOISE_SD, (2, *placement.grid.shape)).astype(np.float32)
    magnitude = np.hypot(ideal + noise[0], noise[1]) * np.float32(SCANNER_UNITS)
    return Volume(np.rint(magnitude).astype(np.float32), placement.grid)


def post_op_signal(anatomy: Anatomy, lesions: Lesions, residual: float = ENHANCING) -> FloatArray:
    """After surgery: a fluid-filled cavity with residual tumour at its wall, by default enhancing."""
    signal = overlay(mix_tissues(anatomy, T1CE), lesions.residual, residual)
    return overlay(signal, lesions.cavity, T1CE.fluid)


def event_signal(
    anatomy: Anatomy, lesions: Lesions, core_enhancement: float, lesion: float = ENHANCING
) -> FloatArray:
    """At the event: the cavity has shrunk, the residual no longer shows, a new lesion enhances."""
    core = 0.45 + core_enhancement * (lesion - 0.45)
    signal = overlay(mix_tissues(anatomy, T1CE), lesions.cavity_at_event, T1CE.fluid)
    return overlay(overlay(signal, lesions.lesion, lesion), lesions.lesion_core, core)


def mix_tissues(anatomy: Anatomy, tissues: Tissues) -> FloatArray:
    """The undisturbed head, each voxel the mean of its tissues; 0 outside."""
    depth = anatomy.brain_depth_mm
    fluid = np.clip(1 - anatomy.grey - anatomy.white, 0, 1) * (depth > -SKULL_MM[0])
    skull = _shell(depth, SKULL_MM)
    scalp = _shell(depth, SCALP_MM)
    outside = 1 - np.clip(skull + scalp, 0, 1)
    inside = tissues.white * anatomy.white + tissues.grey * anatomy.grey + tissues.fluid * fluid
    signal: FloatArray = (inside * outside + tissues.skull * skull + tissues.scalp * scalp).astype(np.float32)
    return signal


def overlay(signal: FloatArray, mask: FloatArray, value: float) -> FloatArray:
    """Replace the signal by a value, by the fraction in [0, 1] that a soft mask says."""
    result: FloatArray = signal + mask * (np.float32(value) - signal)
    return result


def _shell(depth_mm: FloatArray, bounds_mm: tuple[float, float]) -> FloatArray:
    near, far = bounds_mm
    fraction: FloatArray = np.clip(-depth_mm - near + 0.5, 0, 1) * np.clip(far + depth_mm + 0.5, 0, 1)
    return fraction
