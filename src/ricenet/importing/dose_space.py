"""Bringing the dose into the post-operative scan's space: by a shared frame of reference, or by the CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.importing import planning_ct
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.plan import read_structures
from ricenet.importing.dose_gate import CourseDose
from ricenet.importing.planning_registration import register_to_post_op
from ricenet.importing.sources import PatientSource, require_one_person
from ricenet.preprocessing.registration.ants import RigidResult
from ricenet.runtime.errors import SourceError
from ricenet.volume import Affine, Grid, Volume, inverse

LEAST_SLICES = 8
"""Fewer show no head; scouts and single reference slices share a planning CT's frame of reference."""

HIGH_DOSE, LEAST_INSIDE = 0.5, 0.5
"""Of the voxels above this share of the largest dose, this share has to lie within the post-op scan."""

SAME_PLACE_MM, SAME_PLACE_DEGREES = 3.0, 2.0
"""A shared frame of reference is trusted where the planning CT's head, registered to the post-op scan, moves
by no more than this. A careless anonymiser gives all studies of a patient one frame of reference."""

SHARED, REGISTERED = "shared frame of reference", "rigid registration of the planning CT"


@dataclass(frozen=True)
class PlacedDose:
    """dose: as judged, its affine now in the post-op scan's space (voxels untouched).

    planning_ct: an isotropic copy in that space, for people to check; None where no CT was followed.
    sidecar: the judged one with how the dose was placed (`DosePlacement` and further decisions).
    """

    dose: Volume
    planning_ct: Volume | None
    sidecar: Mapping[str, object]


def place_dose(course: CourseDose, source: PatientSource, post_op: Volume, seed: int) -> PlacedDose:
    """Lay the dose over the post-operative scan.

    A CT that the map names is followed; else a frame of reference that dose and scan share is trusted, once
    a CT in it confirms that.
    post_op: (X, Y, Z) scanner units, as read from source.post_op.
    Raises SourceError: no planning image to go by, several, a failed registration, a frame of reference that
    the CT contradicts, or a dose far away.
    """
    shared = course.frame_of_reference_uid == source.post_op.first.frame_of_reference_uid
    if shared and not source.planning_ct_named:
        return _where_it_lies(course, source, post_op, seed)
    found = _registered_ct(course, source, post_op, seed)
    dose = Volume(
        course.dose.data, Grid(course.dose.grid.shape, found.post_op_from_ct @ course.dose.grid.affine)
    )
    require_over(post_op.grid, dose)
    named = " that the map names" if source.planning_ct_named else ""
    decision = f"The dose follows the planning CT{named}, which is registered rigidly to the post-op scan."
    copy = planning_ct.copy_for_people(found.ct, found.head, found.post_op_from_ct)
    placement = _placement(REGISTERED, found.registration, _middle_mm(post_op.grid))
    return PlacedDose(dose, copy, _with(course.sidecar, placement, decision))


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
    drawn_on = _image_series_of(course, source)
    preferred = [series for series in whole if series.uid in drawn_on] or whole
    if len(preferred) > 1:
        raise SourceError(
            f"{len(preferred)} CT series in the dose's frame of reference",
            "Choose the planning CT in the map (planning_ct); for predict, leave the others out of the "
            "folder.",
        )
    return preferred[0]


def require_over(scan: Grid, dose: Volume) -> None:
    """Refuse a dose that was given elsewhere than where the scan looks. dose: in the scan's space.

    Raises SourceError.
    """
    high = np.argwhere(dose.data >= HIGH_DOSE * dose.data.max()).astype(np.float64)
    to_voxel = inverse(scan.affine)
    voxels = dose.grid.world_mm(high) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    nearest = np.clip(voxels, -0.5, np.array(scan.shape) - 0.5)
    distances_mm = np.linalg.norm((voxels - nearest) * scan.spacing_mm, axis=1)
    inside = float((distances_mm == 0).mean())
    if inside < LEAST_INSIDE:
        raise SourceError(
            f"the dose lies {np.median(distances_mm):.0f} mm away from the post-op scan ({inside:.0%} of the "
            f"voxels above {HIGH_DOSE:.0%} of the largest dose are within it)",
            "Check that the dose is this patient's and of the brain.",
        )


@dataclass(frozen=True)
class _RegisteredCt:
    """ct: HU, where its headers put it. head: of it, a mask. registration: from the post-op scan to it."""

    ct: Volume
    head: Volume
    registration: RigidResult

    @property
    def post_op_from_ct(self) -> Affine:
        return inverse(self.registration.moving_from_fixed)


def _registered_ct(course: CourseDose, source: PatientSource, post_op: Volume, seed: int) -> _RegisteredCt:
    series = choose_planning_ct(course, source)
    require_one_person([*source.post_op.instances, *series.instances])
    ct = read_image(series)
    head = planning_ct.head_of(ct)
    return _RegisteredCt(ct, head, register_to_post_op(planning_ct.prepared(ct, head), head, post_op, seed))


