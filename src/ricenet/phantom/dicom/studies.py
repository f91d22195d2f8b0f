"""A patient's two studies as DICOM: planning (MRI, CT, structures, plan, dose) and event (MRI)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ricenet.phantom.acquisition import ORIENTATIONS, Placement
from ricenet.phantom.anatomy import head_bounds_mm
from ricenet.phantom.computed_tomography import axial_grid_around_head, make_planning_ct
from ricenet.phantom.contrasts import ADC, FLAIR, T1, T1CE, T2, Contrast, contrast_of
from ricenet.phantom.dicom.image_writers import (
    CT_IMAGE,
    MR_IMAGE,
    write_enhanced_mr,
    write_image_series,
    write_secondary_capture,
)
from ricenet.phantom.dicom.objects import Header, StudyTags, uid
from ricenet.phantom.dicom.patient import DicomPatient
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan, write_rtstruct
from ricenet.phantom.phantom_subject import AFTER_SURGERY, SyntheticSubject, moved
from ricenet.vocabulary import Volumes, VolumeSpec
from ricenet.volume import Affine, Grid, Volume, inverse, resample

ROIS = ("PTV", "GTV_T1C", "Brainstem", "External")
CONTRAST_AGENT = "Gadobutrol"

_DESCRIPTIONS = {T1CE: "t1_mprage_KM", T1: "t1_tse", FLAIR: "t2_flair_tra", ADC: "ep2d_diff_ADC"}
_ACQUIRED: Mapping[Contrast, Mapping[str, object]] = {
    FLAIR: {
        "ScanningSequence": ["SE", "IR"], "RepetitionTime": "9000", "EchoTime": "120", "FlipAngle": "150",
    },
    ADC: {
        "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "ScanningSequence": "EP",
        "RepetitionTime": "6000", "EchoTime": "80", "FlipAngle": "90",
    },
}  # fmt: skip
"""What differs from an MPRAGE."""


@dataclass(frozen=True)
class _PlanningSpace:
    """The images that a course was planned on, and where the head lay in them."""

    world_from_anatomy: Affine
    images: Header
    slices: int
    image_class_uid: str


@dataclass(frozen=True)
class StudyWriter:
    """Writes one patient's studies below a folder."""

    folder: Path
    patient: DicomPatient
    subject: SyntheticSubject
    seed: int
    volumes: Volumes

    def write(self) -> dict[str, object]:
        """Write everything; returns what is true of the dose.

        The dose lies in the frame of reference of the planning CT, or where the patient has none, in that
        of the reference MRI. Transforms are RAS, mm.
        """
        for session in dict.fromkeys(spec.session for spec in self.volumes.mris):
            reference = self.volumes.session_reference(session)
            self._write_mri(reference, 13)
            others = [spec for spec in self.volumes.mris if spec.session == session and spec != reference]
            for number, spec in enumerate(others, start=14):
                self._write_mri(spec, number)
            self._write_native_t1(reference)
        self._write_localiser()
        self._write_capture()
        return {} if self.volumes.dose is None else self._write_course()

    def _header(
        self, spec: VolumeSpec, of: str, frame: str = "", number: int = 1, description: str = ""
    ) -> Header:
        """Of the patient's object `of`, in the study of a volume's session."""
        visit = self.volumes.session_reference(spec.session).name
        planning = spec.session == self.volumes.reference.session
        date = self.patient.timeline.imaging if planning else self.patient.timeline.event
        study_uid, about = self.patient.uid(f"{visit}-study"), "Brain follow-up"
        study = StudyTags(self.patient.tags, study_uid, date, "Radiotherapy planning" if planning else about)
        frame_uid = self.patient.uid(frame) if frame else ""
        return Header(study, self.patient.uid(of), frame_uid, number, description)

    def _place(self, header: Header) -> Path:
        """A folder that says nothing about its content, as an archive's export has them."""
        parts = (header.study.patient.patient_id, header.study.study_uid, header.uid)
        return self.folder.joinpath(*(uid("folder", part)[-8:] for part in parts))

    def _mri_header(self, spec: VolumeSpec, number: int = 13) -> Header:
        contrast = contrast_of(spec.suffix)
        of = f"{spec.name}-{'t1ce' if contrast == T1CE else 'mri'}"
        return self._header(spec, of, f"{spec.name}-frame", number, _DESCRIPTIONS[contrast])

    def _write_mri(self, spec: VolumeSpec, number: int) -> None:
        header, contrast = self._mri_header(spec, number), contrast_of(spec.suffix)
        volume, agent = self.subject.scans[spec.name], CONTRAST_AGENT if contrast == T1CE else ""
        if self.patient.multi_frame and spec == self.volumes.last_session_reference:
            write_enhanced_mr(volume, self._place(header) / "IM0001.dcm", header, contrast_agent=agent)
        else:
            acquired = _ACQUIRED.get(contrast)
            write_image_series(volume, self._place(header), header, contrast_agent=agent, acquired=acquired)

    def _write_native_t1(self, spec: VolumeSpec) -> None:
        """T1 before contrast agent, in the same session: slices three times as thick, nothing enhances."""
        header = self._header(spec, f"{spec.name}-t1", f"{spec.name}-frame", 12, "t1_se_tra")
        placement = self.subject.placements[spec.name]
        thick = Placement(placement.world_from_anatomy, _thicker(placement.grid, 3))
        volume = self.subject.scanned(
            T1, thick, self._stream(f"native-{spec.name}"), at_event=spec.session != AFTER_SURGERY
        )
        write_image_series(volume, self._place(header), header)

    def _write_localiser(self) -> None:
        """Five T2 slices 25 mm apart."""
        spec = self.volumes.reference
        header = self._header(spec, "localiser", f"{spec.name}-frame", 11, "t2_localizer")
        world_from_anatomy = self.subject.world_from_anatomy(spec.name)
        centre = moved(world_from_anatomy, head_bounds_mm(self.subject.anatomy).mean(axis=0))
        affine, shape = np.eye(4), (64, 64, 5)
        affine[:3, :3] = ORIENTATIONS["sagittal"] * np.array([4.0, 4.0, 25.0])
        affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        placement = Placement(world_from_anatomy, Grid(shape, affine))
        volume = self.subject.scanned(T2, placement, self._stream("localiser"), at_event=False)
        write_image_series(volume, self._place(header), header)

    def _write_capture(self) -> None:
        """A coloured screenshot of the middle slice, which claims to be MR as screenshots do."""
        scan = self.subject.scans[self.volumes.reference.name]
        slice_ = scan.data[:, :, scan.grid.shape[2] // 2].T.astype(np.float64)
        grey = np.rint(255 * slice_ / max(float(slice_.max()), 1.0)).astype(np.uint8)
        rgb = np.repeat(grey[:, :, None], 3, axis=2)
        rgb[2:5, 2:-2] = (255, 160, 0)
        header = self._header(self.volumes.reference, "capture", number=99, description="Screenshot")
        write_secondary_capture(rgb, self._place(header) / "IM0001.dcm", header)

    def _write_course(self) -> dict[str, object]:
        """Structures, plan and dose in the space of the planning CT, or of the reference MRI."""
        patient, plan_gy = self.patient, self.subject.plan.prescription_gy
        space, reference = self._planning_space(), self.volumes.reference
        structures, plan, dose = (
            replace(self._header(reference, of), frame_uid=space.images.frame_uid)
            for of in ("struct", "plan", "dose")
        )
        write_rtstruct(
            self._place(structures) / "IM0001.dcm", structures, images=space.images, slices=space.slices,
            image_sop_class_uid=space.image_class_uid, rois=ROIS,
        )  # fmt: skip
        write_rtplan(
            self._place(plan) / "IM0001.dcm", plan, fractions=patient.fractions, prescription_gy=plan_gy,
            beams=(1, 2, 3, 4, 5), setup_beams=(6, 7), structure_set_uid=structures.uid,
            date=patient.timeline.rt_start,
        )  # fmt: skip
        course, summation = self._course_gy(space), "FRACTION" if patient.single_fraction else "PLAN"
        divisor = np.float32(patient.fractions if patient.single_fraction else 1)
        stored = Volume((course.data / divisor).astype(np.float32), course.grid)
        write_rtdose(
            stored, self._place(dose) / "IM0001.dcm", dose, plan_uids=[plan.uid], summation_type=summation
        )
        in_reference = self.subject.world_from_anatomy(reference.name)
        to_reference = in_reference @ inverse(space.world_from_anatomy)
        return {
            "post_op_world_from_ct_world": None if patient.shared_frame else to_reference.tolist(),
            "shared_frame_of_reference": patient.shared_frame,
            "dose_max_gy": float(course.data.max()),
            "dose_summation_type": summation,
            "number_of_fractions": patient.fractions,
            "prescription_gy": plan_gy,
        }

    def _planning_space(self) -> _PlanningSpace:
        """That of the planning CT, which is written here, or of the reference MRI."""
        reference, anatomy = self.volumes.reference, self.subject.anatomy
        if self.patient.shared_frame:
            placement = self.subject.placements[reference.name]
            in_reference, slices = placement.world_from_anatomy, placement.grid.shape[2]
            return _PlanningSpace(in_reference, self._mri_header(reference), slices, MR_IMAGE)
        rng = self._stream("planning-ct")
        ct = make_planning_ct(anatomy, self.subject.lesions, anatomy.grid.spacing_mm[0], rng)
        header = self._header(reference, "ct", "ct-frame", 1, "Head planning")
        write_image_series(ct.image, self._place(header), header, modality="CT", intercept=-1024.0)
        return _PlanningSpace(ct.world_from_anatomy, header, ct.image.grid.shape[2], CT_IMAGE)

    def _course_gy(self, space: _PlanningSpace) -> Volume:
        """The whole course's dose on an axial grid."""
        anatomy, world_from_anatomy = self.subject.anatomy, space.world_from_anatomy
        grid = axial_grid_around_head(anatomy, world_from_anatomy, 1.25 * anatomy.grid.spacing_mm[0])
        in_anatomy = Volume(self.subject.plan.dose_gy, anatomy.grid)
        return resample(in_anatomy, grid, inverse(world_from_anatomy))

    def _stream(self, part: str) -> np.random.Generator:
        return self.subject.cause.stream(self.seed, part)


def _thicker(grid: Grid, factor: int) -> Grid:
    """The grid whose slices each cover `factor` of the given one's."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (factor - 1) / 2
    affine[:3, 2] *= factor
    return Grid((grid.shape[0], grid.shape[1], grid.shape[2] // factor), affine)
