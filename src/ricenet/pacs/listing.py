"""What of a PACS the listed patients need: their series of the kinds that the import reads.

Any MRI may get a role in the map, by hand at least, and any CT may be the dose's: so no series is left out by
its description, only by its modality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from ricenet.cohort.lookalikes import bare_form
from ricenet.importing.dicom.instances import Kind
from ricenet.pacs.connection import Pacs
from ricenet.pacs.patient_list import FROM, TO, ListedPatient
from ricenet.pacs.query import ListedSeries, ListedStudy, objects_of, series_of, studies_of
from ricenet.runtime.errors import PacsAwayError, PacsError

NEEDED = frozenset(get_args(Kind)) - {"other"}
"""Modalities that the import reads; of a series whose modality is not stated, its objects decide."""

_MOST_REFUSED = 3
"""Patients in succession, before any other, after which it is not they that the PACS refuses."""


@dataclass(frozen=True)
class WantedSeries:
    """A series and its objects. unlisted: how many more the PACS counts than it lists."""

    series: ListedSeries
    sop_uids: tuple[str, ...]
    unlisted: int


@dataclass
class PatientListing:
    """What the PACS lists of one patient. left_out: series of other modalities.

    failures: why this patient is not complete; remarks: what people should know. Both without identifiers.
    """

    patient: ListedPatient
    series: list[WantedSeries] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def list_patients(
    pacs: Pacs, patients: Sequence[ListedPatient], advance: Callable[[], None]
) -> list[PatientListing]:
    """Ask for every patient. One whom the PACS refuses to list is a failure of its own.

    Raises PacsError: it is away, refuses this user, or refuses the first patients one after the other.
    """
    listings: list[PatientListing] = []
    refused = 0
    for patient in patients:
        try:
            listings.append(_listed(pacs, patient))
        except PacsError as error:
            refused += 1
            of_all = refused == len(listings) + 1 and refused in (_MOST_REFUSED, len(patients))
            if isinstance(error, PacsAwayError) or error.status in (None, 401) or of_all:
                raise
            listings.append(PatientListing(patient, failures=[f"cannot be listed: {error}"]))
        advance()
    return listings


def _listed(pacs: Pacs, patient: ListedPatient) -> PatientListing:
    listing = PatientListing(patient)
    found = studies_of(pacs, patient.patient_id)
    studies = [study for study in found if study.patient_id == patient.patient_id]
    wanted = [study for study in studies if patient.wants(study.date)]
    if not wanted:
        listing.failures.append(_nothing_found(patient, found, studies))
        return listing
    if undated := sum(study.date is None for study in wanted) if patient.first or patient.last else 0:
        listing.remarks.append(f"{undated} study or studies without a date are taken too")
    for study in wanted:
        of_study = series_of(pacs, study)
        if (unlisted := (study.series or 0) - len(of_study)) > 0:
            listing.remarks.append(f"{unlisted} series of a study are counted by the PACS and not listed")
        for series in of_study:
            if series.modality and series.modality not in NEEDED:
                listing.left_out[series.modality] += 1
                continue
            listing.series.append(WantedSeries(series, *objects_of(pacs, series)))
    there = {one.series.modality for one in listing.series}
    if "" not in there:
        listing.remarks += [
            f"no {modality} in its studies: the import needs one, unless it comes from elsewhere"
            for modality in ("MR", "RTDOSE")
            if modality not in there
        ]
    return listing


def _nothing_found(
    patient: ListedPatient, found: Sequence[ListedStudy], studies: Sequence[ListedStudy]
) -> str:
    if studies:
        return (
            f"{len(studies)} study or studies, none from {FROM} to {TO}. Correct the dates, or remove the row"
        )
    form = bare_form(patient.patient_id)
    if any(bare_form(study.patient_id) == form for study in found):
        return (
            "no study of this patient_id; the PACS has one that differs in case, blanks or zeros. Write it "
            "as the PACS does"
        )
    return "no study of this patient_id in the PACS. Correct it, or remove the row"
