"""Tiny DICOM exports that several tests share: real objects, blobs instead of heads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np

from ricenet.phantom.dicom.image_writers import CT_IMAGE, MR_IMAGE, write_image_series
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan, write_rtstruct
from ricenet.volume import Affine, Grid, Volume

HEAD_MM = (62.0, 72.0, 56.0)
"""Semi-axes of the blob that stands for a head; its centre is the world's origin after surgery."""

CT_FROM_POST_OP = np.array([[1.0, 0, 0, 6.0], [0, 1.0, 0, -4.0], [0, 0, 1.0, 9.0], [0, 0, 0, 1.0]])
"""Where the head lay in the CT, if it has a frame of reference of its own (world RAS)."""

EVENT_FROM_POST_OP = np.array([[1.0, 0, 0, -5.0], [0, 1.0, 0, 3.0], [0, 0, 1.0, 2.0], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class TinyPatient:
    """Identifiers of a tiny patient, all of which an import has to leave behind."""

    patient_id: str
    patient_name: str = "Secret^Sibylle"
    birth_date: str = "19570917"

    @property
    def tags(self) -> PatientTags:
        return PatientTags(self.patient_id, self.patient_name, self.birth_date, "F")

    def uid(self, of: str) -> str:
        """of: post_op, event, ct (series), dose, plan, struct (SOP instances), and
        {post_op,event,rt}-study, {post_op,event,rt}-frame."""
        return uid("tiny", self.patient_id, of)

    def study(self, visit: Literal["post_op", "event", "rt"], day: date) -> StudyTags:
        return StudyTags(self.tags, self.uid(f"{visit}-study"), day, f"{visit} of {self.patient_id}")

    def mri(self, visit: Literal["post_op", "event"], day: date) -> Header:
        return Header(
            self.study(visit, day), self.uid(visit), self.uid(f"{visit}-frame"), 7,
            f"T1 MPRAGE {self.patient_id}",
        )  # fmt: skip


@dataclass(frozen=True)
class TinyExport:
    """What `write_tiny_export` wrote. *_files[k] holds slice k. Absent objects: None, or no files.

    Volumes as written, each in its own frame of reference (RAS); dose in Gy.
    """

    folder: Path
    patient: TinyPatient
    post_op_files: list[Path]
    event_files: list[Path]
    ct_files: list[Path]
    dose_file: Path
    plan_file: Path | None
    struct_file: Path | None
    post_op: Volume
    event: Volume
    ct: Volume | None
    dose: Volume
    rt_frame_uid: str
    rt_world_from_post_op_world: Affine


def tiny_post_op() -> Volume:
    """(16, 14, 12) voxels of 10 x 12 x 11 mm, axial."""
    return _head(_axial_grid((16, 14, 12), (10.0, 12.0, 11.0)), np.eye(4))


def tiny_event() -> Volume:
    """The head displaced by EVENT_FROM_POST_OP on a tilted sagittal grid, (16, 12, 15) voxels."""
    shape, spacing = (16, 12, 15), (11.0, 12.0, 10.0)
    tilt = np.deg2rad(6.0)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1.0]])
    axes = turn @ np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return _head(Grid(shape, affine), EVENT_FROM_POST_OP)


def tiny_ct(rt_from_post_op: Affine) -> Volume:
    """HU of the same head: soft tissue of 40 in bone of 900, in air; (18, 18, 14) voxels."""
    grid = _axial_grid((18, 18, 14), (11.0, 11.0, 11.0))
    radius = _radius(grid, rt_from_post_op)
    values = np.where(radius < 0.85, 40.0, np.where(radius < 1.0, 900.0, -1000.0))
    return Volume(values.astype(np.float32), grid)


def tiny_dose(maximum_gy: float, rt_from_post_op: Affine) -> Volume:
    """(10, 11, 9) voxels of 12 mm; the maximum is at the voxel (6, 5, 4), within the head."""
    grid = _axial_grid((10, 11, 9), (12.0, 12.0, 12.0), rt_from_post_op[:3, 3])
    squared = sum(((np.indices(grid.shape)[i] - peak) ** 2) for i, peak in enumerate((6, 5, 4)))
    return Volume((maximum_gy * np.exp(-squared / 8.0)).astype(np.float32), grid)


