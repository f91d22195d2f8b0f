"""A patient's two studies as DICOM: planning (MRI, CT, structures, plan, dose) and event (MRI)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ricenet.phantom.acquisition import (
    ORIENTATIONS,
    T2,
    UNENHANCED,
    Placement,
    event_signal,
    mix_tissues,
    overlay,
    post_op_signal,
    scan,
)
from ricenet.phantom.anatomy import FloatArray, head_bounds_mm
from ricenet.phantom.computed_tomography import axial_grid_around_head, make_planning_ct
from ricenet.phantom.dicom.images import (
    CT_IMAGE,
    MR_IMAGE,
    write_enhanced_mr,
    write_image_series,
    write_secondary_capture,
)
from ricenet.phantom.dicom.objects import StudyTags, uid
from ricenet.phantom.dicom.patient import DicomPatient
from ricenet.phantom.dicom.radiotherapy import write_rtdose, write_rtplan, write_rtstruct
from ricenet.phantom.phantom_subject import SyntheticSubject
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Affine, Grid, Volume, inverse, resample

Visit = Literal["post_op", "event"]
ROIS = ("PTV", "GTV_T1C", "Brainstem", "External")
CONTRAST_AGENT = "Gadobutrol"


@dataclass(frozen=True)
class _PlanningSpace:
    """The images that a course was planned on."""

    world_from_anatomy: Affine
    frame_uid: str
    series_uid: str
    slices: int
    image_class_uid: str


def write_planning_study(
    folder: Path, patient: DicomPatient, subject: SyntheticSubject, seed: int
) -> dict[str, object]:
    """Write the post-operative MRIs and the radiotherapy objects; returns what is true of the dose.

    The dose lies in the frame of reference of the planning CT, or where the patient has none, in that
    of the post-operative T1ce. Transforms are RAS, mm.
    """
    _write_contrast_t1(folder, patient, subject, "post_op")
    _write_native_t1(folder, patient, subject, "post_op", seed)
    _write_localiser(folder, patient, subject, seed)
    _write_capture(folder, patient, subject.post_op)
    space = _planning_space(folder, patient, subject, seed)
    _write_structures(folder, patient, space)
    _write_plan(folder, patient, subject.plan.prescription_gy, space)
    dose_max_gy = _write_dose(folder, patient, subject, space)
    to_post_op = subject.at_post_op.world_from_anatomy @ inverse(space.world_from_anatomy)
    return {
        "post_op_world_from_ct_world": None if patient.shared_frame else to_post_op.tolist(),
        "shared_frame_of_reference": patient.shared_frame,
        "dose_max_gy": dose_max_gy,
        "dose_summation_type": "FRACTION" if patient.single_fraction else "PLAN",
        "number_of_fractions": patient.fractions,
        "prescription_gy": subject.plan.prescription_gy,
    }


def write_event_study(folder: Path, patient: DicomPatient, subject: SyntheticSubject, seed: int) -> None:
    """Write the event's MRIs: T1ce, and T1 without contrast agent."""
    _write_contrast_t1(folder, patient, subject, "event")
    _write_native_t1(folder, patient, subject, "event", seed)


def _study(patient: DicomPatient, visit: Visit) -> StudyTags:
    date = patient.timeline.imaging if visit == "post_op" else patient.timeline.event
    description = "Radiotherapy planning" if visit == "post_op" else "Brain follow-up"
    return StudyTags(patient.tags, patient.uid(f"{visit}-study"), date, description)


def _place(folder: Path, study: StudyTags, of_uid: str) -> Path:
    """A folder that says nothing about its content, as an archive's export has them."""
    names = (uid("folder", part)[-8:] for part in (study.patient.patient_id, study.study_uid, of_uid))
    return folder.joinpath(*names)


