"""Bringing the dose into the post-operative scan's space: by a shared frame of reference, or by the CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ricenet.dicom.images import read_image
from ricenet.dicom.instances import Series
from ricenet.dicom.structures import read_structures
from ricenet.errors import SourceError
from ricenet.importing import planning_ct
from ricenet.importing.dose_gate import CourseDose
from ricenet.importing.planning_registration import register_to_post_op
from ricenet.importing.sources import PatientSource
from ricenet.preprocessing.registration import RigidResult
from ricenet.volume import Affine, Grid, Volume, inverse

LEAST_SLICES = 8
"""Fewer show no head; scouts and single reference slices share a planning CT's frame of reference."""

HIGH_DOSE, LEAST_INSIDE = 0.5, 0.5
"""Of the voxels above this share of the largest dose, this share has to lie within the post-op scan."""


@dataclass(frozen=True)
class PlacedDose:
    """dose: as judged, its affine now in the post-op scan's space (voxels untouched).

    planning_ct: an isotropic copy in that space, for people to check; None where no CT was needed.
    sidecar: the judged one with how the dose was placed (`DosePlacement` and further decisions).
    """

    dose: Volume
    planning_ct: Volume | None
    sidecar: Mapping[str, object]


def place_dose(course: CourseDose, source: PatientSource, post_op: Volume, seed: int) -> PlacedDose:
    """Lay the dose over the post-operative scan.

    post_op: (X, Y, Z) scanner units, as read from source.post_op.
    Raises SourceError: no planning image to go by, several, a failed registration, or a dose far away.
    """
    if course.frame_of_reference_uid == source.post_op.first.frame_of_reference_uid:
        require_over(post_op.grid, course.dose)
        placement: dict[str, object] = {"Method": "shared frame of reference"}
        decision = "The dose shares the post-op scan's frame of reference and is used where it lies."
        return PlacedDose(course.dose, None, _with(course.sidecar, placement, decision))
    ct = read_image(choose_planning_ct(course, source))
    head = planning_ct.head_of(ct)
    registration = register_to_post_op(planning_ct.prepared(ct, head), head, post_op, seed)
    post_op_from_ct = inverse(registration.moving_from_fixed)
    dose = Volume(course.dose.data, Grid(course.dose.grid.shape, post_op_from_ct @ course.dose.grid.affine))
    require_over(post_op.grid, dose)
    decision = "The dose follows its planning CT, which is registered rigidly to the post-op scan."
    return PlacedDose(
        dose,
        planning_ct.copy_for_people(ct, head, post_op_from_ct),
        _with(course.sidecar, _placement(registration, post_op.grid), decision),
    )


def choose_planning_ct(course: CourseDose, source: PatientSource) -> Series:
    """The CT in the dose's frame of reference; that on which its structures were drawn comes first.

    Raises SourceError: none, several between which nothing decides, or too few slices.
    """
    in_frame = [
        s for s in source.planning_cts if s.first.frame_of_reference_uid == course.frame_of_reference_uid
    ]
    if not in_frame:
        of_event = course.frame_of_reference_uid == source.event.first.frame_of_reference_uid
        raise SourceError(
            f"the dose's frame of reference is that of {'the event MRI' if of_event else 'neither MRI'}, "
            "and no planning CT of it is in the export",
            "Add the planning CT on which the dose was calculated.",
        )
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
            "Choose the planning CT in the map (planning_ct).",
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


def _image_series_of(course: CourseDose, source: PatientSource) -> set[str]:
    """SeriesInstanceUIDs of the images on which the plan's structures were drawn."""
    wanted = set(course.structure_set_uids)
    read = (read_structures(one) for one in source.structures if one.sop_instance_uid in wanted)
    return {uid for structures in read for uid in structures.image_series_uids}


def _placement(registration: RigidResult, post_op: Grid) -> dict[str, object]:
    ct_from_post_op = registration.moving_from_fixed
    middle = post_op.world_mm((np.array(post_op.shape) - 1) / 2)
    moved = ct_from_post_op[:3, :3] @ middle + ct_from_post_op[:3, 3]
    return {
        "Method": "rigid registration of the planning CT",
        "Similarity": round(registration.similarity, 4),
        "SimilarityBefore": round(registration.similarity_before, 4),
        "RotationDegrees": round(_rotation_degrees(ct_from_post_op), 2),
        "ShiftMm": round(float(np.linalg.norm(moved - middle)), 2),
    }


def _rotation_degrees(transform: Affine) -> float:
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _with(sidecar: Mapping[str, object], placement: Mapping[str, object], decision: str) -> dict[str, object]:
    decisions = sidecar.get("Decisions", [])
    assert isinstance(decisions, list)
    return {**sidecar, "DosePlacement": dict(placement), "Decisions": [*decisions, decision]}
