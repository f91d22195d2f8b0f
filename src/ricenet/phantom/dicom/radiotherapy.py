"""Radiotherapy of the phantom as DICOM: RTPLAN, RTDOSE and RTSTRUCT."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.phantom.dicom.images import CT_IMAGE
from ricenet.phantom.dicom.objects import (
    StudyTags,
    decimal,
    decimals,
    lps_axes,
    lps_position,
    new_dataset,
    save_dataset,
    sequence_item,
    uid,
)
from ricenet.volume import Affine, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""SOP class by which structure sets refer to a study."""


def write_rtplan(
    path: Path,
    study: StudyTags,
    *,
    sop_instance_uid: str,
    frame_of_reference_uid: str,
    fractions: int | None,
    prescription_gy: float | None,
    beams: Sequence[int] = (1, 2),
    structure_set_uid: str = "",
    date: datetime.date | None = None,
    setup_beams: Sequence[int] = (),
    series_number: int = 3,
) -> Path:
    """A plan of one fraction group. fractions, prescription_gy: None writes what states neither.

    date: RTPlanDate, of the study if None. setup_beams: beams for imaging, without dose.
    Source: DICOM PS3.3 A.20 (RT Plan), C.8.8.10, C.8.8.13, C.8.8.14.
    """
    dataset = _rt_dataset(study, "RTPLAN", RT_PLAN, sop_instance_uid, frame_of_reference_uid, series_number)
    dataset.RTPlanLabel, dataset.RTPlanName = "BRAIN", "BRAIN"
    dataset.RTPlanDate = (date or study.date).strftime("%Y%m%d")
    dataset.RTPlanTime, dataset.ApprovalStatus = "101500", "APPROVED"
    dataset.RTPlanGeometry = "PATIENT" if structure_set_uid else "TREATMENT_DEVICE"
    if structure_set_uid:
        dataset.ReferencedStructureSetSequence = [_reference(RT_STRUCTURE_SET, structure_set_uid)]
    dataset.DoseReferenceSequence = _dose_references(prescription_gy)
    dataset.FractionGroupSequence = [_fraction_group(fractions, beams, setup_beams)]
    dataset.BeamSequence = [_beam(number, "TREATMENT") for number in beams] + [
        _beam(number, "SETUP") for number in setup_beams
    ]
    dataset.PatientSetupSequence = [sequence_item(PatientSetupNumber=1, PatientPosition="HFS")]
    return save_dataset(dataset, path)


def write_rtdose(
    dose_gy: Volume,
    path: Path,
    study: StudyTags,
    *,
    sop_instance_uid: str,
    frame_of_reference_uid: str,
    plan_uid: str | Sequence[str] = "",
    units: str = "GY",
    dose_type: str = "PHYSICAL",
    summation_type: str = "PLAN",
    beam_number: int | None = None,
    offsets: Literal["relative", "absolute"] = "relative",
    bits: Literal[16, 32] = 32,
    structure_set_uid: str = "",
    series_number: int = 4,
) -> Path:
    """A dose grid, frames along the volume's third axis, scaled to use the range of its bits.

    beam_number: of a BEAM dose. offsets: GridFrameOffsetVector from the first frame, or the frames' own
    z, which exists for axial grids only.
    Raises ValueError: negative dose, absolute offsets of an oblique grid, or a sheared grid.
    Source: DICOM PS3.3 C.8.8.3.
    """
    dataset = _rt_dataset(study, "RTDOSE", RT_DOSE, sop_instance_uid, frame_of_reference_uid, series_number)
    affine = dose_gy.grid.affine
    directions, spacing = lps_axes(affine)
    dataset.ImageOrientationPatient = decimals(directions[:, :2].T.ravel())
    dataset.ImagePositionPatient = decimals(lps_position(affine))
    dataset.PixelSpacing = decimals([spacing[1], spacing[0]])
    dataset.SliceThickness = decimal(spacing[2])
    dataset.FrameIncrementPointer = 0x3004000C
    dataset.GridFrameOffsetVector = decimals(_frame_offsets(dose_gy, offsets))
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = units, dose_type, summation_type
    dataset.InstanceNumber = 1
    plans = [plan_uid] if isinstance(plan_uid, str) else list(plan_uid)
    referenced = [_plan_reference(plan, summation_type, beam_number) for plan in plans if plan]
    if referenced:
        dataset.ReferencedRTPlanSequence = referenced
    if structure_set_uid:
        dataset.ReferencedStructureSetSequence = [_reference(RT_STRUCTURE_SET, structure_set_uid)]
    _add_dose_grid(dataset, dose_gy.data, bits)
    return save_dataset(dataset, path)


