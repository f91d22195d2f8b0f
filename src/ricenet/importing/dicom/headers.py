"""One file's header to an instance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ricenet.importing.dicom.datasets import (
    EXPORT_AGAIN,
    day,
    faults_as,
    has,
    is_decoded,
    parse,
    text,
    whole_number,
)
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.people import PERSON_KEYWORDS, person_of
from ricenet.importing.dicom.pixel_extent import SIZE_KEYWORDS, check_extent
from ricenet.importing.dicom.sop_classes import MEDIA_DIRECTORY, kind_of
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDescription",
    "PatientID",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    *PERSON_KEYWORDS,
    *SIZE_KEYWORDS,
)
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "PatientID", "SeriesInstanceUID")
_IDENTIFYING = (*_REQUIRED, "StudyInstanceUID", "FrameOfReferenceUID")

_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh")
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""Groups that a dataset without a preamble starts with."""

_NO_AGENT = frozenset({"", "NO", "NONE", "N", "N/A", "NA", "WITHOUT", "NO CONTRAST", "OHNE", "KEINE"})
"""What scanners' operators write where there was none."""


class NoDicomError(SourceError):
    """A file of another format: no part of any series, damaged or not."""


def read_header(path: Path) -> Instance | None:
    """What a file's header says; None for indices (DICOMDIR) and hidden files that are no DICOM.

    Raises NoDicomError; SourceError: damaged, cut short (pixel data included), or without identity.
    """
    unopened = "a file cannot be opened", "Check its permissions"
    with faults_as(*unopened):
        # fails, rather than says no, in a folder that may be listed but not entered
        is_file = path.is_file()
    if not is_file:
        raise SourceError("a broken link, or neither a file nor a folder", "Check what it points to")
    with faults_as(*unopened), path.open("rb") as stream:
        start = stream.read(132)
        if not _may_be_dicom(start):
            if path.name.startswith("."):
                return None
            raise _no_dicom(start)
        stream.seek(0)
        return _instance(path, stream, has_preamble=start[128:] == b"DICM")


def _may_be_dicom(start: bytes) -> bool:
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] in _FIRST_GROUPS)


def _no_dicom(start: bytes) -> SourceError:
    if not start:
        return SourceError("an empty file", EXPORT_AGAIN)
    if start.startswith(_ARCHIVES):
        return NoDicomError("an archive or compressed file", "Unpack it if it holds DICOM files")
    return NoDicomError("no DICOM file", "Nothing needs to be done if it does not belong to the images")


def _instance(path: Path, stream: BinaryIO, has_preamble: bool) -> Instance | None:
    dataset = parse(stream, _KEYWORDS)
    if text(dataset.file_meta, "MediaStorageSOPClassUID") == MEDIA_DIRECTORY:
        return None
    if not has_preamble and not text(dataset, "SOPClassUID"):
        raise _no_dicom(b"?")
    missing = [keyword for keyword in _REQUIRED if not text(dataset, keyword)]
    if missing:
        raise SourceError(f"a DICOM file without {' and '.join(missing)}", EXPORT_AGAIN)
    _check_decoded(dataset)
    instance = _described(path, dataset)
    if instance.kind in ("MR", "CT") or (instance.kind == "RTDOSE" and has(dataset, "Rows")):
        _check_pixels(stream, dataset, instance)
    return instance


def _check_decoded(dataset: FileDataset) -> None:
    """Two identifiers that differ in characters that cannot be decoded would become one."""
    lost = [keyword for keyword in _IDENTIFYING if not is_decoded(text(dataset, keyword))]
    if lost:
        raise SourceError(
            f"{' and '.join(lost)} with characters that cannot be decoded",
            "Export it again with the SpecificCharacterSet that it is written in, or with plain identifiers",
        )


def _check_pixels(stream: BinaryIO, dataset: FileDataset, instance: Instance) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    # deflated files were unpacked as a whole, which fails where they are cut short
    if instance.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        check_extent(stream, dataset)


def _described(path: Path, dataset: FileDataset) -> Instance:
    return Instance(
        path=path,
        kind=kind_of(text(dataset, "SOPClassUID")),
        patient_id=text(dataset, "PatientID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        transfer_syntax_uid=text(dataset.file_meta, "TransferSyntaxUID"),
        date=day(dataset, "StudyDate"),
        series_number=whole_number(dataset, "SeriesNumber"),
        series_description=text(dataset, "SeriesDescription"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        contrast_agent=_names_agent(dataset),
        frames=max(1, whole_number(dataset, "NumberOfFrames") or 1),
        person=person_of(dataset),
    )


def _names_agent(dataset: Dataset) -> bool:
    if text(dataset, "ContrastBolusAgent").upper() not in _NO_AGENT:
        return True
    return has(dataset, "ContrastBolusAgentSequence")
