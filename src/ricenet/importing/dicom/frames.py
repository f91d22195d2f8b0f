"""MR and CT files to frames: where each image lies, its stored values, and how these are scaled.

A single-frame file is one frame; an enhanced one holds many, and says some things once for all
(shared functional groups) and some of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, DicomFile, Elements, read_file
from ricenet.importing.dicom.geometry import Plane
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.pixels import PIXEL_KEYWORDS, check_grey, stored_values
from ricenet.importing.dicom.variants import VARIANT_KEYWORDS, variants_of
from ricenet.runtime.errors import SourceError

_SHARED = "SharedFunctionalGroupsSequence"
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_PLACE_KEYWORDS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", _SHARED, _PER_FRAME),
)
_KEYWORDS = (
    *VARIANT_KEYWORDS,
    *PIXEL_KEYWORDS,
    *_PLACE_KEYWORDS,
    *("RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
)


@dataclass(frozen=True)
class Frame:
    """One image. stored: integers (rows, columns); value = stored * slope + intercept.

    variants: as `variants_of` gives them.
    """

    plane: Plane
    stored: NDArray[Any]
    slope: float
    intercept: float
    stack_id: str
    variants: dict[str, str]


def frames_of(instance: Instance) -> list[Frame]:
    """All frames of an MR or CT file, which is read once.

    Raises SourceError: colour, without position, orientation, spacing or functional groups, CT without
    its rescaling to HU, pixel data cut short or not decodable.
    Source: DICOM PS3.3 C.7.6.2 (plane), C.7.6.16 (functional groups), C.11.1 (rescaling).
    """
    file = read_file(instance.path, _KEYWORDS, pixels=True)
    check_grey(file)
    if file.has("ModalityLUTSequence"):
        raise SourceError("stored values that are scaled by a table, not linearly", EXPORT_AGAIN)
    groups, images = _groups_by_frame(file, instance), stored_values(file)
    if len(groups) != len(images):
        raise SourceError(f"{len(images)} images are stored, {len(groups)} are described", EXPORT_AGAIN)
    return [_frame(file, sources, instance, image) for sources, image in zip(groups, images, strict=True)]


def planes_of(instance: Instance) -> list[Plane]:
    """Where the images of an MR or CT file lie, by its header alone.

    Raises SourceError: without position, orientation, spacing or functional groups.
    """
    file = read_file(instance.path, _PLACE_KEYWORDS)
    return [_plane(file, sources) for sources in _groups_by_frame(file, instance)]


def _groups_by_frame(file: DicomFile, instance: Instance) -> list[list[Elements]]:
    """For each frame the datasets that speak of it, the most particular first."""
    if not file.has(_PER_FRAME):
        if instance.frames > 1 or file.has(_SHARED):
            raise SourceError("a multi-frame file that does not say where its frames lie", EXPORT_AGAIN)
        return [[file]]
    of_frames, shared = file.items(_PER_FRAME), file.items(_SHARED)
    stated = file.whole_number("NumberOfFrames") or 1
    if len(of_frames) != stated:
        raise SourceError(f"{len(of_frames)} frames are described, {stated} are stated", EXPORT_AGAIN)
    return [[frame, *shared] for frame in of_frames]


def _frame(file: DicomFile, sources: Sequence[Elements], instance: Instance, stored: NDArray[Any]) -> Frame:
    slope, intercept = _rescaling(_macro(sources, "PixelValueTransformationSequence"), instance)
    contents = [item for source in sources for item in source.items("FrameContentSequence")]
    return Frame(
        plane=_plane(file, sources),
        stored=stored,
        slope=slope,
        intercept=intercept,
        stack_id=contents[0].text("StackID") if contents else "",
        variants=variants_of(sources),
    )


def _macro(sources: Sequence[Elements], keyword: str) -> Elements:
    """The item of a functional group; where there is none, what says it without groups."""
    return next((found[0] for source in sources if (found := source.items(keyword))), sources[0])


def _plane(file: DicomFile, sources: Sequence[Elements]) -> Plane:
    return Plane(
        position_mm=_macro(sources, "PlanePositionSequence").numbers("ImagePositionPatient", 3),
        orientation=_macro(sources, "PlaneOrientationSequence").numbers("ImageOrientationPatient", 6),
        spacing_mm=_macro(sources, "PixelMeasuresSequence").numbers("PixelSpacing", 2),
        shape=(file.whole_number("Columns") or 0, file.whole_number("Rows") or 0),
    )


def _rescaling(source: Elements, instance: Instance) -> tuple[float, float]:
    slope, intercept = source.number("RescaleSlope"), source.number("RescaleIntercept")
    if slope is None and intercept is None and instance.kind == "MR":
        return 1.0, 0.0
    if slope is None or intercept is None:
        raise SourceError("RescaleSlope or RescaleIntercept is missing", EXPORT_AGAIN)
    if slope == 0:
        raise SourceError("RescaleSlope is 0", EXPORT_AGAIN)
    return slope, intercept
