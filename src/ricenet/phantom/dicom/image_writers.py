"""Images of the phantom as DICOM: MR and CT series, enhanced MR, secondary captures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.phantom.dicom.objects import (
    EXPLICIT_LITTLE_ENDIAN,
    Header,
    decimal,
    decimals,
    elements,
    lps_axes,
    lps_position,
    orientation,
    pixel_spacing,
    save_dataset,
    set_elements,
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

_OF_A_HEAD = {"PatientPosition": "HFS", "BodyPartExamined": "HEAD"}
_ACQUIRED: Mapping[str, Mapping[str, object]] = {
    "CT": {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": "120"},
    "MR": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"], "ScanningSequence": "GR", "SequenceVariant": "SP",
        "ScanOptions": "", "MRAcquisitionType": "3D", "MagneticFieldStrength": "3", "FlipAngle": "9",
        "RepetitionTime": "2000", "EchoTime": "3.5", "EchoTrainLength": 1,
    },
}  # fmt: skip
"""How an image was taken, by modality: an MPRAGE where nothing else is said."""

_ENHANCED: Mapping[str, object] = {
    "ImageType": ["ORIGINAL", "PRIMARY", "T1", "NONE"], "MagneticFieldStrength": "3",
    "PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE", "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T1",
}  # fmt: skip


def write_image_series(
    volume: Volume,
    folder: Path,
    header: Header,
    *,
    modality: Literal["MR", "CT"] = "MR",
    contrast_agent: str = "",
    acquired: Mapping[str, object] | None = None,
    slope: float = 1.0,
    intercept: float = 0.0,
    transfer_syntax_uid: str = EXPLICIT_LITTLE_ENDIAN,
) -> list[Path]:
    """One file a slice along the volume's third axis; the grid keeps its orientation, however oblique.

    volume: scanner units (MR) or HU (CT), stored as int16 round((value - intercept) / slope). Axis 0
    runs along a row, axis 1 down a column. Files are IM0001.dcm and on, in an order that has nothing to
    do with position, as in an export; returned by position: `paths[k]` holds slice k.
    acquired: elements that say how, in place of the modality's. transfer_syntax_uid: uncompressed,
    deflated or RLE.
    Raises ValueError: values beyond int16, or rows and columns that are not perpendicular.
    Source: DICOM PS3.3 C.7.6.2 (plane), C.8.2.1 (CT), C.8.3.1 (MR).
    """
    stored = _stored(volume, slope, intercept)
    names = generator_for("phantom", "file-names", header.uid).permutation(stored.shape[2])
    paths = []
    for k in range(stored.shape[2]):
        dataset = header.image(modality, MR_IMAGE if modality == "MR" else CT_IMAGE, k)
        set_elements(dataset, **_OF_A_HEAD, **{**_ACQUIRED[modality], **(acquired or {})})
        set_elements(dataset, **_slice_plane(volume.grid.affine, k))
        dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, 1
        for moment in ("Acquisition", "Content"):
            set_elements(dataset, **{f"{moment}Date": dataset.StudyDate, f"{moment}Time": dataset.StudyTime})
        if contrast_agent:
            dataset.ContrastBolusAgent = contrast_agent
        if modality == "CT" or (slope, intercept) != (1.0, 0.0):
            set_elements(dataset, **_rescaling(slope, intercept, "HU" if modality == "CT" else "US"))
        _add_pixels(dataset, stored[:, :, k].T, transfer_syntax_uid)
        paths.append(save_dataset(dataset, folder / f"IM{names[k] + 1:04d}.dcm", transfer_syntax_uid))
    return paths


def write_enhanced_mr(
    volume: Volume,
    path: Path,
    header: Header,
    *,
    contrast_agent: str = "",
    slope: float = 1.0,
    intercept: float = 0.0,
    shared_orientation: bool = True,
) -> Path:
    """One multi-frame file with all slices; orientation and spacing said once, or in every frame.

    Raises ValueError: as `write_image_series`.
    Source: DICOM PS3.3 A.36.2 (Enhanced MR Image), C.7.6.16 (functional groups).
    """
    stored, affine = _stored(volume, slope, intercept), volume.grid.affine
    dataset = header.image("MR", ENHANCED_MR_IMAGE, "frames")
    set_elements(dataset, **_OF_A_HEAD, **_ENHANCED, **_dimensions(header))
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, stored.shape[2]
    dataset.AcquisitionDateTime = dataset.StudyDate + dataset.StudyTime
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    if contrast_agent:
        dataset.ContrastBolusAgentSequence = [_coded_agent(contrast_agent)]
    shared = elements(PixelValueTransformationSequence=[elements(**_rescaling(slope, intercept, "US"))])
    frames = [_frame(affine, k) for k in range(stored.shape[2])]
    for group in [shared] if shared_orientation else frames:
        group.update(_plane(affine))
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    _add_pixels(dataset, stored.transpose(2, 1, 0), EXPLICIT_LITTLE_ENDIAN)
    return save_dataset(dataset, path)


def write_secondary_capture(rgb: NDArray[np.uint8], path: Path, header: Header) -> Path:
    """A screenshot (rows, columns, 3) without any position, as stations store beside the images.

    Its tag Modality claims MR, as real captures claim that of what they show.
    """
    dataset = header.image("MR", SECONDARY_CAPTURE, "capture")
    content = rgb.tobytes()
    set_elements(
        dataset, ConversionType="WSD", InstanceNumber=1, SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, Rows=rgb.shape[0], Columns=rgb.shape[1], **pixel_format(8, signed=False),
        PixelData=content + b"\0" * (len(content) % 2),
    )  # fmt: skip
    return save_dataset(dataset, path)


def pixel_format(bits: int, *, signed: bool) -> dict[str, object]:
    """How integers are stored that use all of their bits."""
    sizes = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    return {**sizes, "PixelRepresentation": int(signed)}


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
    set_elements(dataset, **pixel_format(16, signed=True))
    low, high = int(pixels.min()), int(pixels.max())
    dataset.WindowCenter, dataset.WindowWidth = decimal((low + high) / 2), decimal(max(1, high - low))
    if transfer_syntax_uid == RLE_LOSSLESS:
        from pydicom.uid import RLELossless

        dataset.compress(RLELossless, pixels, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    order: Literal[">", "<"] = ">" if transfer_syntax_uid == EXPLICIT_BIG_ENDIAN else "<"
    dataset.PixelData = np.ascontiguousarray(pixels).astype(f"{order}i2").tobytes()
    dataset["PixelData"].VR = "OW"


def _slice_plane(affine: Affine, k: int) -> dict[str, object]:
    directions, spacing = lps_axes(affine)
    normal = np.cross(directions[:, 0], directions[:, 1])
    position = lps_position(affine, k)
    between = decimal(abs(float(normal @ directions[:, 2])) * spacing[2])
    return {
        "ImageOrientationPatient": orientation(affine),
        "ImagePositionPatient": decimals(position),
        "PixelSpacing": pixel_spacing(affine),
        "SliceThickness": between,
        "SpacingBetweenSlices": between,
        "SliceLocation": decimal(float(normal @ position)),
    }


def _rescaling(slope: float, intercept: float, unit: str) -> dict[str, object]:
    return {"RescaleSlope": decimal(slope), "RescaleIntercept": decimal(intercept), "RescaleType": unit}


def _dimensions(header: Header) -> dict[str, object]:
    """Frames are indexed by stack and by position in the stack."""
    organisation = uid(header.uid, "dimensions")
    return {
        "DimensionOrganizationSequence": [elements(DimensionOrganizationUID=organisation)],
        "DimensionIndexSequence": [
            elements(
                DimensionOrganizationUID=organisation, DimensionIndexPointer=pointer,
                FunctionalGroupPointer=0x00209111,
            )
            for pointer in (0x00209056, 0x00209057)
        ],
    }  # fmt: skip


def _coded_agent(name: str) -> Dataset:
    """The free text of single-frame images does not exist in enhanced ones; agents are coded (C.7.6.4b)."""
    route = elements(CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous")
    return elements(
        CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning=name, ContrastBolusAgentNumber=1,
        ContrastBolusIngredientCodeSequence=[], ContrastBolusAdministrationRouteSequence=[route],
    )  # fmt: skip


def _plane(affine: Affine) -> Dataset:
    thickness = decimal(lps_axes(affine)[1][2])
    measures = elements(
        PixelSpacing=pixel_spacing(affine), SliceThickness=thickness, SpacingBetweenSlices=thickness
    )
    return elements(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[elements(ImageOrientationPatient=orientation(affine))],
    )


def _frame(affine: Affine, k: int) -> Dataset:
    content = elements(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
    position = elements(ImagePositionPatient=decimals(lps_position(affine, k)))
    return elements(FrameContentSequence=[content], PlanePositionSequence=[position])
