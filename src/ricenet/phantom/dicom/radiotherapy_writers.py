"""Radiotherapy of the phantom as DICOM: RTPLAN, RTDOSE and RTSTRUCT."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.phantom.dicom.image_writers import CT_IMAGE, pixel_format
from ricenet.phantom.dicom.objects import (
    Header,
    decimal,
    decimals,
    elements,
    lps_axes,
    lps_position,
    orientation,
    pixel_spacing,
    reference,
    save_dataset,
    set_elements,
)
from ricenet.volume import Grid, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""SOP class by which structure sets refer to a study."""


def write_rtplan(
    path: Path,
    header: Header,
    *,
    fractions: int | None,
    prescription_gy: float | None,
    beams: Sequence[int] = (1, 2),
    setup_beams: Sequence[int] = (),
    structure_set_uid: str = "",
    date: datetime.date | None = None,
) -> Path:
    """A plan of one fraction group. fractions, prescription_gy: None writes what states neither.

    date: RTPlanDate, of the study if None. setup_beams: beams for imaging, without dose.
    Source: DICOM PS3.3 A.20 (RT Plan), C.8.8.10, C.8.8.13, C.8.8.14.
    """
    dataset = header.plan_object("RTPLAN", RT_PLAN)
    beam_items = [_beam(n, "TREATMENT") for n in beams] + [_beam(n, "SETUP") for n in setup_beams]
    set_elements(
        dataset, RTPlanLabel="BRAIN", RTPlanName="BRAIN", ApprovalStatus="APPROVED",
        RTPlanDate=(date or header.study.date).strftime("%Y%m%d"), RTPlanTime=dataset.StudyTime,
        RTPlanGeometry="PATIENT" if structure_set_uid else "TREATMENT_DEVICE",
        DoseReferenceSequence=_dose_references(prescription_gy),
        FractionGroupSequence=[_fraction_group(fractions, beams, setup_beams)],
        BeamSequence=beam_items,
        PatientSetupSequence=[elements(PatientSetupNumber=1, PatientPosition="HFS")],
    )  # fmt: skip
    if structure_set_uid:
        dataset.ReferencedStructureSetSequence = [reference(RT_STRUCTURE_SET, structure_set_uid)]
    return save_dataset(dataset, path)


def write_rtdose(
    dose_gy: Volume,
    path: Path,
    header: Header,
    *,
    plan_uids: Sequence[str] = (),
    structure_set_uid: str = "",
    units: str = "GY",
    dose_type: str = "PHYSICAL",
    summation_type: str = "PLAN",
    beam_number: int | None = None,
    offsets: Literal["relative", "absolute"] = "relative",
    bits: Literal[16, 32] = 32,
) -> Path:
    """A dose grid, frames along the volume's third axis, scaled to use the range of its bits.

    beam_number: of a BEAM dose. offsets: GridFrameOffsetVector from the first frame, or the frames' own
    z, which exists for axial grids only.
    Raises ValueError: negative dose, absolute offsets of an oblique grid, or a sheared grid.
    Source: DICOM PS3.3 C.8.8.3.
    """
    dataset, affine = header.plan_object("RTDOSE", RT_DOSE), dose_gy.grid.affine
    set_elements(
        dataset, InstanceNumber=1, DoseUnits=units, DoseType=dose_type, DoseSummationType=summation_type,
        ImageOrientationPatient=orientation(affine), ImagePositionPatient=decimals(lps_position(affine)),
        PixelSpacing=pixel_spacing(affine), SliceThickness=decimal(lps_axes(affine)[1][2]),
        FrameIncrementPointer=0x3004000C,
        GridFrameOffsetVector=decimals(_frame_offsets(dose_gy.grid, offsets)),
    )  # fmt: skip
    if plan_uids:
        dataset.ReferencedRTPlanSequence = [
            _plan_reference(plan, summation_type, beam_number) for plan in plan_uids
        ]
    if structure_set_uid:
        dataset.ReferencedStructureSetSequence = [reference(RT_STRUCTURE_SET, structure_set_uid)]
    _add_dose_grid(dataset, dose_gy.data, bits)
    return save_dataset(dataset, path)


def write_rtstruct(
    path: Path,
    header: Header,
    *,
    images: Header,
    slices: int,
    image_sop_class_uid: str = CT_IMAGE,
    rois: Sequence[str] = ("PTV",),
) -> Path:
    """A structure set that names its images and regions; it holds no contours.

    images: the header of the series that it was drawn on, of so many slices.
    Source: DICOM PS3.3 C.8.8.5, C.8.8.6, C.8.8.8.
    """
    dataset = header.plan_object("RTSTRUCT", RT_STRUCTURE_SET)
    dataset.StructureSetLabel, dataset.InstanceNumber = "BRAIN", 1
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.StudyDate, dataset.StudyTime
    drawn_on = [reference(image_sop_class_uid, images.image_uid(k)) for k in range(slices)]
    series = elements(SeriesInstanceUID=images.uid, ContourImageSequence=drawn_on)
    study = reference(DETACHED_STUDY, images.study.study_uid, RTReferencedSeriesSequence=[series])
    dataset.ReferencedFrameOfReferenceSequence = [
        elements(FrameOfReferenceUID=header.frame_uid, RTReferencedStudySequence=[study])
    ]
    numbered = list(enumerate(rois, start=1))
    dataset.StructureSetROISequence = [
        elements(
            ROINumber=number, ReferencedFrameOfReferenceUID=header.frame_uid, ROIName=name,
            ROIGenerationAlgorithm="",
        )
        for number, name in numbered
    ]  # fmt: skip
    dataset.ROIContourSequence = [elements(ReferencedROINumber=number) for number, _ in numbered]
    dataset.RTROIObservationsSequence = [
        elements(
            ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter=""
        )
        for number, _ in numbered
    ]
    return save_dataset(dataset, path)


