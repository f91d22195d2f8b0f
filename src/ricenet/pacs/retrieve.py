"""Objects as a PACS holds them, byte by byte (WADO-RS).

They are asked for in the transfer syntax that they are stored in, so that nothing is decompressed on the way;
uncompressed where the server refuses that.
Source: DICOM PS3.18, 10.4 (retrieve), 8.7.3.5.2 (transfer syntax *).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ricenet.importing.dicom.datasets import faults_as, quietly
from ricenet.pacs.connection import Pacs
from ricenet.pacs.fetched_folder import FetchedFolder
from ricenet.pacs.query import ListedSeries
from ricenet.runtime.errors import PacsAwayError, PacsError, SourceError

_MediaTypes = tuple[str | tuple[str, str], ...]
"""With the transfer syntax, or without."""

_AS_STORED: _MediaTypes = (("application/dicom", "*"),)
_UNCOMPRESSED: _MediaTypes = ("application/dicom",)
_NOT_SO = 406
_MOST_REFUSED = 3
"""Objects of a series in succession, after which no more of it are asked for."""


@dataclass
class Delivered:
    """What came of a series. sop_uids: of new objects. lacking: objects that do not come.

    damaged: how many of these came, and cannot be read. contradictory: how many came once more with other
    content, kept beside the first. renamed: objects that state another PatientID. refusal: the last one.
    """

    sop_uids: set[str] = field(default_factory=set)
    size_bytes: int = 0
    lacking: list[str] = field(default_factory=list)
    damaged: int = 0
    contradictory: int = 0
    renamed: int = 0
    refusal: PacsError | None = None


def objects_of_series(pacs: Pacs, series: ListedSeries) -> Iterator[tuple[str, bytes]]:
    """SOPInstanceUID and content of every object of a series, as they arrive.

    Raises PacsError. SourceError: something that is no DICOM object.
    """
    for media_types in (_AS_STORED, _UNCOMPRESSED):
        try:
            with faults_as("no DICOM object"), pacs.answers(), quietly():
                for dataset in pacs.client.iter_series(series.study_uid, series.uid, media_types=media_types):
                    # as it came: written anew, one that was cut short would look whole
                    yield str(dataset.get("SOPInstanceUID", "")), dataset.buffer.getvalue()
            return
        except PacsError as error:
            # a server may be unable to send them as they are
            if error.status != _NOT_SO or media_types == _UNCOMPRESSED:
                raise


def one_object(pacs: Pacs, series: ListedSeries, sop_uid: str) -> bytes:
    """The content of one object. Raises as `objects_of_series`."""
    try:
        return _one_object(pacs, series, sop_uid, _AS_STORED)
    except PacsError as error:
        if error.status != _NOT_SO:
            raise
        return _one_object(pacs, series, sop_uid, _UNCOMPRESSED)


def _one_object(pacs: Pacs, series: ListedSeries, sop_uid: str, media_types: _MediaTypes) -> bytes:
    with faults_as("no DICOM object"), pacs.answers(), quietly():
        dataset = pacs.client.retrieve_instance(
            series.study_uid, series.uid, sop_uid, media_types=media_types
        )
        content: bytes = dataset.buffer.getvalue()
        return content


class SeriesFetch:
    """Fetching what is missing of one series. patient_id: whose the PACS says it is."""

    def __init__(self, pacs: Pacs, folder: FetchedFolder, series: ListedSeries, patient_id: str) -> None:
        self._pacs, self._folder, self._series, self._patient_id = pacs, folder, series, patient_id
        self._digests: dict[str, bytes] = {}
        self.delivered = Delivered()

    def run(self, sop_uids: tuple[str, ...]) -> Iterator[None]:
        """Fetch the objects that are not there; yields after each.

        A new series is asked for as a whole, what that leaves out one by one.
        Raises PacsError: the server is away, or refuses this user. CohortError: the disk is full, or
        the like.
        """
        wanted = [uid for uid in sop_uids if not self._folder.has(self._series, uid)]
        if len(wanted) == len(sop_uids):
            yield from self._as_a_whole(frozenset(wanted))
        refused = 0
        for uid in wanted:
            if uid in self.delivered.sop_uids:
                continue
            if refused < _MOST_REFUSED and self._singly(uid):
                refused = 0
            else:
                refused += 1
                self.delivered.lacking.append(uid)
            yield

    def _as_a_whole(self, wanted: frozenset[str]) -> Iterator[None]:
        try:
            for uid, content in objects_of_series(self._pacs, self._series):
                if uid in wanted and self._kept(uid, content):
                    yield
        except PacsAwayError:
            # what breaks off on the way may come in smaller parts
            if not self.delivered.sop_uids:
                raise
        except (PacsError, SourceError):
            return

    def _singly(self, uid: str) -> bool:
        """Whether an object comes. Raises PacsError: none can come."""
        try:
            self._kept(uid, one_object(self._pacs, self._series, uid))
        except PacsError as error:
            if isinstance(error, PacsAwayError) or error.status == 401:
                raise
            self.delivered.refusal = error
            return False
        except SourceError:
            self.delivered.damaged += 1
            return False
        return True

    def _kept(self, uid: str, content: bytes) -> bool:
        """Keep an object; whether it is a new one. Raises SourceError: it is damaged."""
        delivered, digest = self.delivered, hashlib.sha256(content).digest()
        if uid in delivered.sop_uids:
            if digest != self._digests[uid]:
                delivered.contradictory += 1
                self._folder.keep(self._series, f"{uid}-{delivered.contradictory}", content)
            return False
        stated = self._folder.keep(self._series, uid, content)
        self._digests[uid] = digest
        delivered.sop_uids.add(uid)
        delivered.size_bytes += len(content)
        delivered.renamed += stated.patient_id != self._patient_id
        return True
