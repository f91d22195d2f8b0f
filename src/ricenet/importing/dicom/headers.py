"""One file's header to an instance; of a file that cannot be used, what it was part of."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ricenet.importing.dicom.contrast import agent_given
from ricenet.importing.dicom.datasets import (
    EXPORT_AGAIN,
    DicomFile,
    Elements,
    faults_as,
    is_cut_short,
    is_decoded,
    parse,
)
from ricenet.importing.dicom.dates import date_notes, day_of
from ricenet.importing.dicom.instances import MEDIA_DIRECTORY, Instance, Kind, Unusable, kind_of
from ricenet.importing.dicom.pixels import SIZE_KEYWORDS, check_extent
from ricenet.runtime.errors import SourceError

_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "PatientID", "SeriesInstanceUID")
_IDENTIFYING = (*_REQUIRED, "StudyInstanceUID", "FrameOfReferenceUID")
_KEYWORDS = (
    *_IDENTIFYING,
    *("StudyDate", "SeriesDate", "AcquisitionDate", "SeriesDescription", "SeriesNumber"),
    *("ContrastBolusAgent", "ContrastBolusAgentSequence", "EchoTime", "ImageType"),
    *("PatientBirthDate", "PatientSex", "GridFrameOffsetVector"),
    *SIZE_KEYWORDS,
)

_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh")
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""Groups that a file without a preamble starts with."""

_SERIES_UID = 0x0020000E
_IDENTITY_TAGS = [0x00080018, 0x00100020, _SERIES_UID]
"""SOPInstanceUID, PatientID, SeriesInstanceUID, which stand in a file in this order."""


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
        has_preamble = start[128:] == b"DICM"
        if not has_preamble and not (len(start) == 132 and start[:2] in _FIRST_GROUPS):
            if path.name.startswith("."):
                return None
            raise _no_dicom(start)
        stream.seek(0)
        return _instance(path, stream, has_preamble)


def person_of(file: Elements) -> str:
    """Birth date and sex as a digest; empty unless both are stated.

    Names are not part of it, since systems spell them differently. A sex other than F and M counts as not
    stated: planning systems and anonymisers write O where they know none, and a person's dose would be of
    somebody else than their MRI.
    """
    born, sex = file.day("PatientBirthDate"), file.code("PatientSex")
    if born is None or sex not in ("F", "M"):
        return ""
    return hashlib.sha256(f"{born.isoformat()} {sex}".encode()).hexdigest()


def unusable_file(path: Path, error: SourceError) -> Unusable:
    """A file that cannot be used, with as much of its identity as its first part still says."""
    from pydicom.filereader import read_partial

    excluded = Unusable(path, error.found, error.remedy)
    # whatever fails here failed before, and has been reported
    with contextlib.suppress(SourceError), faults_as("the file's identity cannot be read"):
        if not path.is_file():
            return excluded
        with path.open("rb") as stream:
            partial = read_partial(
                stream,
                stop_when=lambda tag, vr, length: tag > _SERIES_UID,
                force=True,
                specific_tags=_IDENTITY_TAGS,
            )
            beginning = DicomFile(partial)
            if is_cut_short(beginning, stream):
                return excluded
        instance, patient, series = (
            beginning.text(keyword) for keyword in ("SOPInstanceUID", "PatientID", "SeriesInstanceUID")
        )
        # two undecodable identifiers may look like one
        patient = patient if is_decoded(patient) else ""
        return replace(excluded, patient_id=patient, series_uid=series, sop_instance_uid=instance)
    return excluded


def _no_dicom(start: bytes) -> SourceError:
    if not start:
        return SourceError("an empty file", EXPORT_AGAIN)
    if start.startswith(_ARCHIVES):
        return NoDicomError("an archive or compressed file", "Unpack it if it holds DICOM files")
    return NoDicomError("no DICOM file", "Nothing needs to be done if it does not belong to the images")


def _instance(path: Path, stream: BinaryIO, has_preamble: bool) -> Instance | None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = parse(stream, _KEYWORDS)
    if file.media_class == MEDIA_DIRECTORY:
        return None
    if not has_preamble and not file.text("SOPClassUID"):
        raise _no_dicom(b"?")
    _check_identity(file)
    instance = _described(path, file)
    has_pixels = instance.kind in ("MR", "CT") or (instance.kind == "RTDOSE" and file.has("Rows"))
    # deflated files were unpacked as a whole, which fails where they are cut short
    if has_pixels and file.transfer_syntax != DeflatedExplicitVRLittleEndian:
        check_extent(stream, file)
    return instance


def _check_identity(file: DicomFile) -> None:
    """Two identifiers that differ in characters that cannot be decoded would become one."""
    if missing := [keyword for keyword in _REQUIRED if not file.text(keyword)]:
        raise SourceError(f"a DICOM file without {' and '.join(missing)}", EXPORT_AGAIN)
    if lost := [keyword for keyword in _IDENTIFYING if not is_decoded(file.text(keyword))]:
        raise SourceError(
            f"{' and '.join(lost)} with characters that cannot be decoded",
            "Export it again with the SpecificCharacterSet that it is written in, or with plain identifiers",
        )


def _measured(file: Elements, keyword: str) -> float | None:
    """A number above 0 for proposals; what is malformed says nothing, and fails where it is needed."""
    with contextlib.suppress(SourceError):
        return file.number(keyword) or None
    return None


def _frames(file: Elements, kind: Kind) -> int:
    """As stated; the planes of an RTDOSE that states none are as many as its offsets."""
    stated = file.whole_number("NumberOfFrames")
    if stated is None and kind == "RTDOSE" and file.has("GridFrameOffsetVector"):
        return file.text("GridFrameOffsetVector").count("\\") + 1
    return stated or 1


def _described(path: Path, file: DicomFile) -> Instance:
    kind = kind_of(file.text("SOPClassUID"))
    is_image = kind in ("MR", "CT")
    agent = agent_given(file.text("ContrastBolusAgent"))
    if agent is None and file.has("ContrastBolusAgentSequence"):
        agent = True
    return Instance(
        path=path,
        kind=kind,
        patient_id=file.text("PatientID"),
        study_uid=file.text("StudyInstanceUID"),
        series_uid=file.text("SeriesInstanceUID"),
        sop_instance_uid=file.text("SOPInstanceUID"),
        date=day_of(file, "StudyDate"),
        series_number=file.whole_number("SeriesNumber"),
        series_description=file.text("SeriesDescription"),
        frame_of_reference_uid=file.text("FrameOfReferenceUID"),
        contrast_agent=agent,
        frames=max(1, _frames(file, kind)),
        person=person_of(file),
        series_date=day_of(file, "AcquisitionDate", "SeriesDate") if is_image else None,
        echo_time_ms=_measured(file, "EchoTime"),
        shape=(file.whole_number("Columns") or 0, file.whole_number("Rows") or 0),
        localizer="LOCALIZER" in file.code("ImageType").split("\\")[2:],
        notes=date_notes(file) if is_image else (),
    )
