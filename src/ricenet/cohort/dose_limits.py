"""What the doses of a course can be: judged here alone, for an import, a raw cohort and a new case."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.problems import Finding

Extent = Literal["course", "fraction"]
"""What the voxels of a dose hold: the dose of all fractions, or of one."""

LEAST_OF_PRESCRIPTION, MOST_OF_PRESCRIPTION = 0.6, 1.3
"""Between these the largest dose of a course lies, as a share of what was prescribed: above it by the
hot spots of a plan, below it where the volume is coarse or does not hold the whole target."""

LEAST_COURSE_GY, MOST_COURSE_GY = 20.0, 150.0
"""Between these the largest dose of a course lies that states no prescription. The shortest courses for
glioblastoma prescribe 25 Gy in 5 fractions (Roa et al., J Clin Oncol 33 (2015) 4145-4150); a full course
and a re-irradiation together reach about 115 Gy. One fraction's dose and a dose in cGy lie far outside."""

LARGEST_CGY = 100 * MOST_COURSE_GY
"""Beyond it a value is no dose in cGy either: a stored integer of an RTDOSE, thousands to billions."""

AIR_HU = (-1100.0, -900.0)

LEAST_SHARES = 1.6
"""From this many times the prescription on, it may be a share: one of two beams' is half, hot spots aside."""

_STATE_COURSE = (
    "if it is the whole course's dose, state so (map: dose_of=course; sidecar: DoseSummationType PLAN; "
    "predict: --dose-of course)."
)
_STATE_FRACTION = (
    "if it is one fraction's dose, state so (map: dose_of=fraction; sidecar: DoseSummationType FRACTION; "
    "predict: --dose-of fraction)"
)


_STATE_PRESCRIPTION = (
    "Where the prescription is wrong, state that of the course (map: prescription_gy; sidecar: "
    "PrescriptionGy; predict: --prescription)."
)


def fits(maximum: float, prescription: float) -> bool:
    """Whether a largest dose can be that of a course with this prescription, in the same units."""
    return LEAST_OF_PRESCRIPTION <= maximum / prescription <= MOST_OF_PRESCRIPTION


def is_possible(course_gy: float, prescription_gy: float | None) -> bool:
    """Whether a course can reach this dose; without a prescription, any course for a brain tumour."""
    if prescription_gy is None:
        return LEAST_COURSE_GY <= course_gy <= MOST_COURSE_GY
    return fits(course_gy, prescription_gy)


def no_dose_fault(least: float, largest: float) -> Finding | None:
    """What is wrong with voxels that are no doses in any unit; None where they can be some.

    least, largest: of all voxels, finite. Interpolation leaves some Gy below zero, never more than a course.
    """
    if largest <= LARGEST_CGY and least >= -MOST_COURSE_GY:
        return None
    found = f"values from {least:.10g} to {largest:.10g}, which are no doses"
    if AIR_HU[0] <= least <= AIR_HU[1] and largest <= LARGEST_CGY:
        return Finding(f"{found}: rather a CT in HU", "Put the dose in its place.")
    wrapped = ", and wrapped below zero" if least < 0 else ""
    return Finding(
        f"{found}: unscaled stored integers of the RTDOSE (DoseGridScaling was left out{wrapped})",
        "Make the NIfTI anew with `ricenet import`, or a converter that scales (docs/dose.md): dcm2niix and "
        "SimpleITK do not. Multiplying is no remedy: dcm2niix loses the planes' distance too.",
    )


def negative_fault(dose_gy: NDArray[np.float32]) -> Finding | None:
    """What is wrong with voxels below zero; None where there are none."""
    if not (negative := dose_gy < 0).any():
        return None
    found = f"{negative.sum()} voxel(s) of negative dose, down to {dose_gy[negative].min():g} Gy"
    return Finding(found, "Export the dose again without resampling overshoot or offset.")


def _relative_unit(maximum: float) -> str | None:
    # a plan's largest dose is the prescription or more
    units = {"percent": 100, "shares": 1}
    return next((unit for unit, whole in units.items() if 1 <= maximum / whole <= MOST_OF_PRESCRIPTION), None)


def dose_fault(
    maximum_gy: float, extent: Extent, fractions: int | None, prescription_gy: float | None
) -> Finding | None:
    """What is wrong with the largest dose of a course, and the reading that would fit; None where nothing.

    maximum_gy: of the voxels, which hold the dose of one fraction or of all, as `extent` says.
    """
    factor = (fractions or 1) if extent == "fraction" else 1
    course_gy = maximum_gy * factor
    if is_possible(course_gy, prescription_gy):
        return None
    found = f"the course's dose reaches {course_gy:.1f} Gy ({maximum_gy:.2f} Gy in the file times {factor})"
    if prescription_gy is None:
        found += f"; without a prescription {LEAST_COURSE_GY:g} to {MOST_COURSE_GY:g} Gy is expected"
    else:
        found += (
            f", {course_gy / prescription_gy:.0%} of the prescription of {prescription_gy:g} Gy; "
            f"{LEAST_OF_PRESCRIPTION:.0%} to {MOST_OF_PRESCRIPTION:.0%} is expected"
        )
    if extent == "fraction" and is_possible(maximum_gy, prescription_gy):
        remedy = f"Unscaled it would fit: {_STATE_COURSE}"
    elif extent == "course" and fractions and is_possible(maximum_gy * fractions, prescription_gy):
        remedy = f"Times {fractions} fractions it would fit: {_STATE_FRACTION}."
    elif is_possible(course_gy / 100, prescription_gy):
        remedy = "If its voxels are cGy, export it in Gy."
    elif prescription_gy is not None and (unit := _relative_unit(maximum_gy)):
        remedy = f"If its voxels are {unit} of the prescription, export it in Gy."
    else:
        prescribed = _as_prescribed(course_gy, fractions, prescription_gy)
        remedy = (
            f"{prescribed}Check that dose and prescription are of the same course, and whole: a boost's dose "
            "alone, a dose that is cut off and a course that is missing in the prescription are not."
        )
        if prescription_gy is not None:
            remedy += f" {_STATE_PRESCRIPTION}"
        if not fractions:
            remedy += f" Or {_STATE_FRACTION}, and the number of fractions."
    if prescription_gy is None:
        remedy += " Where the dose is right, state its prescription."
    return Finding(found, remedy)


def _as_prescribed(course_gy: float, fractions: int | None, prescription_gy: float | None) -> str:
    """How a prescription may be meant that the course's largest dose exceeds; empty where nothing fits."""
    if prescription_gy is None or course_gy <= MOST_OF_PRESCRIPTION * prescription_gy:
        if prescription_gy is not None and fits(course_gy, prescription_gy / 100):
            return f"The prescription may be in cGy, for {prescription_gy / 100:g} Gy. "
        return ""
    if fractions and fractions > 1 and fits(course_gy, prescription_gy * fractions):
        return f"The prescription may be that of one of {fractions} fractions. "
    if course_gy >= LEAST_SHARES * prescription_gy:
        return "The prescription may be one beam's or one target's share. "
    return ""
