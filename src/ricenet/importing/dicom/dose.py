"""RTDOSE objects: the dose grid in its own units, and what the object states about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, DicomFile, Elements, quietly, read_file
from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.pixels import PIXEL_KEYWORDS, stored_values
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

_PLANS, _STRUCTURES = "ReferencedRTPlanSequence", "ReferencedStructureSetSequence"
_REQUIRED = ("DoseUnits", "DoseType", "DoseSummationType", "DoseGridScaling")
_HEADER_KEYWORDS = ("DoseSummationType", "FrameOfReferenceUID", "Rows", _PLANS, _STRUCTURES)
_KEYWORDS = (
    *_REQUIRED,
    *_HEADER_KEYWORDS,
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "GridFrameOffsetVector"),
    *PIXEL_KEYWORDS,
)

_SAME_POSITION_MM = 0.01


@dataclass(frozen=True, kw_only=True)
class DoseHeader:
    """What one RTDOSE states of itself without its voxels. Words are DICOM's, in upper case.

    plan_uids: SOP instance UIDs of the referenced RTPLANs. structure_set_uids: of the referenced RTSTRUCTs
    (of the dose itself; the plan names its own). has_grid: False for dose-volume histograms alone.
    """

    summation_type: str
    frame_of_reference_uid: str
    plan_uids: tuple[str, ...]
    structure_set_uids: tuple[str, ...]
    has_grid: bool = True


@dataclass(frozen=True, kw_only=True)
class DoseObject(DoseHeader):
    """One RTDOSE. values: scaled by DoseGridScaling, in `units`, on the grid in the space of
    `frame_of_reference_uid` (RAS). beam_numbers: of BEAM doses, by the first plan. decisions: sentences on
    how it was read, where its tags leave that open.
    """

    values: Volume
    units: str
    dose_type: str
    beam_numbers: tuple[int, ...]
    decisions: tuple[str, ...] = ()


@quietly()
def read_dose_header(instance: Instance) -> DoseHeader:
    """Read an RTDOSE file up to its voxels: enough to see which doses belong together.

    Raises SourceError: unreadable.
    Source: DICOM PS3.3 C.8.8.3.
    """
    return _header(read_file(instance.path, _HEADER_KEYWORDS))


@quietly()
def read_dose(instance: Instance) -> DoseObject:
    """Read an RTDOSE file, or those of single planes that are stacked (`Instance.planes`).

    Raises SourceError: unreadable, without a grid, DoseGridScaling, DoseUnits, DoseType or
    DoseSummationType, a single frame, or an irregular grid.
    Source: DICOM PS3.3 C.8.8.3.
    """
    files = [_read(one) for one in (instance, *instance.planes)]
    file = files[0]
    if instance.planes:
        planes = [_plane(one) for one in files]
        decisions: tuple[str, ...] = (f"{len(files)} RTDOSE of one plane each are stacked.",)
    else:
        frames, decisions = _frames(file)
        planes = _planes(file, frames)
    return DoseObject(
        **vars(_header(file)),
        values=_grid(files, planes),
        units=file.code("DoseUnits"),
        dose_type=file.code("DoseType"),
        beam_numbers=_beam_numbers(file.items(_PLANS)),
        decisions=decisions,
    )


@quietly()
def read_single_plane(instance: Instance) -> tuple[object, Plane] | None:
    """What the planes of one dose have in common, and the plane; None where an RTDOSE is not of one plane."""
    try:
        file = read_file(instance.path, _KEYWORDS)
        if not file.has("Rows") or (file.whole_number("NumberOfFrames") or 1) > 1:
            return None
        plane = _plane(file)
    except SourceError:
        return None
    words = tuple(file.code(keyword) for keyword in ("DoseUnits", "DoseType", "DoseSummationType"))
    references = file.references(_PLANS), file.references(_STRUCTURES), _beam_numbers(file.items(_PLANS))
    return (words, references, file.text("FrameOfReferenceUID")), plane


def _read(instance: Instance) -> DicomFile:
    file = read_file(instance.path, _KEYWORDS, pixels=True)
    if not file.has("PixelData"):
        raise SourceError(
            "an RTDOSE without a dose grid (dose-volume histograms at most)", "Export the dose as a grid"
        )
    for keyword in _REQUIRED:
        if not file.has(keyword):
            raise SourceError(f"{keyword} is missing in an RTDOSE", EXPORT_AGAIN)
    return file


def _header(file: DicomFile) -> DoseHeader:
    return DoseHeader(
        summation_type=file.code("DoseSummationType"),
        frame_of_reference_uid=file.text("FrameOfReferenceUID"),
        plan_uids=file.references(_PLANS),
        structure_set_uids=file.references(_STRUCTURES),
        has_grid=file.has("Rows"),
    )


def _beam_numbers(plans: list[Elements]) -> tuple[int, ...]:
    beams = plans[0].items("ReferencedFractionGroupSequence", "ReferencedBeamSequence") if plans else []
    found = (beam.whole_number("ReferencedBeamNumber") for beam in beams)
    return tuple(dict.fromkeys(value for value in found if value is not None))


def _grid(files: Sequence[DicomFile], planes: Sequence[Plane]) -> Volume:
    order, grid = stack(planes, noun="dose plane")
    scaled = [plane for file in files for plane in _scaled(file)]
    data = np.empty(grid.shape, np.float32, order="F")
    for k, frame in enumerate(order):
        data[:, :, k] = scaled[frame].T
    return Volume(data, grid)


def _scaled(file: DicomFile) -> Iterator[NDArray[np.float64]]:
    """Planes (rows, columns) in the dose's units."""
    (scaling,) = file.numbers("DoseGridScaling", 1)
    if scaling <= 0:
        raise SourceError("DoseGridScaling is not positive", EXPORT_AGAIN)
    for stored in stored_values(file):
        # 32-bit integers do not fit into float32 before they are scaled
        yield stored.astype(np.float64) * scaling


