"""A radiotherapy course: cumulative dose in Gy from a conformal plan, its beams and a hot region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ricenet.phantom.anatomy import Anatomy, FloatArray, Point, smooth_field
from ricenet.phantom.lesions import Lesions
from ricenet.phantom.mechanism import Evidence

PRESCRIPTION_GY = 60.0
FRACTIONS = 30
"""60 Gy in 30 fractions: the standard course for glioblastoma (Stupp et al., NEJM 352, 2005)."""

PENUMBRA_MM = 5.0
BEAM_ENTRANCE_GY = 22.0
ATTENUATION_PER_MM = 0.005
"""Roughly that of 6 MV photons in water."""


@dataclass(frozen=True)
class Plan:
    """Dose (X, Y, Z) in Gy on the anatomy's grid, cumulative over all courses."""

    dose_gy: FloatArray
    ptv: NDArray[np.bool_]
    hot_region: NDArray[np.bool_]
    """Where the excess over the prescription lies: the causal region of the dose map."""
    isocentre_mm: Point
    prescription_gy: float


def make_plan(anatomy: Anatomy, lesions: Lesions, evidence: Evidence, rng: np.random.Generator) -> Plan:
    """Irradiate the cavity with a margin of 12 to 18 mm, and deliver the excess within the target.

    The margin, the beams and the place and size of the hot region are independent of the label.
    """
    margin_mm = float(rng.uniform(12.0, 18.0))
    target_distance = np.maximum(
        lesions.cavity_distance_mm - np.float32(margin_mm), -anatomy.brain_depth_mm - 2
    )
    ptv = target_distance < 0
    isocentre = np.array(anatomy.grid.world_mm(np.argwhere(ptv).mean(axis=0)))
    conformal = _sigmoid(-target_distance / np.float32(PENUMBRA_MM / 2))
    texture = 1 + smooth_field(anatomy.grid, 1, 12.0, 0.01, rng)[0]
    bath = _beams_gy(anatomy, isocentre, lesions.cavity_radius_mm + margin_mm, rng)
    course = PRESCRIPTION_GY * conformal * texture + (1 - conformal) * bath
    hot_distance = _hot_distance_mm(anatomy, lesions, margin_mm, rng)
    hot = _sigmoid(-hot_distance / np.float32(PENUMBRA_MM / 2)) * conformal
    total = course + np.float32(evidence.excess_dose_gy) * hot
    prescription = PRESCRIPTION_GY + (round(evidence.excess_dose_gy) if evidence.reirradiated else 0)
    in_head = anatomy.brain_depth_mm > -14
    return Plan((total * in_head).astype(np.float32), ptv, hot_distance < 0, isocentre, float(prescription))


def _hot_distance_mm(
    anatomy: Anatomy, lesions: Lesions, margin_mm: float, rng: np.random.Generator
) -> FloatArray:
    radius = float(rng.uniform(15.0, 20.0))
    offset = rng.normal(size=3)
    offset *= rng.uniform(0.0, 0.5 * margin_mm) / np.linalg.norm(offset)
    centre = (lesions.cavity_centre_mm + offset).astype(np.float32)
    delta = anatomy.points_mm - centre[:, None, None, None]
    distance: FloatArray = np.sqrt(np.einsum("ixyz,ixyz->xyz", delta, delta)) - np.float32(radius)
    return distance


def _beams_gy(
    anatomy: Anatomy, isocentre_mm: NDArray[np.float64], aperture_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Entrance and exit dose of five to seven coplanar or nearly coplanar beams."""
    count = int(rng.integers(5, 8))
    start = rng.uniform(0, 360)
    delta = anatomy.points_mm - isocentre_mm.astype(np.float32)[:, None, None, None]
    total = np.zeros(anatomy.grid.shape, np.float32)
    for beam in range(count):
        gantry, couch = np.deg2rad(start + 360 * beam / count), np.deg2rad(rng.uniform(-15, 15))
        axis = np.array(
            [np.cos(gantry) * np.cos(couch), np.sin(gantry) * np.cos(couch), np.sin(couch)], np.float32
        )
        along = np.einsum("i,ixyz->xyz", axis, delta)
        across = np.sqrt(np.maximum(np.einsum("ixyz,ixyz->xyz", delta, delta) - along**2, 0))
        inside = _sigmoid((np.float32(aperture_mm) - across) / np.float32(PENUMBRA_MM / 2))
        total += inside * np.exp(-np.float32(ATTENUATION_PER_MM) * along)
    blurred = ndimage.gaussian_filter(total * np.float32(BEAM_ENTRANCE_GY / 2.2), 1.0)
    limited: FloatArray = np.minimum(blurred, np.float32(0.8 * PRESCRIPTION_GY))
    return limited


def _sigmoid(values: FloatArray) -> FloatArray:
    result: FloatArray = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return result
