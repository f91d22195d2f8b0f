"""What an RTDOSE states of itself, read without its voxels: enough to see which doses belong together."""

from __future__ import annotations

from dataclasses import dataclass

from ricenet.importing.dicom.datasets import code, has, items, quietly, read_dataset, text, texts
from ricenet.importing.dicom.instances import Instance

_KEYWORDS = (
    *("DoseSummationType", "FrameOfReferenceUID", "Rows"),
    *("ReferencedRTPlanSequence", "ReferencedStructureSetSequence"),
)


@dataclass(frozen=True)
class DoseHeader:
    """As `DoseObject` has them. has_grid: False for an object of dose-volume histograms alone."""

    summation_type: str
    frame_of_reference_uid: str
    plan_uids: tuple[str, ...]
    structure_set_uids: tuple[str, ...]
    has_grid: bool


@quietly()
def read_dose_header(instance: Instance) -> DoseHeader:
    """Read an RTDOSE file up to its voxels.

    Raises SourceError: unreadable.
    Source: DICOM PS3.3 C.8.8.3.
    """
    dataset = read_dataset(instance.path, _KEYWORDS)
    return DoseHeader(
        summation_type=code(dataset, "DoseSummationType"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        plan_uids=texts(items(dataset, "ReferencedRTPlanSequence"), "ReferencedSOPInstanceUID"),
        structure_set_uids=texts(
            items(dataset, "ReferencedStructureSetSequence"), "ReferencedSOPInstanceUID"
        ),
        has_grid=has(dataset, "Rows"),
    )
