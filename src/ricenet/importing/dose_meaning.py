"""What dose values stand for, told by the prescription: shares or Gy, one fraction or the whole course."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ricenet.cohort.scan_checks import (
    LEAST_COURSE_GY,
    LEAST_OF_PRESCRIPTION,
    MOST_COURSE_GY,
    MOST_OF_PRESCRIPTION,
)
from ricenet.importing.dose_objects import IN_THE_MAP
from ricenet.importing.dose_schedule import Schedule
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

Extent = Literal["course", "fraction"]


def in_gy(values: Volume, units: str, stated_gy: float | None) -> tuple[Volume, tuple[str, ...]]:
    """Values in Gy, and what was decided; relative ones are taken as shares of the prescription.

    stated_gy: the prescription by the user's word; a plan's own does not say that the dose refers to it.
    Raises SourceError: relative values without the user's word, or with a maximum that is neither
    near 1 nor near 100.
    Source: DICOM PS3.3 C.8.8.3 (RELATIVE: "dose relative to implicit reference value").
    """
    if units == "GY":
        return values, ()
    if stated_gy is None:
        raise SourceError(
            "an RTDOSE in RELATIVE units, which do not say what the dose is relative to",
            "Export the dose in Gy; or, if it is relative to the prescription, state prescription_gy "
            f"{IN_THE_MAP}.",
        )
    maximum = float(values.data.max())
    for whole, word in ((1.0, "as a fraction"), (100.0, "in percent")):
        if fits(maximum, whole):
            gy = (values.data.astype(np.float64) * (stated_gy / whole)).astype(np.float32)
            note = f"Relative dose (maximum {maximum:.4g}) taken {word} of the stated prescription."
            return Volume(gy, values.grid), (note,)
    least, most = LEAST_OF_PRESCRIPTION, MOST_OF_PRESCRIPTION
    raise SourceError(
        f"an RTDOSE in RELATIVE units with a maximum of {maximum:.4g}, neither a fraction of the "
        f"prescription ({least:g} to {most:g}) nor percent ({100 * least:g} to {100 * most:g})",
        "Export the dose in Gy.",
    )


def extent_of(
    summation_type: str, stated: Extent | None, maximum_gy: float, schedule: Schedule
) -> tuple[Extent, str]:
    """Whether the values are those of one fraction or of all, and who says so.

    Raises SourceError: FRACTION and nothing that tells, or what tells contradicts the usual meaning.
    Source: DICOM PS3.3 C.8.8.3, by which FRACTION is the dose of a whole fraction group; deviation:
    many systems write the dose of one fraction so, and the prescription tells which it is.
    """
    if stated is not None:
        part = "one fraction" if stated == "fraction" else "the whole course"
        decision = f"The dose of summation type {summation_type} is that of {part}, as stated by the user."
        if stated == "fraction":
            decision += f" It is scaled by {_required_fractions(summation_type, schedule)}."
        return stated, decision
    if summation_type != "FRACTION":
        return "course", f"The dose of summation type {summation_type} is that of all fractions."
    fractions, prescription_gy = _required_fractions(summation_type, schedule), schedule.prescription_gy
    if prescription_gy is None:
        raise SourceError(
            "an RTDOSE of summation type FRACTION without a prescription: it may hold the dose of one "
            "fraction or of all",
            f"State dose_of=fraction or dose_of=course {IN_THE_MAP}.",
        )
    if fractions > 1 and fits(maximum_gy, prescription_gy):
        _refuse_course_as_fraction(maximum_gy, fractions, prescription_gy)
    return "fraction", (
        f"The dose of summation type FRACTION is taken as that of one fraction and scaled by {fractions}."
    )


def require_prescribed(maximum_gy: float, extent: Extent, schedule: Schedule, prescription_gy: float) -> str:
    """Compare the largest dose of all fractions with the prescription, and say how they compare.

    Raises SourceError: it lies outside LEAST_ to MOST_OF_PRESCRIPTION.
    """
    fractions = schedule.fractions
    course_gy = _of_all_fractions(maximum_gy, extent, schedule)
    if fits(course_gy, prescription_gy):
        return f"The largest dose of all fractions is {course_gy / prescription_gy:.0%} of the prescription."
    found = (
        f"the dose of all fractions reaches {course_gy:.2f} Gy, {course_gy / prescription_gy:.0%} of the "
        f"prescription of {prescription_gy:g} Gy; {LEAST_OF_PRESCRIPTION:.0%} to "
        f"{MOST_OF_PRESCRIPTION:.0%} is expected"
    )
    if extent == "fraction" and fits(maximum_gy, prescription_gy):
        remedy = f"Unscaled it would fit: if it is the course's dose, state dose_of=course {IN_THE_MAP}."
    elif extent == "course" and fractions and fits(maximum_gy * fractions, prescription_gy):
        remedy = (
            f"Times {fractions} fractions it would fit: if it is one fraction's dose, state "
            f"dose_of=fraction {IN_THE_MAP}."
        )
    else:
        remedy = "Check that the dose and the plan or prescription_gy are of the same course, and whole."
    raise SourceError(found, remedy)


def require_plausible(maximum_gy: float, extent: Extent, schedule: Schedule) -> str:
    """Compare the largest dose of a course without a prescription with what courses reach.

    Raises SourceError: it lies outside LEAST_COURSE_GY to MOST_COURSE_GY.
    """
    course_gy, fractions = _of_all_fractions(maximum_gy, extent, schedule), schedule.fractions
    if _plausible(course_gy):
        return (
            f"Prescription not stated: of the largest dose of all fractions, {course_gy:.1f} Gy, only that "
            f"it lies within {LEAST_COURSE_GY:g} to {MOST_COURSE_GY:g} Gy was checked."
        )
    found = (
        f"the dose of all fractions reaches {course_gy:.2f} Gy, and no prescription is stated; "
        f"{LEAST_COURSE_GY:g} to {MOST_COURSE_GY:g} Gy is expected of a course for a brain tumour"
    )
    if extent == "fraction" and _plausible(maximum_gy):
        remedy = f"Unscaled it would fit: if it is the course's dose, state dose_of=course {IN_THE_MAP}."
    elif extent == "course" and fractions and _plausible(maximum_gy * fractions):
        remedy = (
            f"Times {fractions} fractions it would fit: if it is one fraction's dose, state "
            f"dose_of=fraction {IN_THE_MAP}."
        )
    elif _plausible(course_gy / 100):
        remedy = "If its voxels are cGy, export it in Gy."
    else:
        remedy = (
            "If it is one fraction's dose, state dose_of=fraction and fractions; if it is the whole "
            f"course's, state prescription_gy, {IN_THE_MAP}."
        )
    raise SourceError(found, remedy)


def _plausible(course_gy: float) -> bool:
    return LEAST_COURSE_GY <= course_gy <= MOST_COURSE_GY


def _of_all_fractions(maximum_gy: float, extent: Extent, schedule: Schedule) -> float:
    return maximum_gy * (schedule.fractions or 1) if extent == "fraction" else maximum_gy


def fits(maximum: float, prescription: float) -> bool:
    """Whether a largest dose can be that of a course with this prescription, in the same units."""
    return LEAST_OF_PRESCRIPTION <= maximum / prescription <= MOST_OF_PRESCRIPTION


def _required_fractions(summation_type: str, schedule: Schedule) -> int:
    if schedule.fractions is None:
        raise SourceError(
            f"an RTDOSE of summation type {summation_type} that holds one fraction, of a number that "
            "the plan does not say",
            f"State fractions {IN_THE_MAP}.",
        )
    return schedule.fractions


def _refuse_course_as_fraction(maximum_gy: float, fractions: int, prescription_gy: float) -> None:
    found = (
        f"an RTDOSE of summation type FRACTION reaches {maximum_gy:.2f} Gy, for {prescription_gy:g} Gy in "
        f"{fractions} fractions: "
    )
    if fits(maximum_gy * fractions, prescription_gy):
        raise SourceError(
            f"{found}it may hold the dose of one fraction or of all",
            f"State dose_of=fraction or dose_of=course {IN_THE_MAP}.",
        )
    raise SourceError(
        f"{found}it follows DICOM's definition (the dose of the whole fraction group) and is not one "
        "fraction's, as is usual in practice",
        f"State dose_of=course {IN_THE_MAP}.",
    )
