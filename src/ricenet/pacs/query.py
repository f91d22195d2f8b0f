"""What a PACS lists of a patient: studies, their series, and the objects of these (QIDO-RS).

Source: DICOM PS3.18, 10.6 (search) and F.2 (DICOM JSON).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ricenet.pacs.connection import Pacs
from ricenet.runtime.errors import PacsError

Dataset = Mapping[str, Any]
"""In DICOM JSON: by tag, its VR and its values."""

_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"
_PATIENT_ID, _STUDY_DATE, _MODALITY = "00100020", "00080020", "00080060"
_SERIES_IN_STUDY, _OBJECTS_IN_SERIES = "00201206", "00201209"

_ENCODED, _LEAST_PLAIN = re.compile(r"[^A-Za-z0-9._~-]+"), 3
"""What an address holds in another form; and how many other characters tell a PatientID from most."""

_UID = re.compile(r"[0-9][0-9.]{0,127}")
"""Also those that break the standard's rules on length and zeros, as some scanners' do; never a path."""


@dataclass(frozen=True)
class ListedStudy:
    """A study. date: None where it has none. series: how many the PACS says that it has, if it does."""

    uid: str
    patient_id: str
    date: date | None
    series: int | None


@dataclass(frozen=True)
class ListedSeries:
    """A series. modality: empty where the PACS does not say. objects: how many it says that it has."""

    study_uid: str
    uid: str
    modality: str
    objects: int | None


def studies_of(pacs: Pacs, patient_id: str) -> tuple[ListedStudy, ...]:
    """Studies that a PACS finds by a PatientID; some find what differs in case, or under any at all.

    Some servers (Orthanc's DICOMweb plug-in 1.7) compare with what stands in the address, not decoded, and
    find nobody whose PatientID holds blanks, slashes or umlauts: they are asked with wildcards instead.
    Raises PacsError: it does not answer, refuses, or answers something else.
    """
    found = _studies_like(pacs, patient_id)
    pattern = _ENCODED.sub("*", patient_id)
    if any(study.patient_id == patient_id for study in found) or pattern == patient_id:
        return found
    # of fewer plain characters, everybody would be found
    return _studies_like(pacs, pattern) if len(pattern.replace("*", "")) >= _LEAST_PLAIN else found


def _studies_like(pacs: Pacs, pattern: str) -> tuple[ListedStudy, ...]:
    def search(offset: int | None) -> Sequence[Dataset]:
        return pacs.client.search_for_studies(
            fields=["PatientID", "StudyDate", "NumberOfStudyRelatedSeries"],
            search_filters={"PatientID": pattern},
            offset=offset,
        )

    return tuple(
        ListedStudy(uid, _text(one, _PATIENT_ID), _day(one), _count(one, _SERIES_IN_STUDY))
        for uid, one in _found(pacs, search, _STUDY_UID, None)[0].items()
    )


def series_of(pacs: Pacs, study: ListedStudy) -> tuple[ListedSeries, ...]:
    """The series of a study. Raises PacsError: as `studies_of`."""

    def search(offset: int | None) -> Sequence[Dataset]:
        fields = ["Modality", "NumberOfSeriesRelatedInstances"]
        return pacs.client.search_for_series(study.uid, fields=fields, offset=offset)

    return tuple(
        ListedSeries(study.uid, uid, _text(one, _MODALITY).upper(), _count(one, _OBJECTS_IN_SERIES))
        for uid, one in _found(pacs, search, _SERIES_UID, study.series)[0].items()
    )


def objects_of(pacs: Pacs, series: ListedSeries) -> tuple[tuple[str, ...], int]:
    """SOPInstanceUIDs of a series, each once; and how many more objects the PACS counts than it lists.

    Raises PacsError: as `studies_of`.
    """

    def search(offset: int | None) -> Sequence[Dataset]:
        return pacs.client.search_for_instances(series.study_uid, series.uid, offset=offset)

    found, listed = _found(pacs, search, _SOP_UID, series.objects)
    return tuple(found), max(0, (series.objects or 0) - listed)


def _found(
    pacs: Pacs, search: Callable[[int | None], Sequence[Dataset]], uid_tag: str, expected: int | None
) -> tuple[dict[str, Dataset], int]:
    """All results by UID, page by page; and how many there are, those included that are listed twice.

    expected: how many there are, if that is known; else it is asked until nothing new comes, since a server
    may give fewer than it finds, and may take no notice of the offset.
    """
    found: dict[str, Dataset] = {}
    listed = 0
    while True:
        with pacs.answers():
            page = list(search(listed or None))
        results = {_uid(pacs, one, uid_tag): one for one in page}
        if not results.keys() - found.keys():
            return found, listed
        found = results | found
        listed += len(page)
        if expected is not None and len(found) >= expected:
            return found, listed


def _uid(pacs: Pacs, dataset: Any, tag: str) -> str:
    uid = _text(dataset, tag) if isinstance(dataset, dict) else ""
    if not _UID.fullmatch(uid):
        raise PacsError(
            f"the PACS {pacs.address} lists something without a valid UID, so this is no answer of DICOMweb. "
            "Check the address of its DICOMweb service"
        )
    return uid


def _text(dataset: Dataset, tag: str) -> str:
    """The first value as text; empty where there is none, or something else than DICOM JSON."""
    element = dataset.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return str(value).strip(" \0") if isinstance(value, str | int) else ""


def _count(dataset: Dataset, tag: str) -> int | None:
    text = _text(dataset, tag)
    return int(text) if text.isascii() and text.isdigit() else None


def _day(dataset: Dataset) -> date | None:
    try:
        return datetime.strptime(_text(dataset, _STUDY_DATE), "%Y%m%d").date()
    except ValueError:
        return None