def write_rtstruct(
    path: Path,
    study: StudyTags,
    *,
    sop_instance_uid: str,
    frame_of_reference_uid: str,
    image_series_uid: str,
    image_study_uid: str,
    image_sop_instance_uids: Sequence[str],
    rois: Sequence[str] = ("PTV",),
    image_sop_class_uid: str = CT_IMAGE,
    series_number: int = 2,
) -> Path:
    """A structure set that names its images and regions; the contours themselves are left out.

    Source: DICOM PS3.3 C.8.8.5, C.8.8.6, C.8.8.8.
    """
    dataset = _rt_dataset(
        study, "RTSTRUCT", RT_STRUCTURE_SET, sop_instance_uid, frame_of_reference_uid, series_number
    )
    dataset.StructureSetLabel, dataset.InstanceNumber = "BRAIN", 1
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.StudyDate, dataset.StudyTime
    images = [_reference(image_sop_class_uid, image) for image in image_sop_instance_uids]
    series = sequence_item(SeriesInstanceUID=image_series_uid, ContourImageSequence=images)
    of_study = _reference(DETACHED_STUDY, image_study_uid)
    of_study.RTReferencedSeriesSequence = [series]
    dataset.ReferencedFrameOfReferenceSequence = [
        sequence_item(FrameOfReferenceUID=frame_of_reference_uid, RTReferencedStudySequence=[of_study])
    ]
    _add_rois(dataset, rois, frame_of_reference_uid)
    return save_dataset(dataset, path)


def _add_rois(dataset: Dataset, rois: Sequence[str], frame_of_reference_uid: str) -> None:
    numbered = list(enumerate(rois, start=1))
    dataset.StructureSetROISequence = [
        sequence_item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame_of_reference_uid,
            ROIName=name,
            ROIGenerationAlgorithm="",
        )
        for number, name in numbered
    ]
    dataset.ROIContourSequence = [sequence_item(ReferencedROINumber=number) for number, _ in numbered]
    dataset.RTROIObservationsSequence = [
        sequence_item(
            ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter=""
        )
        for number, _ in numbered
    ]


def _rt_dataset(
    study: StudyTags,
    modality: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    frame_of_reference_uid: str,
    series_number: int,
) -> Dataset:
    return new_dataset(
        study,
        modality=modality,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        series_uid=uid(sop_instance_uid, "series"),
        series_number=series_number,
        frame_of_reference_uid=frame_of_reference_uid,
        description=modality,
    )


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    return sequence_item(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=sop_instance_uid)


def _dose_references(prescription_gy: float | None) -> list[Dataset]:
    """The target, and an organ at risk whose limit is no prescription."""
    target = sequence_item(
        DoseReferenceNumber=1,
        DoseReferenceStructureType="SITE",
        DoseReferenceDescription="PTV",
        DoseReferenceType="TARGET",
    )
    if prescription_gy is not None:
        target.TargetPrescriptionDose = decimal(prescription_gy)
    organ = sequence_item(
        DoseReferenceNumber=2,
        DoseReferenceStructureType="SITE",
        DoseReferenceDescription="Brainstem",
        DoseReferenceType="ORGAN_AT_RISK",
        OrganAtRiskMaximumDose="54",
    )
    return [target, organ]


