"""Bringing the dose into the reference MRI's space: by a shared frame of reference, or by the planning CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.placement import HIGH_DOSE, LEAST_INSIDE, distance_from
from ricenet.importing.dicom.images import read_series
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dose import planning_ct
from ricenet.importing.dose.course_dose import CourseDose
from ricenet.importing.sequences import LEAST_SLICES
from ricenet.importing.sources import PatientSource, require_one_person
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.volume import Affine, Grid, Volume, inverse

SAME_PLACE_MM, SAME_PLACE_DEGREES = 3.0, 2.0
"""A shared frame of reference is trusted where the planning CT's head, registered to the MRI, moves by no
more than this. A careless anonymiser gives all studies of a patient one frame of reference."""

SHARED, REGISTERED = "shared frame of reference", "rigid registration of the planning CT"


def place_dose(course: CourseDose, source: PatientSource, mri: Volume, seed: int) -> CourseDose:
    """Lay the dose over the reference MRI; its voxels are untouched, only its affine changes.

    A CT that the map names is followed; else a frame of reference that dose and MRI share is trusted, once
    a CT in it confirms that.
    mri: (X, Y, Z) scanner units, as read from source.dose_reference.
    Raises SourceError: no planning image to go by, several, a failed registration, a frame of reference that
    the CT contradicts, or a dose far away.
    """
    if (
        course.frame_of_reference_uid == source.dose_reference.first.frame_of_reference_uid
        and not source.planning_ct_named
    ):
        return _where_it_lies(course, source, mri, seed)
    found = _registered_ct(course, source, mri, seed)
    mri_from_ct = inverse(found.registration.moving_from_fixed)
    dose = Volume(course.dose.data, Grid(course.dose.grid.shape, mri_from_ct @ course.dose.grid.affine))
    require_over(mri.grid, dose)
    named = " that the map names" if source.planning_ct_named else ""
    middle_mm = mri.grid.world_mm((np.array(mri.grid.shape) - 1) / 2)
    return replace(
        course.decided(
            *found.decisions,
            f"The dose follows the planning CT{named}, which is registered rigidly to the reference MRI.",
        ),
        dose=dose,
        placement=_placement(REGISTERED, found.registration, middle_mm),
        planning_ct=planning_ct.copy_for_people(found.ct, found.head, mri_from_ct),
    )


def choose_planning_ct(course: CourseDose, source: PatientSource) -> Series:
    """The CT in the dose's frame of reference; that on which its structures were drawn comes first.

    Raises SourceError: none, several between which nothing decides, or too few slices.
    """
    in_frame = _in_frame(course, source)
    if not in_frame:
        raise _no_ct(course, source)
    whole = [series for series in in_frame if series.slices >= LEAST_SLICES]
    if not whole:
        raise SourceError(
            f"the planning CT has {max(series.slices for series in in_frame)} slice(s), at least "
            f"{LEAST_SLICES} are expected",
            "Export the whole planning CT.",
        )
    preferred = [series for series in whole if series.uids & course.drawn_on] or whole
    if len(preferred) > 1:
        raise SourceError(
            f"{len(preferred)} CT series in the dose's frame of reference",
            "Choose the planning CT in the map (planning_ct); for predict, leave the others out of the "
            "folder.",
        )
    return preferred[0]


def require_over(mri: Grid, dose: Volume) -> None:
    """Refuse a dose that was given elsewhere than where the MRI looks. dose: in the MRI's space.

    Raises SourceError.
    """
    inside, distance_mm = distance_from(mri, dose)
    if inside < LEAST_INSIDE:
        raise SourceError(
            f"the dose lies {distance_mm:.0f} mm away from the reference MRI ({inside:.0%} of the voxels "
            f"above {HIGH_DOSE:.0%} of the largest dose are within it)",
            "Check that the dose is this patient's and of the brain.",
        )


@dataclass(frozen=True)
class _RegisteredCt:
    """ct: HU, where its headers put it. head: of it, a mask. registration: from the MRI to it.

    decisions: on how the CT was read.
    """

    ct: Volume
    head: Volume
    registration: RigidResult
    decisions: tuple[str, ...]


def _registered_ct(course: CourseDose, source: PatientSource, mri: Volume, seed: int) -> _RegisteredCt:
    series = choose_planning_ct(course, source)
    require_one_person([*source.dose_reference.instances, *series.instances])
    read = read_series(series, varying=True)
    head = planning_ct.head_of(read.volume)
    prepared = planning_ct.prepared(read.volume, head)
    registration = planning_ct.register_to_mri(prepared, head, mri, seed)
    return _RegisteredCt(
        read.volume, head, registration, tuple(f"Planning CT: {text}" for text in read.decisions)
    )


def _where_it_lies(course: CourseDose, source: PatientSource, mri: Volume, seed: int) -> CourseDose:
    """The dose as it is, since it shares the MRI's frame of reference; a CT in that frame has to agree."""
    decision = "The dose shares the reference MRI's frame of reference and is used where it lies."
    placement: dict[str, object] = {"Method": SHARED}
    if any(series.slices >= LEAST_SLICES for series in _in_frame(course, source)):
        placement, decided = _confirmed_by_ct(course, source, mri, seed)
        course = course.decided(*decided)
        decision += (
            f" Registered, the planning CT moves by {placement['ShiftMm']} mm and "
            f"{placement['RotationDegrees']} degrees."
        )
    elif _is_frame_of(course, source.other_sessions):
        decision += (
            " An MRI of another examination states the same frame of reference, as careless anonymisers "
            "write it, and no planning CT can confirm it: look at the dose over the MRI."
        )
    require_over(mri.grid, course.dose)
    return replace(course.decided(decision), placement=placement)