def _write_contrast_t1(folder: Path, patient: DicomPatient, subject: SyntheticSubject, visit: Visit) -> None:
    study, series_uid = _study(patient, visit), patient.uid(f"{visit}-t1ce")
    place, frame_uid = _place(folder, study, series_uid), patient.uid(f"{visit}-frame")
    if visit == "event" and patient.multi_frame:
        write_enhanced_mr(
            subject.event, place / "IM0001.dcm", study, series_uid=series_uid, series_number=13,
            frame_of_reference_uid=frame_uid, description="t1_mprage_KM", contrast_agent=CONTRAST_AGENT,
        )  # fmt: skip
        return
    write_image_series(
        subject.post_op if visit == "post_op" else subject.event, place, study, modality="MR",
        series_uid=series_uid, frame_of_reference_uid=frame_uid, series_number=13,
        description="t1_mprage_KM", contrast_agent=CONTRAST_AGENT,
    )  # fmt: skip


def _write_native_t1(
    folder: Path, patient: DicomPatient, subject: SyntheticSubject, visit: Visit, seed: int
) -> None:
    """T1 before contrast agent, in the same session: slices three times as thick, nothing enhances."""
    study, series_uid = _study(patient, visit), patient.uid(f"{visit}-t1")
    if visit == "post_op":
        placement, signal = subject.at_post_op, post_op_signal(subject.anatomy, subject.lesions, UNENHANCED)
    else:
        core = subject.cause.evidence.core_enhancement
        placement = subject.at_event
        signal = event_signal(subject.anatomy, subject.lesions, core, UNENHANCED)
    thick = Placement(placement.world_from_anatomy, _thicker(placement.grid, 3))
    write_image_series(
        _scan(signal, subject, thick, seed, f"native-{visit}"), _place(folder, study, series_uid), study,
        modality="MR", series_uid=series_uid, frame_of_reference_uid=patient.uid(f"{visit}-frame"),
        series_number=12, description="t1_se_tra",
    )  # fmt: skip


def _write_localiser(folder: Path, patient: DicomPatient, subject: SyntheticSubject, seed: int) -> None:
    """Five T2 slices 25 mm apart."""
    study, series_uid = _study(patient, "post_op"), patient.uid("localiser")
    signal = overlay(mix_tissues(subject.anatomy, T2), subject.lesions.cavity, T2.fluid)
    corners = head_bounds_mm(subject.anatomy)
    world_from_anatomy = subject.at_post_op.world_from_anatomy
    centre = world_from_anatomy[:3, :3] @ corners.mean(axis=0) + world_from_anatomy[:3, 3]
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS["sagittal"] * np.array([4.0, 4.0, 25.0])
    shape = (64, 64, 5)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    placement = Placement(world_from_anatomy, Grid(shape, affine))
    write_image_series(
        _scan(signal, subject, placement, seed, "localiser"), _place(folder, study, series_uid), study,
        modality="MR", series_uid=series_uid, frame_of_reference_uid=patient.uid("post_op-frame"),
        series_number=11, description="t2_localizer",
    )  # fmt: skip


