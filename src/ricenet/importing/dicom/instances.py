"""What is known of DICOM files by their headers: instances, series, and a folder tree of them.

Everything here may identify a patient: it stays in memory, or in files that the user keeps beside
the cohort, never in it, in a log or in an error.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

Kind = Literal["MR", "CT", "RTDOSE", "RTPLAN", "RTSTRUCT", "other"]
"""By SOP class, not by the tag Modality: a secondary capture of an MR is `other`."""

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR: an index of files, no data of its own."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SOP_CLASSES: dict[Kind, tuple[str, ...]] = {
    "CT": ("2", "2.1", "2.2"),  # single-frame, enhanced, legacy converted enhanced
    "MR": ("4", "4.1", "4.4"),
    "RTDOSE": ("481.2",),
    "RTSTRUCT": ("481.3",),
    "RTPLAN": ("481.5", "481.8"),  # of photons and electrons; of ions, protons among them
}
_KINDS: dict[str, Kind] = {_STORAGE + end: kind for kind, ends in _SOP_CLASSES.items() for end in ends}


def kind_of(sop_class_uid: str) -> Kind:
    """What objects of a SOP class are.

    Source: DICOM PS3.6, table A-1.

    >>> kind_of("1.2.840.10008.5.1.4.1.1.481.8"), kind_of("1.2.840.10008.5.1.4.1.1.7")
    ('RTPLAN', 'other')
    """
    return _KINDS.get(sop_class_uid, "other")


@dataclass(frozen=True)
class Instance:
    """One DICOM file. Absent texts are empty.

    date: of the study; None where missing or one that cannot be true (`dates.can_be_true`). series_date: of
    the acquisition or series, likewise. contrast_agent: whether the tag names one; None where it is silent.
    shape: columns and rows. localizer: whether ImageType says so. notes: what people should know of it.
    planes: of an RTDOSE, the further objects that hold its other planes (`joined.joined_planes`).
    """

    path: Path
    kind: Kind
    patient_id: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    date: datetime.date | None
    series_number: int | None
    series_description: str
    frame_of_reference_uid: str
    contrast_agent: bool | None
    frames: int = 1
    person: str = ""
    """Birth date and sex as a digest, empty without both (`headers.person_of`): two of them under one
    PatientID are two people."""
    series_date: datetime.date | None = None
    echo_time_ms: float | None = None
    shape: tuple[int, int] = (0, 0)
    localizer: bool = False
    notes: tuple[str, ...] = ()
    planes: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Series:
    """Instances of one SeriesInstanceUID and one patient, by path; at least one, each SOP instance once.

    unusable: how many further files of the series cannot be used; an image is not read without them.
    reasons: why, each once; as harmless as `Unusable.found`. leaves_out_localizers: by the user's word.
    """

    instances: tuple[Instance, ...]
    unusable: int = 0
    reasons: tuple[str, ...] = ()
    leaves_out_localizers: bool = False

    @property
    def first(self) -> Instance:
        """Any instance: what it says of patient, study and series holds for all."""
        return self.instances[0]

    @property
    def kind(self) -> Kind:
        """What the instances are."""
        return self.first.kind

    @property
    def uid(self) -> str:
        """SeriesInstanceUID; of slices that have one each, the smallest."""
        return min(instance.series_uid for instance in self.instances)

    @property
    def uids(self) -> frozenset[str]:
        """Every SeriesInstanceUID of the instances."""
        return frozenset(instance.series_uid for instance in self.instances)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the series: of its instances, each once."""
        return tuple(dict.fromkeys(note for instance in self.instances for note in instance.notes))

    @property
    def slices(self) -> int:
        """Number of images: files, or frames of multi-frame files."""
        return sum(instance.frames for instance in self.instances)


@dataclass(frozen=True)
class Unusable:
    """A file that is excluded: `found` and `remedy` without anything that identifies a patient.

    patient_id, series_uid, sop_instance_uid: what it was part of, empty where nothing says so; that series
    is incomplete.
    """

    path: Path
    found: str
    remedy: str
    patient_id: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class DicomTree:
    """All that a folder tree holds. series: ordered by patient, date, series number and UID."""

    root: Path
    series: tuple[Series, ...]
    unusable: tuple[Unusable, ...]

    @cached_property
    def patient_ids(self) -> tuple[str, ...]:
        """Every PatientID, sorted."""
        return tuple(sorted(self._by_patient))

    def of_patient(self, patient_id: str) -> tuple[Series, ...]:
        """One patient's series; none of a patient who is not there."""
        return tuple(self._by_patient.get(patient_id, ()))

    @cached_property
    def _by_patient(self) -> dict[str, list[Series]]:
        found: dict[str, list[Series]] = {}
        for series in self.series:
            found.setdefault(series.first.patient_id, []).append(series)
        return found