def write_tiny_export(
    folder: Path,
    patient_id: str = "ANON-17",
    *,
    shared_frame: bool = True,
    with_ct: bool = False,
    with_plan: bool = True,
    with_struct: bool = True,
    post_op_date: date = date(2020, 3, 1),
    plan_date: date = date(2020, 3, 10),
    event_date: date = date(2020, 9, 1),
    fractions: int | None = 30,
    prescription_gy: float | None = 60.0,
    dose_max_gy: float = 62.0,
    summation_type: str = "PLAN",
    units: str = "GY",
    dose_type: str = "PHYSICAL",
    bits: Literal[16, 32] = 32,
) -> TinyExport:
    """Write one patient's export below `folder`: two MRIs, a dose, and what belongs to it.

    shared_frame: dose, plan, structures and CT lie in the post-operative scan's frame of reference;
    otherwise in one of their own, displaced by CT_FROM_POST_OP. The structure set refers to the CT
    (which may be missing), or in a shared frame without one to the post-operative scan.
    dose_max_gy: as it is stored, of whatever `summation_type` says.
    """
    patient = TinyPatient(patient_id)
    root = folder / patient_id
    rt_from_post_op = np.eye(4) if shared_frame else CT_FROM_POST_OP
    rt_frame = patient.uid("post_op-frame" if shared_frame else "rt-frame")
    rt = patient.study("rt", plan_date)
    struct, plan, dose_header, ct_header = (
        Header(rt, patient.uid(of), rt_frame, description=f"Head of {patient_id}")
        for of in ("struct", "plan", "dose", "ct")
    )
    dose, ct = tiny_dose(dose_max_gy, rt_from_post_op), tiny_ct(rt_from_post_op) if with_ct else None
    post_op, event = tiny_post_op(), tiny_event()
    on_ct = with_ct or not shared_frame
    struct_file = plan_file = None
    if with_struct:
        struct_file = write_rtstruct(
            root / "st2" / "s.bin", struct, rois=("PTV of Sibylle",),
            images=ct_header if on_ct else patient.mri("post_op", post_op_date), slices=14 if on_ct else 12,
            image_sop_class_uid=CT_IMAGE if on_ct else MR_IMAGE,
        )  # fmt: skip
    if with_plan:
        plan_file = write_rtplan(
            root / "st2" / "p.bin", plan, fractions=fractions, prescription_gy=prescription_gy,
            structure_set_uid=struct.uid if with_struct else "",
        )  # fmt: skip
    dose_file = write_rtdose(
        dose, root / "st2" / "d.bin", dose_header, plan_uids=[plan.uid], units=units,
        dose_type=dose_type, summation_type=summation_type, bits=bits,
    )  # fmt: skip
    ct_files = []
    if ct is not None:
        ct_files = write_image_series(ct, root / "st2" / "ser1", ct_header, modality="CT", intercept=-1024.0)
    agent = "Gadovist"
    return TinyExport(
        folder,
        patient,
        write_image_series(
            post_op, root / "st1" / "ser7", patient.mri("post_op", post_op_date), contrast_agent=agent
        ),
        write_image_series(
            event, root / "st3" / "ser7", patient.mri("event", event_date), contrast_agent=agent
        ),
        ct_files, dose_file, plan_file, struct_file, post_op, event, ct, dose, rt_frame, rt_from_post_op,
    )  # fmt: skip


def edit(path: Path, **elements: object) -> None:
    """Change elements of a DICOM file by keyword; None deletes one."""
    import pydicom

    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
            if keyword == "SOPClassUID":
                dataset.file_meta.MediaStorageSOPClassUID = value
            if keyword == "SOPInstanceUID":
                dataset.file_meta.MediaStorageSOPInstanceUID = value
    dataset.save_as(path)


def recompress(path: Path, transfer_syntax: str) -> None:
    """Encode a file's pixels anew, losslessly, by the name that gdcm knows: JPEGLosslessProcess14_1,
    JPEG2000Lossless, JPEGLSLossless, RLELossless."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, transfer_syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change(), transfer_syntax
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write(), path


def _axial_grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], centre_mm: object = (0.0, 0.0, 0.0)
) -> Grid:
    """Rows run to the patient's left, columns to the back, slices upwards: DICOM's own axes."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = np.asarray(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _radius(grid: Grid, world_from_head: Affine) -> np.ndarray:
    """Distance from the head's centre in units of its semi-axes; 1 is the surface."""
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64)
    in_head = grid.world_mm(voxels) - world_from_head[:3, 3]
    return np.linalg.norm(in_head / np.array(HEAD_MM), axis=-1)


def _head(grid: Grid, world_from_head: Affine) -> Volume:
    """Bright within, with a gradient to the right, front and top, and a lesion right of the middle."""
    radius = _radius(grid, world_from_head)
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64)
    in_head = grid.world_mm(voxels) - world_from_head[:3, 3]
    values = np.where(radius < 1.0, 500.0 + in_head @ np.array([0.7, 1.1, 1.6]), 12.0)
    lesion = np.linalg.norm(in_head - np.array([25.0, 8.0, 5.0]), axis=-1) < 16.0
    return Volume(np.rint(np.where(lesion, 950.0, values)).astype(np.float32), grid)
