"""RTSTRUCT objects: which images and frames of reference they were drawn on; contours are not needed."""

from __future__ import annotations

from dataclasses import dataclass

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, items, quietly, read_dataset, text, texts
from ricenet.importing.dicom.instances import Instance
from ricenet.runtime.errors import SourceError

_KEYWORDS = (
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
)


@dataclass(frozen=True)
class StructureSet:
    """References of one RTSTRUCT. image_series_uids: SeriesInstanceUIDs of the contoured images."""

    sop_instance_uid: str
    frame_of_reference_uids: tuple[str, ...]
    image_series_uids: tuple[str, ...]


@quietly()
def read_structures(instance: Instance) -> StructureSet:
    """Read an RTSTRUCT file's references.

    frame_of_reference_uids: of the images first, then of regions drawn without any.
    Raises SourceError: unreadable, or without any reference.
    Source: DICOM PS3.3 C.8.8.5.
    """
    dataset = read_dataset(instance.path, _KEYWORDS)
    spaces = items(dataset, "ReferencedFrameOfReferenceSequence")
    frames = (
        *texts(spaces, "FrameOfReferenceUID"),
        *texts(items(dataset, "StructureSetROISequence"), "ReferencedFrameOfReferenceUID"),
    )
    series = [
        one
        for space in spaces
        for one in items(space, "RTReferencedStudySequence", "RTReferencedSeriesSequence")
    ]
    if not frames and not series:
        raise SourceError("an RTSTRUCT that refers to no images and no frame of reference", EXPORT_AGAIN)
    return StructureSet(
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        frame_of_reference_uids=tuple(dict.fromkeys(frames)),
        image_series_uids=texts(series, "SeriesInstanceUID"),
    )
