"""Radiotherapy: cumulative dose in Gy from a conformal plan, its beams and a hot spot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ricenet.phantom.anatomy import Anatomy, FloatArray, Point, smooth_field
from ricenet.phantom.courses import Course
from ricenet.phantom.lesions import Lesions
from ricenet.phantom.mechanism import FIRST_COURSE_GY, Evidence

PRESCRIPTION_GY = FIRST_COURSE_GY

PENUMBRA_MM = 5.0
BEAM_ENTRANCE_GY = 22.0
ATTENUATION_PER_MM = 0.005
"""Roughly that of 6 MV photons in water."""

BOOST_MARGIN_MM, SECOND_MARGIN_MM = 4.0, 8.0
"""Around the cavity: what a simultaneous boost and a second course aim at."""

HOTTEST, HOTTEST_WITH_BOOST = (1.075, 1.10), (1.115, 1.145)
"""A course's largest dose, as a share of what is prescribed to its target (ICRU reports 50 and 83)."""


@dataclass(frozen=True)
class Plan:
    """Dose (X, Y, Z) in Gy on the anatomy's grid, cumulative over all courses."""

    dose_gy: FloatArray
    ptv: NDArray[np.bool_]
    """The planning target volume: the causal region of the dose map."""
    isocentre_mm: Point
    prescription_gy: float


def make_plan(anatomy: Anatomy, lesions: Lesions, evidence: Evidence, rng: np.random.Generator) -> Plan:
    """Irradiate as the evidence says: by courses that exist, or by one whose height is escalated."""
    if evidence.escalated:
        return _escalated_plan(anatomy, lesions, evidence, rng)
    margin_mm = evidence.margin_mm
    texture = smooth_field(anatomy.grid, 1, 12.0, 0.01, rng)[0] + _hot_spot(anatomy, lesions, 8.0, rng)
    total = np.zeros(anatomy.grid.shape, np.float32)
    # a second course aims at what is left of the first one's target
    for course, margin in zip(evidence.courses, (margin_mm, SECOND_MARGIN_MM), strict=False):
        total += _course_gy(anatomy, lesions, course, margin, texture, rng)
    ptv = _target_distance_mm(anatomy, lesions, margin_mm) < 0
    in_head = anatomy.brain_depth_mm > -14
    return Plan(total * in_head, ptv, _middle_mm(anatomy, ptv), round(evidence.prescription_gy, 1))