def _write_capture(folder: Path, patient: DicomPatient, post_op: Volume) -> None:
    """A coloured screenshot of the middle slice, which claims to be MR as screenshots do."""
    study, series_uid = _study(patient, "post_op"), patient.uid("capture")
    slice_ = post_op.data[:, :, post_op.grid.shape[2] // 2].T.astype(np.float64)
    grey = np.rint(255 * slice_ / max(float(slice_.max()), 1.0)).astype(np.uint8)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    rgb[2:5, 2:-2] = (255, 160, 0)
    path = _place(folder, study, series_uid) / "IM0001.dcm"
    write_secondary_capture(rgb, path, study, series_uid=series_uid, description="Screenshot")


def _planning_space(
    folder: Path, patient: DicomPatient, subject: SyntheticSubject, seed: int
) -> _PlanningSpace:
    """That of the planning CT, which is written here, or of the post-operative T1ce."""
    if patient.shared_frame:
        slices = subject.post_op.grid.shape[2]
        world_from_anatomy = subject.at_post_op.world_from_anatomy
        frame_uid, series_uid = patient.uid("post_op-frame"), patient.uid("post_op-t1ce")
        return _PlanningSpace(world_from_anatomy, frame_uid, series_uid, slices, MR_IMAGE)
    rng = generator_for("phantom", seed, patient.cause.subject, "planning-ct")
    ct = make_planning_ct(subject.anatomy, subject.lesions, subject.anatomy.grid.spacing_mm[0], rng)
    study, series_uid, frame_uid = _study(patient, "post_op"), patient.uid("ct"), patient.uid("ct-frame")
    write_image_series(
        ct.image, _place(folder, study, series_uid), study, modality="CT", series_uid=series_uid,
        frame_of_reference_uid=frame_uid, series_number=1, description="Head planning", intercept=-1024.0,
    )  # fmt: skip
    return _PlanningSpace(ct.world_from_anatomy, frame_uid, series_uid, ct.image.grid.shape[2], CT_IMAGE)


def _write_structures(folder: Path, patient: DicomPatient, space: _PlanningSpace) -> None:
    study, struct_uid = _study(patient, "post_op"), patient.uid("struct")
    write_rtstruct(
        _place(folder, study, struct_uid) / "IM0001.dcm", study, sop_instance_uid=struct_uid,
        frame_of_reference_uid=space.frame_uid, image_series_uid=space.series_uid,
        image_study_uid=study.study_uid,
        image_sop_instance_uids=[uid(space.series_uid, k) for k in range(space.slices)],
        rois=ROIS, image_sop_class_uid=space.image_class_uid,
    )  # fmt: skip


def _write_plan(folder: Path, patient: DicomPatient, prescription_gy: float, space: _PlanningSpace) -> None:
    study, plan_uid = _study(patient, "post_op"), patient.uid("plan")
    write_rtplan(
        _place(folder, study, plan_uid) / "IM0001.dcm", study, sop_instance_uid=plan_uid,
        frame_of_reference_uid=space.frame_uid, fractions=patient.fractions,
        prescription_gy=prescription_gy, beams=(1, 2, 3, 4, 5), setup_beams=(6, 7),
        structure_set_uid=patient.uid("struct"), date=patient.timeline.rt_start,
    )  # fmt: skip


def _write_dose(
    folder: Path, patient: DicomPatient, subject: SyntheticSubject, space: _PlanningSpace
) -> float:
    """Returns the maximum of the whole course's dose on its grid, Gy."""
    study, dose_uid = _study(patient, "post_op"), patient.uid("dose")
    anatomy, world_from_anatomy = subject.anatomy, space.world_from_anatomy
    grid = axial_grid_around_head(anatomy, world_from_anatomy, 1.25 * anatomy.grid.spacing_mm[0])
    course = resample(Volume(subject.plan.dose_gy, anatomy.grid), grid, inverse(world_from_anatomy))
    divisor = np.float32(patient.fractions if patient.single_fraction else 1)
    write_rtdose(
        Volume((course.data / divisor).astype(np.float32), grid),
        _place(folder, study, dose_uid) / "IM0001.dcm", study, sop_instance_uid=dose_uid,
        frame_of_reference_uid=space.frame_uid, plan_uid=patient.uid("plan"),
        summation_type="FRACTION" if patient.single_fraction else "PLAN",
    )  # fmt: skip
    return float(course.data.max())


def _scan(
    signal: FloatArray, subject: SyntheticSubject, placement: Placement, seed: int, part: str
) -> Volume:
    return scan(
        signal, subject.anatomy, placement, generator_for("phantom", seed, subject.cause.subject, part)
    )


def _thicker(grid: Grid, factor: int) -> Grid:
    """The grid whose slices each cover `factor` of the given one's."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (factor - 1) / 2
    affine[:3, 2] *= factor
    return Grid((grid.shape[0], grid.shape[1], grid.shape[2] // factor), affine)