def _confirmed_by_ct(
    course: CourseDose, source: PatientSource, mri: Volume, seed: int
) -> tuple[dict[str, object], tuple[str, ...]]:
    """How far the planning CT's head lies from the MRI's, in a frame of reference that both state.

    Also what was decided in reading the CT.

    Raises SourceError: too far, or the registration fails.
    """
    remedy = (
        "To let the dose follow the CT, choose it in the map as planning_ct (for predict: ricenet import "
        "dicom, then predict-cohort). If the frame of reference is right, leave the CT out of the export."
    )
    try:
        found = _registered_ct(course, source, mri, seed)
    except SourceError as error:
        raise SourceError(
            "dose, reference MRI and a CT state one frame of reference, which the CT cannot confirm: "
            f"{error.found}",
            f"{error.remedy} {remedy}",
        ) from None
    middle_mm = found.head.grid.world_mm(np.argwhere(found.head.data).mean(axis=0))
    shift_mm, degrees = _displacement(found.registration.moving_from_fixed, middle_mm)
    if shift_mm > SAME_PLACE_MM or degrees > SAME_PLACE_DEGREES:
        raise SourceError(
            "dose, reference MRI and planning CT state one frame of reference, but registered, the CT's head "
            f"moves by {shift_mm:.1f} mm and {degrees:.1f} degrees; at most {SAME_PLACE_MM:g} mm and "
            f"{SAME_PLACE_DEGREES:g} degrees are expected",
            remedy,
        )
    return _placement(SHARED, found.registration, middle_mm), found.decisions


def _in_frame(course: CourseDose, source: PatientSource) -> list[Series]:
    """The CTs in the dose's frame of reference."""
    return [series for series in source.planning_cts if _is_frame_of(course, [series])]


def _is_frame_of(course: CourseDose, series: Sequence[Series]) -> bool:
    return any(one.first.frame_of_reference_uid == course.frame_of_reference_uid for one in series)


def _no_ct(course: CourseDose, source: PatientSource) -> SourceError:
    if source.planning_ct_named:
        return SourceError(
            "the CT that the map names as planning_ct lies in another frame of reference than the dose",
            "Choose the CT on which the dose was calculated, or none.",
        )
    whose = "an MRI of another session" if _is_frame_of(course, source.other_sessions) else "no chosen MRI"
    return SourceError(
        f"the dose's frame of reference is that of {whose}, and no planning CT of it is in the export",
        "Add the planning CT on which the dose was calculated.",
    )


def _placement(method: str, registration: RigidResult, at_mm: NDArray[np.float64]) -> dict[str, object]:
    """at_mm: where the shift is measured, in the MRI's space."""
    shift_mm, degrees = _displacement(registration.moving_from_fixed, at_mm)
    return {
        "Method": method,
        "Similarity": round(registration.similarity, 4),
        "SimilarityBefore": round(registration.similarity_before, 4),
        "RotationDegrees": round(degrees, 2),
        "ShiftMm": round(shift_mm, 2),
    }


def _displacement(transform: Affine, at_mm: NDArray[np.float64]) -> tuple[float, float]:
    """By how many mm a transform moves a point, and by how many degrees it turns."""
    moved = transform[:3, :3] @ at_mm + transform[:3, 3]
    return float(np.linalg.norm(moved - at_mm)), planning_ct.turned_degrees(transform)