def _where_it_lies(course: CourseDose, source: PatientSource, post_op: Volume, seed: int) -> PlacedDose:
    """The dose as it is, since it shares the scan's frame of reference; a CT in that frame has to agree."""
    decision = "The dose shares the post-op scan's frame of reference and is used where it lies."
    placement: dict[str, object] = {"Method": SHARED}
    if any(series.slices >= LEAST_SLICES for series in _in_frame(course, source)):
        placement = _confirmed_by_ct(course, source, post_op, seed)
        decision += (
            f" Registered, the planning CT moves by {placement['ShiftMm']} mm and "
            f"{placement['RotationDegrees']} degrees."
        )
    elif course.frame_of_reference_uid == source.event.first.frame_of_reference_uid:
        decision += (
            " The event's MRI, of another examination, states the same frame of reference, as careless "
            "anonymisers write it, and no planning CT can tell: look at the dose over the scan."
        )
    require_over(post_op.grid, course.dose)
    return PlacedDose(course.dose, None, _with(course.sidecar, placement, decision))


def _confirmed_by_ct(
    course: CourseDose, source: PatientSource, post_op: Volume, seed: int
) -> dict[str, object]:
    """How far the planning CT's head lies from the scan's, in a frame of reference that both state.

    Raises SourceError: too far, or the registration fails.
    """
    remedy = (
        "To let the dose follow the CT, choose it in the map as planning_ct (for predict: ricenet import "
        "dicom, then predict-cohort). If the frame of reference is right, leave the CT out of the export."
    )
    try:
        found = _registered_ct(course, source, post_op, seed)
    except SourceError as error:
        raise SourceError(
            "dose, post-op scan and a CT state one frame of reference, which the CT cannot confirm: "
            f"{error.found}",
            f"{error.remedy} {remedy}",
        ) from None
    middle_mm = found.head.grid.world_mm(np.argwhere(found.head.data).mean(axis=0))
    placement = _placement(SHARED, found.registration, middle_mm)
    shift_mm, degrees = _displacement(found.registration.moving_from_fixed, middle_mm)
    if shift_mm > SAME_PLACE_MM or degrees > SAME_PLACE_DEGREES:
        raise SourceError(
            "dose, post-op scan and planning CT state one frame of reference, but registered, the CT's head "
            f"moves by {shift_mm:.1f} mm and {degrees:.1f} degrees; at most {SAME_PLACE_MM:g} mm and "
            f"{SAME_PLACE_DEGREES:g} degrees are expected",
            remedy,
        )
    return placement


def _in_frame(course: CourseDose, source: PatientSource) -> list[Series]:
    """The CTs in the dose's frame of reference."""
    frame = course.frame_of_reference_uid
    return [series for series in source.planning_cts if series.first.frame_of_reference_uid == frame]


def _no_ct(course: CourseDose, source: PatientSource) -> SourceError:
    if source.planning_ct_named:
        return SourceError(
            "the CT that the map names as planning_ct lies in another frame of reference than the dose",
            "Choose the CT on which the dose was calculated, or none.",
        )
    of_event = course.frame_of_reference_uid == source.event.first.frame_of_reference_uid
    return SourceError(
        f"the dose's frame of reference is that of {'the event MRI' if of_event else 'neither MRI'}, "
        "and no planning CT of it is in the export",
        "Add the planning CT on which the dose was calculated.",
    )


def _image_series_of(course: CourseDose, source: PatientSource) -> set[str]:
    """SeriesInstanceUIDs of the images on which the plan's structures were drawn."""
    wanted = set(course.structure_set_uids)
    read = (read_structures(one) for one in source.structures if one.sop_instance_uid in wanted)
    return {uid for structures in read for uid in structures.image_series_uids}


def _placement(method: str, registration: RigidResult, at_mm: NDArray[np.float64]) -> dict[str, object]:
    """at_mm: where the shift is measured, in the post-op scan's space."""
    shift_mm, degrees = _displacement(registration.moving_from_fixed, at_mm)
    return {
        "Method": method,
        "Similarity": round(registration.similarity, 4),
        "SimilarityBefore": round(registration.similarity_before, 4),
        "RotationDegrees": round(degrees, 2),
        "ShiftMm": round(shift_mm, 2),
    }


def _middle_mm(grid: Grid) -> NDArray[np.float64]:
    return grid.world_mm((np.array(grid.shape) - 1) / 2)


def _displacement(transform: Affine, at_mm: NDArray[np.float64]) -> tuple[float, float]:
    """By how many mm a transform moves a point, and by how many degrees it turns."""
    moved = transform[:3, :3] @ at_mm + transform[:3, 3]
    return float(np.linalg.norm(moved - at_mm)), _rotation_degrees(transform)


def _rotation_degrees(transform: Affine) -> float:
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _with(sidecar: Mapping[str, object], placement: Mapping[str, object], decision: str) -> dict[str, object]:
    decisions = sidecar.get("Decisions", [])
    assert isinstance(decisions, list)
    return {**sidecar, "DosePlacement": dict(placement), "Decisions": [*decisions, decision]}
