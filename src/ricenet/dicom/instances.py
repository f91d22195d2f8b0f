"""What is known of DICOM files by their headers: instances, series, and a folder tree of them.

Everything here may identify a patient: it stays in memory, or in files that the user keeps beside
the cohort, never in it, in a log or in an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

Kind = Literal["MR", "CT", "RTDOSE", "RTPLAN", "RTSTRUCT", "other"]
"""By SOP class, not by the tag Modality: a secondary capture of an MR is `other`."""


@dataclass(frozen=True)
class Instance:
    """One DICOM file. date: of the study; None where missing or not a date. Absent texts are empty."""

    path: Path
    kind: Kind
    patient_id: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    date: date | None
    series_number: int | None
    series_description: str
    frame_of_reference_uid: str
    contrast_agent: bool
    frames: int = 1


@dataclass(frozen=True)
class Series:
    """Instances of one SeriesInstanceUID and one patient, by path; at least one, each SOP instance once."""

    instances: tuple[Instance, ...]

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
        """SeriesInstanceUID."""
        return self.first.series_uid

    @property
    def slices(self) -> int:
        """Number of images: files, or frames of multi-frame files."""
        return sum(instance.frames for instance in self.instances)


@dataclass(frozen=True)
class Unusable:
    """A file that is left out: `found` and `remedy` without anything that identifies a patient."""

    path: Path
    found: str
    remedy: str


@dataclass(frozen=True)
class DicomTree:
    """All that a folder tree holds. series: ordered by patient, date, series number and UID."""

    root: Path
    series: tuple[Series, ...]
    unusable: tuple[Unusable, ...]

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Every PatientID, sorted."""
        return tuple(sorted({series.first.patient_id for series in self.series}))

    def of_patient(self, patient_id: str) -> tuple[Series, ...]:
        """One patient's series."""
        return tuple(series for series in self.series if series.first.patient_id == patient_id)
