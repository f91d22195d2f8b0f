"""RTDOSE objects: the dose grid in its own units, and what the object states about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import (
    EXPORT_AGAIN,
    code,
    has,
    items,
    numbers,
    quietly,
    read_dataset,
    text,
    texts,
    whole_number,
)
from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.pixels import PIXEL_KEYWORDS, stored_values
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_KEYWORDS = (
    *PIXEL_KEYWORDS,
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "PixelSpacing",
    "DoseUnits",
    "DoseType",
    "DoseSummationType",
    "GridFrameOffsetVector",
    "DoseGridScaling",
    "ReferencedRTPlanSequence",
    "ReferencedStructureSetSequence",
)

_SAME_POSITION_MM = 0.01


@dataclass(frozen=True)
class DoseObject:
    """One RTDOSE. values: scaled by DoseGridScaling, in `units`, on the grid in the space of
    `frame_of_reference_uid` (RAS). Words are DICOM's, in upper case.

    plan_uids: SOP instance UIDs of the referenced RTPLANs. beam_numbers: of BEAM doses, by the first plan.
    structure_set_uids: of the referenced RTSTRUCTs (of the dose itself; the plan names its own).
    """

    values: Volume
    units: str
    dose_type: str
    summation_type: str
    frame_of_reference_uid: str
    plan_uids: tuple[str, ...]
    beam_numbers: tuple[int, ...]
    structure_set_uids: tuple[str, ...]


@quietly()
def read_dose(instance: Instance) -> DoseObject:
    """Read an RTDOSE file.

    Raises SourceError: unreadable, without a grid, DoseGridScaling, DoseUnits, DoseType or
    DoseSummationType, a single frame, or an irregular grid.
    Source: DICOM PS3.3 C.8.8.3.
    """
    dataset = read_dataset(instance.path, _KEYWORDS, pixels=True)
    _check_stated(dataset)
    plans = items(dataset, "ReferencedRTPlanSequence")
    return DoseObject(
        values=_grid(dataset),
        units=code(dataset, "DoseUnits"),
        dose_type=code(dataset, "DoseType"),
        summation_type=code(dataset, "DoseSummationType"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        plan_uids=texts(plans, "ReferencedSOPInstanceUID"),
        beam_numbers=_beam_numbers(plans),
        structure_set_uids=texts(
            items(dataset, "ReferencedStructureSetSequence"), "ReferencedSOPInstanceUID"
        ),
    )


def _check_stated(dataset: FileDataset) -> None:
    if not has(dataset, "PixelData"):
        raise SourceError(
            "an RTDOSE without a dose grid (dose-volume histograms at most)", "Export the dose as a grid"
        )
    for keyword in ("DoseUnits", "DoseType", "DoseSummationType", "DoseGridScaling"):
        if not has(dataset, keyword):
            raise SourceError(f"{keyword} is missing in an RTDOSE", EXPORT_AGAIN)


def _beam_numbers(plans: list[Dataset]) -> tuple[int, ...]:
    beams = items(plans[0], "ReferencedFractionGroupSequence", "ReferencedBeamSequence") if plans else []
    found = (whole_number(beam, "ReferencedBeamNumber") for beam in beams)
    return tuple(dict.fromkeys(value for value in found if value is not None))


def _grid(dataset: FileDataset) -> Volume:
    order, grid = stack(_planes(dataset), noun="dose plane")
    (scaling,) = numbers(dataset, "DoseGridScaling", 1)
    if scaling <= 0:
        raise SourceError("DoseGridScaling is not positive", EXPORT_AGAIN)
    stored = stored_values(dataset)
    data = np.empty(grid.shape, np.float32, order="F")
    for k, frame in enumerate(order):
        # 32-bit integers do not fit into float32 before they are scaled
        data[:, :, k] = stored[frame].T.astype(np.float64) * scaling
    return Volume(data, grid)


def _planes(dataset: FileDataset) -> list[Plane]:
    frames = whole_number(dataset, "NumberOfFrames") or 1
    if frames < 2:
        raise SourceError(
            "an RTDOSE of a single plane is no volume", "Export the dose as a grid of many planes"
        )
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    spacing = numbers(dataset, "PixelSpacing", 2)
    if not rows or not columns or min(spacing) <= 0:
        raise SourceError("Rows, Columns or PixelSpacing is not positive", EXPORT_AGAIN)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    return [
        Plane(tuple(position), orientation, spacing, (columns, rows))
        for position in _positions(dataset, orientation, frames).tolist()
    ]


def _positions(dataset: FileDataset, orientation: tuple[float, ...], frames: int) -> NDArray[np.float64]:
    """Position of each frame's first voxel, (frames, 3), LPS.

    Source: DICOM PS3.3 C.8.8.3.2: offsets from the first plane along its normal (a), or the planes' z (b).
    Deviation: (b) is taken for every transverse orientation, as planning systems write it; where a
    transverse grid starts at z = 0 and its normal points down, (a) and (b) contradict each other unseen,
    so it is refused.
    """
    offsets = np.array(numbers(dataset, "GridFrameOffsetVector"))
    if len(offsets) != frames:
        raise SourceError(f"{len(offsets)} frame offsets for {frames} dose planes", EXPORT_AGAIN)
    steps = np.diff(offsets)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise SourceError("the dose planes' offsets neither rise nor fall throughout", EXPORT_AGAIN)
    first = np.array(numbers(dataset, "ImagePositionPatient", 3))
    return first + np.outer(offsets - offsets[0], _direction(offsets[0], first[2], orientation))


def _direction(first_offset: float, z_mm: float, orientation: tuple[float, ...]) -> NDArray[np.float64]:
    """Along what GridFrameOffsetVector counts."""
    is_axial = max(abs(orientation[2]), abs(orientation[5])) <= 1e-6
    if abs(first_offset) <= _SAME_POSITION_MM:
        normal: NDArray[np.float64] = np.cross(np.array(orientation[:3]), np.array(orientation[3:]))
        if is_axial and normal[2] < 0 and abs(z_mm) <= _SAME_POSITION_MM:
            raise SourceError(
                "GridFrameOffsetVector may count upwards or downwards: the dose grid starts at z = 0 mm and "
                "its normal points to the feet",
                "Export the dose on axial planes whose normal points to the head",
            )
        return normal
    if abs(first_offset - z_mm) > _SAME_POSITION_MM:
        raise SourceError(
            f"GridFrameOffsetVector starts at {first_offset:.2f} mm, neither 0 nor the first plane's z",
            EXPORT_AGAIN,
        )
    if not is_axial:
        raise SourceError(
            "GridFrameOffsetVector holds z coordinates, but the dose planes are not axial", EXPORT_AGAIN
        )
    return np.array([0.0, 0.0, 1.0])