def _course_gy(
    anatomy: Anatomy,
    lesions: Lesions,
    course: Course,
    margin_mm: float,
    texture: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Dose of one course; its maximum is drawn, since a plan's hot spots are limited when it is made."""
    distance = _target_distance_mm(anatomy, lesions, margin_mm)
    target = distance < 0
    boost = 0.0 if course.boost_gy is None else course.boost_gy / course.prescription_gy - 1
    hottest = rng.uniform(*(HOTTEST if course.boost_gy is None else HOTTEST_WITH_BOOST))
    boosted = 1 + np.float32(boost) * _sigmoid((BOOST_MARGIN_MM - lesions.cavity_distance_mm) / np.float32(2))
    conformal = _sigmoid(-distance / np.float32(PENUMBRA_MM / 2))
    uneven = texture * np.float32((hottest / (1 + boost) - 1) / float((texture * conformal).max()))
    aperture_mm = lesions.cavity_radius_mm + margin_mm
    bath = _beams_gy(anatomy, _middle_mm(anatomy, target), aperture_mm, rng) / np.float32(PRESCRIPTION_GY)
    relative = conformal * boosted * (1 + uneven) + (1 - conformal) * bath
    return np.asarray(np.float32(course.prescription_gy) * relative, np.float32)


def _target_distance_mm(anatomy: Anatomy, lesions: Lesions, margin_mm: float) -> FloatArray:
    """Signed distance to the target's edge: cavity and margin, wider to the side of its shift."""
    outside = lesions.cavity_distance_mm - np.float32(margin_mm)
    if lesions.target_shift_mm.any():
        centre = lesions.cavity_centre_mm
        length = np.maximum(np.sqrt(anatomy.squared_distance_mm2(centre)), 1)
        outside -= anatomy.along_mm(centre, lesions.target_shift_mm.astype(np.float32)) / length
    distance: FloatArray = np.maximum(outside, -anatomy.brain_depth_mm - 2)
    return distance


def _middle_mm(anatomy: Anatomy, target: NDArray[np.bool_]) -> Point:
    return np.array(anatomy.grid.world_mm(np.argwhere(target).mean(axis=0)))


def _escalated_plan(anatomy: Anatomy, lesions: Lesions, evidence: Evidence, rng: np.random.Generator) -> Plan:
    """Irradiate the cavity with a margin of 14 to 16 mm; the evidence scales the whole course.

    The margin, the beams and the place and height of the hot spot are independent of the label.
    """
    margin_mm = float(rng.uniform(14.0, 16.0))
    target_distance = np.maximum(
        lesions.cavity_distance_mm - np.float32(margin_mm), -anatomy.brain_depth_mm - 2
    )
    ptv = target_distance < 0
    isocentre = _middle_mm(anatomy, ptv)
    conformal = _sigmoid(-target_distance / np.float32(PENUMBRA_MM / 2))
    texture = 1 + smooth_field(anatomy.grid, 1, 12.0, 0.01, rng)[0]
    texture += _hot_spot(anatomy, lesions, margin_mm, rng)
    bath = _beams_gy(anatomy, isocentre, lesions.cavity_radius_mm + margin_mm, rng)
    course = PRESCRIPTION_GY * conformal * texture + (1 - conformal) * bath
    prescription = evidence.prescription_gy
    total = course * np.float32(prescription / PRESCRIPTION_GY)
    in_head = anatomy.brain_depth_mm > -14
    return Plan((total * in_head).astype(np.float32), ptv, isocentre, round(prescription, 1))


def _hot_spot(anatomy: Anatomy, lesions: Lesions, margin_mm: float, rng: np.random.Generator) -> FloatArray:
    """An inhomogeneity of 3 to 7 % somewhere in the target, as plans have."""
    offset = rng.normal(size=3)
    offset *= rng.uniform(0.0, margin_mm) / np.linalg.norm(offset)
    squared = anatomy.squared_distance_mm2(lesions.cavity_centre_mm + offset)
    spot: FloatArray = np.float32(rng.uniform(0.03, 0.07)) * np.exp(-squared / np.float32(2 * 6.0**2))
    return spot


def _beams_gy(
    anatomy: Anatomy, isocentre_mm: NDArray[np.float64], aperture_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Entrance and exit dose of five to seven coplanar or nearly coplanar beams."""
    count = int(rng.integers(5, 8))
    start = rng.uniform(0, 360)
    squared = anatomy.squared_distance_mm2(isocentre_mm)
    total: FloatArray = np.zeros(anatomy.grid.shape, np.float32)
    attenuation = np.float32(ATTENUATION_PER_MM)
    for beam in range(count):
        gantry, couch = np.deg2rad(start + 360 * beam / count), np.deg2rad(rng.uniform(-15, 15))
        lateral = np.cos(couch)
        axis = np.array([np.cos(gantry) * lateral, np.sin(gantry) * lateral, np.sin(couch)], np.float32)
        along = anatomy.along_mm(isocentre_mm, axis)
        across = np.sqrt(np.maximum(squared - along**2, 0))
        inside = _sigmoid((np.float32(aperture_mm) - across) / np.float32(PENUMBRA_MM / 2))
        total = (total + inside * np.exp(-attenuation * along)).astype(np.float32)
    blurred = ndimage.gaussian_filter(total * np.float32(BEAM_ENTRANCE_GY / 2.2), 1.0)
    return np.asarray(np.minimum(blurred, 0.8 * PRESCRIPTION_GY), dtype=np.float32)


def _sigmoid(values: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), dtype=np.float32)