def _dose_references(prescription_gy: float | None) -> list[Dataset]:
    """The target, and an organ at risk whose limit is no prescription."""
    prescribed = {} if prescription_gy is None else {"TargetPrescriptionDose": decimal(prescription_gy)}
    described = (
        ("PTV", "TARGET", prescribed),
        ("Brainstem", "ORGAN_AT_RISK", {"OrganAtRiskMaximumDose": "54"}),
    )
    return [
        elements(
            DoseReferenceNumber=number, DoseReferenceStructureType="SITE", DoseReferenceDescription=name,
            DoseReferenceType=kind, **dose,
        )
        for number, (name, kind, dose) in enumerate(described, start=1)
    ]  # fmt: skip


def _fraction_group(fractions: int | None, beams: Sequence[int], setup_beams: Sequence[int]) -> Dataset:
    treatment = [elements(ReferencedBeamNumber=number, BeamMeterset="100") for number in beams]
    setup = [elements(ReferencedBeamNumber=number) for number in setup_beams]
    return elements(
        FractionGroupNumber=1, NumberOfFractionsPlanned=fractions, NumberOfBeams=len(treatment + setup),
        NumberOfBrachyApplicationSetups=0, ReferencedBeamSequence=treatment + setup,
    )  # fmt: skip


def _beam(number: int, delivery: Literal["TREATMENT", "SETUP"]) -> Dataset:
    axes = ("X", "Y")
    jaws = [elements(RTBeamLimitingDeviceType=axis, NumberOfLeafJawPairs=1) for axis in axes]
    openings = [elements(RTBeamLimitingDeviceType=axis, LeafJawPositions=["-50", "50"]) for axis in axes]
    start = elements(
        ControlPointIndex=0, NominalBeamEnergy="6", BeamLimitingDevicePositionSequence=openings,
        GantryAngle=decimal(40.0 * number % 360), GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle="0", BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle="0", PatientSupportRotationDirection="NONE",
        IsocenterPosition=["0", "0", "0"], CumulativeMetersetWeight="0",
    )  # fmt: skip
    return elements(
        BeamNumber=number, BeamName=f"{delivery[:1]}{number}", BeamType="STATIC", RadiationType="PHOTON",
        TreatmentDeliveryType=delivery, TreatmentMachineName="LINAC1", PrimaryDosimeterUnit="MU",
        SourceAxisDistance="1000", BeamLimitingDeviceSequence=jaws, ReferencedPatientSetupNumber=1,
        FinalCumulativeMetersetWeight="1", NumberOfControlPoints=2,
        ControlPointSequence=[start, elements(ControlPointIndex=1, CumulativeMetersetWeight="1")],
        **dict.fromkeys(("NumberOfWedges", "NumberOfCompensators", "NumberOfBoli", "NumberOfBlocks"), 0),
    )  # fmt: skip


def _plan_reference(plan_uid: str, summation_type: str, beam_number: int | None) -> Dataset:
    plan = reference(RT_PLAN, plan_uid)
    if summation_type in ("FRACTION", "BEAM"):
        group = elements(ReferencedFractionGroupNumber=1)
        if beam_number is not None:
            group.ReferencedBeamSequence = [elements(ReferencedBeamNumber=beam_number)]
        plan.ReferencedFractionGroupSequence = [group]
    return plan


def _frame_offsets(grid: Grid, offsets: Literal["relative", "absolute"]) -> NDArray[np.float64]:
    directions, spacing = lps_axes(grid.affine)
    normal = np.cross(directions[:, 0], directions[:, 1])
    along = float(normal @ directions[:, 2])
    if abs(along) < 1 - 1e-6:
        raise ValueError("the frames of a dose lie along the normal of its planes; this grid is sheared")
    steps = np.arange(grid.shape[2]) * spacing[2]
    if offsets == "relative":
        return np.asarray(steps * np.sign(along), dtype=np.float64)
    if not np.allclose(np.abs(directions[:, :2]), np.eye(3)[:, :2]):
        raise ValueError("absolute frame offsets exist for axial dose grids only")
    return np.asarray(lps_position(grid.affine)[2] + steps * np.sign(directions[2, 2]), dtype=np.float64)


def _add_dose_grid(dataset: Dataset, values: NDArray[np.float32] | NDArray[np.bool_], bits: int) -> None:
    if values.min() < 0:
        raise ValueError(f"dose of {values.min():g}; it cannot be negative")
    # a little below the range, since the scaling is rounded to a decimal string
    scaling = decimal(float(values.max()) / (0.95 * (2**bits - 1)) or 1.0)
    stored = np.rint(values.astype(np.float64) / float(scaling)).astype(f"<u{bits // 8}")
    dataset.DoseGridScaling = scaling
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Columns, dataset.Rows, dataset.NumberOfFrames = stored.shape
    set_elements(dataset, **pixel_format(bits, signed=False))
    dataset.PixelData = np.ascontiguousarray(stored.transpose(2, 1, 0)).tobytes()
    dataset["PixelData"].VR = "OW"