def _plane(file: DicomFile) -> Plane:
    shape = (file.whole_number("Columns") or 0, file.whole_number("Rows") or 0)
    spacing, orientation = file.numbers("PixelSpacing", 2), file.numbers("ImageOrientationPatient", 6)
    return Plane(file.numbers("ImagePositionPatient", 3), orientation, spacing, shape)


def _planes_of_pixels(file: DicomFile) -> int:
    """How many planes of uncompressed pixels a file holds, by their length; 0 where nothing says so."""
    sizes = [file.whole_number(keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated")]
    plane = math.prod(sizes) // 8
    length = len(file.dataset.PixelData) if file.has("PixelData") else 0
    return length // plane if plane else 0


def _frames(file: DicomFile) -> tuple[int, tuple[str, ...]]:
    """How many planes the grid has, and what was decided: as many as offsets and pixels, where not stated."""
    stated = file.whole_number("NumberOfFrames")
    if stated is not None or not file.has("GridFrameOffsetVector"):
        return stated or 1, ()
    offsets = len(file.numbers("GridFrameOffsetVector"))
    if offsets < 2:
        return 1, ()
    if (planes := _planes_of_pixels(file)) != offsets:
        raise SourceError(
            f"NumberOfFrames is missing: {offsets} frame offsets, {planes} planes of uncompressed pixels",
            EXPORT_AGAIN,
        )
    file.dataset.NumberOfFrames = offsets
    return offsets, (f"NumberOfFrames is not stated: {offsets}, as many as offsets and planes of pixels.",)


def _planes(file: DicomFile, frames: int) -> list[Plane]:
    if frames < 2:
        raise SourceError(
            "an RTDOSE of a single plane is no volume", "Export the dose as a grid of many planes"
        )
    first = _plane(file)
    positions = _positions(file, first.orientation, frames).tolist()
    return [replace(first, position_mm=tuple(position)) for position in positions]


def _positions(file: DicomFile, orientation: tuple[float, ...], frames: int) -> NDArray[np.float64]:
    """Position of each frame's first voxel, (frames, 3), LPS.

    Source: DICOM PS3.3 C.8.8.3.2: offsets from the first plane along its normal (a), or the planes' z (b).
    Deviation: (b) is taken for every transverse orientation, as planning systems write it; where a
    transverse grid starts at z = 0 and its normal points down, (a) and (b) contradict each other unseen,
    so it is refused.
    """
    offsets = np.array(file.numbers("GridFrameOffsetVector"))
    if len(offsets) != frames:
        raise SourceError(f"{len(offsets)} frame offsets for {frames} dose planes", EXPORT_AGAIN)
    steps = np.diff(offsets)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise SourceError("the dose planes' offsets neither rise nor fall throughout", EXPORT_AGAIN)
    first = np.array(file.numbers("ImagePositionPatient", 3))
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
