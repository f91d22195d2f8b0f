"""Radiotherapy: cumulative dose in Gy from a conformal plan, its beams and a hot spot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ricenet.phantom.anatomy import Anatomy, FloatArray, Point, smooth_field
from ricenet.phantom.lesions import Lesions
from ricenet.phantom.mechanism import Evidence

PRESCRIPTION_GY = 60.0
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
    """The planning target volume: the causal region of the dose map."""
    isocentre_mm: Point
    prescription_gy: float


def make_plan(anatomy: Anatomy, lesions: Lesions, evidence: Evidence, rng: np.random.Generator) -> Plan:
    """Irradiate the cavity with a margin of 14 to 16 mm; the evidence scales the whole course.

    The margin, the beams and the place and height of the hot spot are independent of the label.
    """
    margin_mm = float(rng.uniform(14.0, 16.0))
    target_distance = np.maximum(
        lesions.cavity_distance_mm - np.float32(margin_mm), -anatomy.brain_depth_mm - 2
    )
    ptv = target_distance < 0
    isocentre = np.array(anatomy.grid.world_mm(np.argwhere(ptv).mean(axis=0)))
    conformal = _sigmoid(-target_distance / np.float32(PENUMBRA_MM / 2))
    texture = 1 + smooth_field(anatomy.grid, 1, 12.0, 0.01, rng)[0]
    texture += _hot_spot(anatomy, lesions, margin_mm, rng)
    bath = _beams_gy(anatomy, isocentre, lesions.cavity_radius_mm + margin_mm, rng)
    course = PRESCRIPTION_GY * conformal * texture + (1 - conformal) * bath
    prescription = PRESCRIPTION_GY + evidence.excess_dose_gy
    total = course * np.float32(prescription / PRESCRIPTION_GY)
    in_head = anatomy.brain_depth_mm > -14
    return Plan((total * in_head).astype(np.float32), ptv, isocentre, round(prescription, 1))


def _hot_spot(anatomy: Anatomy, lesions: Lesions, margin_mm: float, rng: np.random.Generator) -> FloatArray:
    """An inhomogeneity of 3 to 7 % somewhere in the target, as plans have."""
    offset = rng.normal(size=3)
    offset *= rng.uniform(0.0, margin_mm) / np.linalg.norm(offset)
    delta = anatomy.offset_mm(lesions.cavity_centre_mm + offset)
    squared = np.einsum("ixyz,ixyz->xyz", delta, delta)
    spot: FloatArray = np.float32(rng.uniform(0.03, 0.07)) * np.exp(-squared / np.float32(2 * 6.0**2))
    return spot


def _beams_gy(
    anatomy: Anatomy, isocentre_mm: NDArray[np.float64], aperture_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Entrance and exit dose of five to seven coplanar or nearly coplanar beams."""
    count = int(rng.integers(5, 8))
    start = rng.uniform(0, 360)
    delta = anatomy.offset_mm(isocentre_mm)
    total: FloatArray = np.zeros(anatomy.grid.shape, np.float32)
    attenuation = np.float32(ATTENUATION_PER_MM)
    for beam in range(count):
        gantry, couch = np.deg2rad(start + 360 * beam / count), np.deg2rad(rng.uniform(-15, 15))
        lateral = np.cos(couch)
        axis = np.array([np.cos(gantry) * lateral, np.sin(gantry) * lateral, np.sin(couch)], np.float32)
        along = np.einsum("i,ixyz->xyz", axis, delta)
        across = np.sqrt(np.maximum(np.einsum("ixyz,ixyz->xyz", delta, delta) - along**2, 0))
        inside = _sigmoid((np.float32(aperture_mm) - across) / np.float32(PENUMBRA_MM / 2))
        total = (total + inside * np.exp(-attenuation * along)).astype(np.float32)
    blurred = ndimage.gaussian_filter(total * np.float32(BEAM_ENTRANCE_GY / 2.2), 1.0)
    return np.asarray(np.minimum(blurred, 0.8 * PRESCRIPTION_GY), dtype=np.float32)


def _sigmoid(values: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), dtype=np.float32)
