"""MR and CT files to frames: where each image lies and how its numbers are scaled.

A single-frame file is one frame; an enhanced one holds many, and says some things once for all
(shared functional groups) and some of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ricenet.importing.dicom.datasets import (
    EXPORT_AGAIN,
    has,
    items,
    number,
    numbers,
    read_dataset,
    text,
    whole_number,
)
from ricenet.importing.dicom.geometry import Plane
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.pixels import check_grey
from ricenet.importing.dicom.variants import VARIANT_KEYWORDS, variants_of
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_SHARED = "SharedFunctionalGroupsSequence"
_PER_FRAME = "PerFrameFunctionalGroupsSequence"

_KEYWORDS = (
    *VARIANT_KEYWORDS,
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    _SHARED,
    _PER_FRAME,
)


@dataclass(frozen=True)
class Frame:
    """One image of a file. value = stored * slope + intercept. variants: as `variants_of` gives them."""

    instance: Instance
    index: int
    plane: Plane
    slope: float
    intercept: float
    stack_id: str
    variants: dict[str, str]


def frames_of(instance: Instance) -> list[Frame]:
    """All frames of an MR or CT file.

    Raises SourceError: colour, without position, orientation, spacing or functional groups, CT without
    its rescaling to HU.
    Source: DICOM PS3.3 C.7.6.2 (plane), C.7.6.16 (functional groups), C.11.1 (rescaling).
    """
    dataset = read_dataset(instance.path, _KEYWORDS)
    check_grey(dataset)
    if has(dataset, "ModalityLUTSequence"):
        raise SourceError("stored values that are scaled by a table, not linearly", EXPORT_AGAIN)
    groups = _groups_by_frame(dataset, instance)
    return [_frame(instance, index, dataset, sources) for index, sources in enumerate(groups)]


def _groups_by_frame(dataset: FileDataset, instance: Instance) -> list[list[Dataset]]:
    """For each frame the datasets that speak of it, the most particular first."""
    if not has(dataset, _PER_FRAME):
        if instance.frames > 1 or has(dataset, _SHARED):
            raise SourceError("a multi-frame file that does not say where its frames lie", EXPORT_AGAIN)
        return [[dataset]]
    of_frames, shared = items(dataset, _PER_FRAME), items(dataset, _SHARED)
    stated = whole_number(dataset, "NumberOfFrames") or 1
    if len(of_frames) != stated:
        raise SourceError(f"{len(of_frames)} frames are described, {stated} are stated", EXPORT_AGAIN)
    return [[frame, *shared] for frame in of_frames]


def _frame(instance: Instance, index: int, dataset: FileDataset, sources: Sequence[Dataset]) -> Frame:
    slope, intercept = _rescaling(_macro(sources, "PixelValueTransformationSequence"), instance)
    contents = [item for source in sources for item in items(source, "FrameContentSequence")]
    return Frame(
        instance=instance,
        index=index,
        plane=_plane(dataset, sources),
        slope=slope,
        intercept=intercept,
        stack_id=text(contents[0], "StackID") if contents else "",
        variants=variants_of(sources),
    )


def _macro(sources: Sequence[Dataset], keyword: str) -> Dataset:
    """The item of a functional group; where there is none, what says it without groups."""
    for source in sources:
        found = items(source, keyword)
        if found:
            return found[0]
    return sources[0]


def _plane(dataset: FileDataset, sources: Sequence[Dataset]) -> Plane:
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    spacing = numbers(_macro(sources, "PixelMeasuresSequence"), "PixelSpacing", 2)
    if not rows or not columns or min(spacing) <= 0:
        raise SourceError("Rows, Columns or PixelSpacing is not positive", EXPORT_AGAIN)
    return Plane(
        position_mm=numbers(_macro(sources, "PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=numbers(_macro(sources, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing_mm=spacing,
        shape=(columns, rows),
    )


def _rescaling(source: Dataset, instance: Instance) -> tuple[float, float]:
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    if slope is None and intercept is None and instance.kind == "MR":
        return 1.0, 0.0
    if slope is None or intercept is None:
        raise SourceError("RescaleSlope or RescaleIntercept is missing", EXPORT_AGAIN)
    if slope == 0:
        raise SourceError("RescaleSlope is 0", EXPORT_AGAIN)
    return slope, intercept
