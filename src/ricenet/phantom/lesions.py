"""Resection cavity, residual tumour and the new lesion, as soft masks in the subject's space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ricenet.phantom.anatomy import Anatomy, FloatArray, Point, smooth_field
from ricenet.phantom.mechanism import Evidence

TARGET_SHIFT_MM = 12.0
"""With the least margin of the other side the lesion's middle lies beyond the target's edge."""

REMOTE_FROM_CAVITY_MM, REMOTE_RADIUS_MM = 60.0, 8.0


@dataclass(frozen=True)
class Lesions:
    """Soft masks (X, Y, Z) in [0, 1] on the anatomy's grid, and where they lie."""

    cavity_centre_mm: Point
    cavity_radius_mm: float
    cavity_distance_mm: FloatArray
    """Signed distance to the cavity's wall after surgery, negative inside."""
    cavity: FloatArray
    residual: FloatArray
    cavity_at_event: FloatArray
    lesion_centre_mm: Point
    lesion: FloatArray
    lesion_core: FloatArray
    target_shift_mm: Point
    """Where the irradiated target's middle lies from the cavity's, as far as evidence has moved it."""
    remote: FloatArray | None = None
    """A second focus, far outside the irradiated target."""


def make_lesions(
    anatomy: Anatomy, evidence: Evidence, rng: np.random.Generator, *, growth_mm: float = 0.0
) -> Lesions:
    """Place a cavity in a lobe and, later, a new enhancing lesion near its wall.

    Where and how large is independent of the label; the residual's thickness and the lesion's
    core carry the evidence of the post-operative and event scans. Where the place is the evidence, lesion
    and target lie to the same side of the cavity or to opposite ones: either alone says nothing.
    growth_mm: of the lesion's radius, at a later visit; place and shape stay.
    """
    centre = _lobar_point(anatomy, rng)
    radius = float(rng.uniform(12.0, 15.0))
    wobble = smooth_field(anatomy.grid, 1, 14.0, 1.2, rng)[0]
    distance = _distance_mm(anatomy, centre) - np.float32(radius) + wobble
    direction = _direction(rng)
    lesion_radius = float(rng.uniform(9.0, 13.0))
    shift_mm = np.zeros(3)
    if evidence.in_plateau is None:
        lesion_centre = _beside(anatomy, centre, radius + 0.6 * lesion_radius, rng)
    else:
        side = _along_the_surface(anatomy, centre, rng)
        lesion_centre = centre + (radius + 0.6 * lesion_radius) * side
        shift_mm = (TARGET_SHIFT_MM if evidence.in_plateau else -TARGET_SHIFT_MM) * side
    lesion_distance = _distance_mm(anatomy, lesion_centre) - np.float32(lesion_radius) + 0.8 * wobble
    lesion_distance -= np.float32(growth_mm)
    in_brain = _soft(-anatomy.brain_depth_mm, anatomy)
    cavity = _soft(distance, anatomy) * in_brain
    rim = _soft(distance - np.float32(evidence.residual_thickness_mm), anatomy) * (
        1 - _soft(distance, anatomy)
    )
    facing = _soft(
        -(anatomy.along_mm(centre, direction.astype(np.float32)) + np.float32(0.3 * radius)), anatomy
    )
    shrunk = distance + np.float32(rng.uniform(1.0, 3.0))
    lesion = _soft(lesion_distance, anatomy) * in_brain * (1 - _soft(shrunk, anatomy))
    return Lesions(
        centre, radius, distance, cavity, rim * facing * in_brain, _soft(shrunk, anatomy) * in_brain,
        lesion_centre, lesion, _soft(lesion_distance + np.float32(0.4 * lesion_radius), anatomy) * lesion,
        shift_mm, None if evidence.remote is None else _remote(anatomy, centre, rng),
    )  # fmt: skip


def without_lesion(lesions: Lesions) -> Lesions:
    """The same cavity and residual with no new lesion, and no second focus."""
    nothing = np.zeros_like(lesions.lesion)
    return replace(lesions, lesion=nothing, lesion_core=nothing, remote=None)


def _along_the_surface(anatomy: Anatomy, point: Point, rng: np.random.Generator) -> Point:
    """A direction in which the depth below the brain's surface does not change: either way is as likely."""
    voxel = np.rint((point - anatomy.grid.affine[:3, 3]) / anatomy.grid.spacing_mm[0]).astype(int)
    around = tuple(slice(v - 1, v + 2) for v in voxel)
    inward = np.array([slope[1, 1, 1] for slope in np.gradient(anatomy.brain_depth_mm[around])], np.float64)
    inward /= max(float(np.linalg.norm(inward)), 1e-6)
    direction = _direction(rng)
    direction -= (direction @ inward) * inward
    unit: Point = direction / np.linalg.norm(direction)
    return unit


def _remote(anatomy: Anatomy, cavity_centre_mm: Point, rng: np.random.Generator) -> FloatArray:
    """A small focus in white matter, too far from the cavity to be in any target."""
    far = _distance_mm(anatomy, cavity_centre_mm) > REMOTE_FROM_CAVITY_MM
    candidates = np.argwhere(far & (anatomy.white > 0.4) & (anatomy.brain_depth_mm > REMOTE_RADIUS_MM))
    chosen = candidates[rng.integers(len(candidates))].astype(np.float64)
    return _soft(_distance_mm(anatomy, anatomy.grid.world_mm(chosen)) - np.float32(REMOTE_RADIUS_MM), anatomy)


def _lobar_point(anatomy: Anatomy, rng: np.random.Generator) -> Point:
    """A random white-matter point 14 to 28 mm deep in the upper three fifths of the brain."""
    depth = anatomy.brain_depth_mm
    heights = np.where(anatomy.brain.any(axis=(0, 1)))[0]
    allowed = (anatomy.white > 0.4) & (depth > 14) & (depth < 28)
    allowed[:, :, : heights[0] + int(0.4 * len(heights))] = False
    candidates = np.argwhere(allowed)
    return anatomy.grid.world_mm(candidates[rng.integers(len(candidates))].astype(np.float64))


def _beside(anatomy: Anatomy, centre: Point, reach_mm: float, rng: np.random.Generator) -> Point:
    """The deepest of eight random points at a distance from the cavity's centre, to stay in the brain."""
    points = np.array([centre + reach_mm * _direction(rng) for _ in range(8)])
    voxels = np.rint((points - anatomy.grid.affine[:3, 3]) / anatomy.grid.spacing_mm[0]).astype(int)
    voxels = np.clip(voxels, 0, np.array(anatomy.grid.shape) - 1)
    depths = anatomy.brain_depth_mm[tuple(voxels.T)]
    deepest: Point = points[int(np.argmax(np.minimum(depths, 10.0)))]
    return deepest


def _direction(rng: np.random.Generator) -> Point:
    vector = rng.normal(size=3)
    unit: Point = vector / np.linalg.norm(vector)
    return unit


def _distance_mm(anatomy: Anatomy, point: Point) -> FloatArray:
    distance: FloatArray = np.sqrt(anatomy.squared_distance_mm2(point))
    return distance


def _soft(distance_mm: FloatArray, anatomy: Anatomy) -> FloatArray:
    """Fraction of a voxel inside a surface, from the signed distance (negative inside)."""
    fraction: FloatArray = np.clip(0.5 - distance_mm / np.float32(anatomy.grid.spacing_mm[0]), 0.0, 1.0)
    return fraction
