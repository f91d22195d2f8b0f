"""Images of the phantom as DICOM: MR and CT series, enhanced MR, secondary captures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.phantom.dicom.objects import (
    EXPLICIT_LITTLE_ENDIAN,
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
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Affine, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"


def write_image_series(
    volume: Volume,
    folder: Path,
    study: StudyTags,
    *,
    modality: Literal["MR", "CT"],
    series_uid: str,
    frame_of_reference_uid: str,
    series_number: int = 1,
    description: str = "",
    contrast_agent: str = "",
    slope: float = 1.0,
    intercept: float = 0.0,
    transfer_syntax_uid: str = EXPLICIT_LITTLE_ENDIAN,
) -> list[Path]:
    """One file a slice along the volume's third axis; the grid keeps its orientation, however oblique.

    volume: scanner units (MR) or HU (CT), stored as int16 round((value - intercept) / slope). Axis 0
    runs along a row, axis 1 down a column. Files are IM0001.dcm and on, in an order that has nothing to
    do with position, as in an export; returned by position: `paths[k]` holds slice k.
    transfer_syntax_uid: uncompressed, deflated or RLE.
    Raises ValueError: values beyond int16, or rows and columns that are not perpendicular.
    Source: DICOM PS3.3 C.7.6.2 (plane), C.8.2.1 (CT), C.8.3.1 (MR).
    """
    stored = _stored(volume, slope, intercept)
    names = generator_for("phantom", "file-names", series_uid).permutation(stored.shape[2])
    paths = []
    for k in range(stored.shape[2]):
        dataset = new_dataset(
            study,
            modality=modality,
            sop_class_uid=MR_IMAGE if modality == "MR" else CT_IMAGE,
            sop_instance_uid=uid(series_uid, k),
            series_uid=series_uid,
            series_number=series_number,
            frame_of_reference_uid=frame_of_reference_uid,
            description=description,
        )
        dataset.InstanceNumber = k + 1
        _add_slice_plane(dataset, volume.grid.affine, k)
        _add_acquisition(dataset, modality, contrast_agent)
        _add_rescaling(dataset, modality, slope, intercept)
        _add_pixels(dataset, stored[:, :, k].T, transfer_syntax_uid)
        path = folder / f"IM{names[k] + 1:04d}.dcm"
        paths.append(save_dataset(dataset, path, transfer_syntax_uid))
    return paths


def write_enhanced_mr(
    volume: Volume,
    path: Path,
    study: StudyTags,
    *,
    series_uid: str,
    frame_of_reference_uid: str,
    series_number: int = 1,
    description: str = "",
    contrast_agent: str = "",
    slope: float = 1.0,
    intercept: float = 0.0,
    shared_orientation: bool = True,
) -> Path:
    """One multi-frame file with all slices; orientation and spacing said once, or in every frame.

    Raises ValueError: as `write_image_series`.
    Source: DICOM PS3.3 A.36.2 (Enhanced MR Image), C.7.6.16 (functional groups).
    """
    dataset = new_dataset(
        study,
        modality="MR",
        sop_class_uid=ENHANCED_MR_IMAGE,
        sop_instance_uid=uid(series_uid, "frames"),
        series_uid=series_uid,
        series_number=series_number,
        frame_of_reference_uid=frame_of_reference_uid,
        description=description,
    )
    stored = _stored(volume, slope, intercept)
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, stored.shape[2]
    _add_enhanced_acquisition(dataset, study, contrast_agent)
    shared = sequence_item(PixelValueTransformationSequence=[_transformation(slope, intercept)])
    if shared_orientation:
        shared.update(_plane(volume.grid.affine))
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = [_frame(volume.grid.affine, k) for k in range(stored.shape[2])]
    if not shared_orientation:
        for frame in frames:
            frame.update(_plane(volume.grid.affine))
    dataset.PerFrameFunctionalGroupsSequence = frames
    _add_pixels(dataset, stored.transpose(2, 1, 0), EXPLICIT_LITTLE_ENDIAN)
    return save_dataset(dataset, path)


def write_secondary_capture(
    rgb: NDArray[np.uint8],
    path: Path,
    study: StudyTags,
    *,
    series_uid: str,
    series_number: int = 99,
    modality: str = "MR",
    description: str = "",
) -> Path:
    """A screenshot (rows, columns, 3) without any position, as stations store beside the images.

    modality: what the tag Modality claims; real captures often claim that of what they show.
    """
    dataset = new_dataset(
        study,
        modality=modality,
        sop_class_uid=SECONDARY_CAPTURE,
        sop_instance_uid=uid(series_uid, "capture"),
        series_uid=series_uid,
        series_number=series_number,
        description=description,
    )
    dataset.ConversionType, dataset.InstanceNumber = "WSD", 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows, dataset.Columns = rgb.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    content = rgb.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    return save_dataset(dataset, path)


def _stored(volume: Volume, slope: float, intercept: float) -> NDArray[np.int16]:
    values = np.rint((volume.data.astype(np.float64) - intercept) / slope)
    limits = np.iinfo(np.int16)
    if values.min() < limits.min or values.max() > limits.max:
        raise ValueError(f"values {values.min():.0f} to {values.max():.0f} do not fit into 16 bits")
    return values.astype(np.int16)


def _add_pixels(dataset: Dataset, pixels: NDArray[np.int16], transfer_syntax_uid: str) -> None:
    """pixels: (rows, columns), or (frames, rows, columns)."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    low, high = int(pixels.min()), int(pixels.max())
    dataset.WindowCenter, dataset.WindowWidth = decimal((low + high) / 2), decimal(max(1, high - low))
    if transfer_syntax_uid == RLE_LOSSLESS:
        from pydicom.uid import RLELossless

        dataset.compress(RLELossless, pixels, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    order: Literal[">", "<"] = ">" if transfer_syntax_uid == EXPLICIT_BIG_ENDIAN else "<"
    dataset.PixelData = np.ascontiguousarray(pixels).astype(f"{order}i2").tobytes()
    dataset["PixelData"].VR = "OW"


def _add_slice_plane(dataset: Dataset, affine: Affine, k: int) -> None:
    directions, spacing = lps_axes(affine)
    normal = np.cross(directions[:, 0], directions[:, 1])
    position = lps_position(affine, k)
    between = abs(float(normal @ directions[:, 2])) * spacing[2]
    dataset.ImageOrientationPatient = decimals(directions[:, :2].T.ravel())
    dataset.ImagePositionPatient = decimals(position)
    # distance between rows first, then between columns
    dataset.PixelSpacing = decimals([spacing[1], spacing[0]])
    dataset.SliceThickness, dataset.SpacingBetweenSlices = decimal(between), decimal(between)
    dataset.SliceLocation = decimal(float(normal @ position))


def _add_acquisition(dataset: Dataset, modality: Literal["MR", "CT"], contrast_agent: str) -> None:
    dataset.AcquisitionDate, dataset.AcquisitionTime = dataset.StudyDate, dataset.StudyTime
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.AcquisitionNumber, dataset.PatientPosition = 1, "HFS"
    dataset.BodyPartExamined = "HEAD"
    if contrast_agent:
        dataset.ContrastBolusAgent = contrast_agent
    if modality == "CT":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.KVP = "120"
        return
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.MagneticFieldStrength = "3D", "3"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = "2000", "3.5", 1
    dataset.FlipAngle = "9"


def _add_rescaling(dataset: Dataset, modality: Literal["MR", "CT"], slope: float, intercept: float) -> None:
    if modality == "CT" or (slope, intercept) != (1.0, 0.0):
        dataset.RescaleSlope, dataset.RescaleIntercept = decimal(slope), decimal(intercept)
        dataset.RescaleType = "HU" if modality == "CT" else "US"


def _add_enhanced_acquisition(dataset: Dataset, study: StudyTags, contrast_agent: str) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.AcquisitionDateTime = study.date.strftime("%Y%m%d101500")
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.PatientPosition, dataset.BodyPartExamined = "HFS", "HEAD"
    dataset.MagneticFieldStrength = "3"
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ComplexImageComponent, dataset.AcquisitionContrast = "MAGNITUDE", "T1"
    organisation = uid(dataset.SeriesInstanceUID, "dimensions")
    dataset.DimensionOrganizationSequence = [sequence_item(DimensionOrganizationUID=organisation)]
    dataset.DimensionIndexSequence = [
        sequence_item(
            DimensionOrganizationUID=organisation,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,
        )
        for pointer in (0x00209056, 0x00209057)
    ]
    if contrast_agent:
        # the free text of single-frame images does not exist here; agents are coded (C.7.6.4b)
        agent = sequence_item(
            CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning=contrast_agent,
            ContrastBolusAgentNumber=1, ContrastBolusIngredientCodeSequence=[],
            ContrastBolusAdministrationRouteSequence=[
                sequence_item(CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous")
            ],
        )  # fmt: skip
        dataset.ContrastBolusAgentSequence = [agent]


def _transformation(slope: float, intercept: float) -> Dataset:
    return sequence_item(RescaleSlope=decimal(slope), RescaleIntercept=decimal(intercept), RescaleType="US")


def _plane(affine: Affine) -> Dataset:
    directions, spacing = lps_axes(affine)
    measures = sequence_item(
        PixelSpacing=decimals([spacing[1], spacing[0]]),
        SliceThickness=decimal(spacing[2]),
        SpacingBetweenSlices=decimal(spacing[2]),
    )
    orientation = sequence_item(ImageOrientationPatient=decimals(directions[:, :2].T.ravel()))
    return sequence_item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _frame(affine: Affine, k: int) -> Dataset:
    content = sequence_item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
    position = sequence_item(ImagePositionPatient=decimals(lps_position(affine, k)))
    return sequence_item(FrameContentSequence=[content], PlanePositionSequence=[position])