def _fraction_group(fractions: int | None, beams: Sequence[int], setup_beams: Sequence[int]) -> Dataset:
    treatment = [sequence_item(ReferencedBeamNumber=number, BeamMeterset="100") for number in beams]
    setup = [sequence_item(ReferencedBeamNumber=number) for number in setup_beams]
    return sequence_item(
        FractionGroupNumber=1,
        NumberOfFractionsPlanned=fractions,
        NumberOfBeams=len(beams) + len(setup_beams),
        NumberOfBrachyApplicationSetups=0,
        ReferencedBeamSequence=treatment + setup,
    )


def _beam(number: int, delivery: Literal["TREATMENT", "SETUP"]) -> Dataset:
    jaws = [sequence_item(RTBeamLimitingDeviceType=axis, NumberOfLeafJawPairs=1) for axis in ("X", "Y")]
    openings = [
        sequence_item(RTBeamLimitingDeviceType=axis, LeafJawPositions=["-50", "50"]) for axis in ("X", "Y")
    ]
    start = sequence_item(
        ControlPointIndex=0,
        NominalBeamEnergy="6",
        BeamLimitingDevicePositionSequence=openings,
        GantryAngle=decimal(40.0 * number % 360),
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle="0",
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle="0",
        PatientSupportRotationDirection="NONE",
        IsocenterPosition=["0", "0", "0"],
        CumulativeMetersetWeight="0",
    )
    return sequence_item(
        BeamNumber=number,
        BeamName=f"{delivery[:1]}{number}",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType=delivery,
        TreatmentMachineName="LINAC1",
        PrimaryDosimeterUnit="MU",
        SourceAxisDistance="1000",
        BeamLimitingDeviceSequence=jaws,
        ReferencedPatientSetupNumber=1,
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=2,
        ControlPointSequence=[start, sequence_item(ControlPointIndex=1, CumulativeMetersetWeight="1")],
        **dict.fromkeys(("NumberOfWedges", "NumberOfCompensators", "NumberOfBoli", "NumberOfBlocks"), 0),
    )


def _plan_reference(plan_uid: str, summation_type: str, beam_number: int | None) -> Dataset:
    reference = _reference(RT_PLAN, plan_uid)
    if summation_type in ("FRACTION", "BEAM"):
        group = sequence_item(ReferencedFractionGroupNumber=1)
        if beam_number is not None:
            group.ReferencedBeamSequence = [sequence_item(ReferencedBeamNumber=beam_number)]
        reference.ReferencedFractionGroupSequence = [group]
    return reference


def _frame_offsets(dose: Volume, offsets: Literal["relative", "absolute"]) -> NDArray[np.float64]:
    affine: Affine = dose.grid.affine
    directions, spacing = lps_axes(affine)
    normal = np.cross(directions[:, 0], directions[:, 1])
    along = float(normal @ directions[:, 2])
    if abs(along) < 1 - 1e-6:
        raise ValueError("the frames of a dose lie along the normal of its planes; this grid is sheared")
    steps = np.arange(dose.grid.shape[2]) * spacing[2]
    if offsets == "relative":
        return np.asarray(steps * np.sign(along), dtype=np.float64)
    if not np.allclose(np.abs(directions[:, :2]), np.eye(3)[:, :2]):
        raise ValueError("absolute frame offsets exist for axial dose grids only")
    return np.asarray(lps_position(affine)[2] + steps * np.sign(directions[2, 2]), dtype=np.float64)


def _add_dose_grid(dataset: Dataset, values: NDArray[np.float32] | NDArray[np.bool_], bits: int) -> None:
    if values.min() < 0:
        raise ValueError(f"dose of {values.min():g}; it cannot be negative")
    # a little below the range, since the scaling is rounded to a decimal string
    scaling = decimal(float(values.max()) / (0.95 * (2**bits - 1)) or 1.0)
    stored = np.rint(values.astype(np.float64) / float(scaling)).astype(f"<u{bits // 8}")
    dataset.DoseGridScaling = scaling
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape[2], stored.shape[1], stored.shape[0]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.ascontiguousarray(stored.transpose(2, 1, 0)).tobytes()
    dataset["PixelData"].VR = "OW"
