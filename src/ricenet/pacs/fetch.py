"""Fetching the listed patients' series from a PACS into a folder that the DICOM import reads."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ricenet.pacs.connection import Pacs
from ricenet.pacs.fetched_folder import FetchedFolder, opened
from ricenet.pacs.listing import PatientListing, list_patients
from ricenet.pacs.patient_list import read_patient_list
from ricenet.pacs.retrieve import Delivered, SeriesFetch
from ricenet.runtime.progress import task_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What a fetch did. left_out: series by modality that the import does not read.

    failures, remarks: by patient, named by the line of the list; free of identifiers.
    """

    patients: int
    whole: int
    series: int
    objects: int
    there_before: int
    size_bytes: int
    left_out: Counter[str]
    failures: tuple[str, ...]
    remarks: tuple[str, ...]


def fetch_patients(pacs: Pacs, patient_list: Path, folder: Path) -> Fetched:
    """Fetch what is not in the folder yet of the series that the import may need.

    patient_list: a table of patient_id and, if wanted, from_date and to_date. folder: made, or gone on with;
    its objects name patients, and it is readable by its owner alone.
    Raises CohortError: a faulty list, another's folder, or a file system that refuses. PacsError: the PACS is
    away, or refuses this user; what has arrived is kept, and the same call goes on.
    """
    patients = read_patient_list(patient_list)
    with opened(folder) as kept:
        with task_progress("asking the PACS", len(patients)) as advance:
            listings = list_patients(pacs, patients, advance)
        missing, there_before = _missing(kept, listings)
        logger.info("%d object(s) to fetch; %d are there already", missing, there_before)
        with task_progress("fetching", missing) as advance:
            delivered = [_fetched(pacs, kept, listing, advance) for listing in listings]
    return Fetched(
        patients=len(patients),
        whole=sum(not listing.failures for listing in listings),
        series=sum(len(listing.series) for listing in listings),
        objects=sum(len(one.sop_uids) for of_patient in delivered for one in of_patient),
        there_before=there_before,
        size_bytes=sum(one.size_bytes for of_patient in delivered for one in of_patient),
        left_out=sum((listing.left_out for listing in listings), Counter[str]()),
        failures=_by_line(patient_list, listings, lambda listing: listing.failures),
        remarks=_by_line(patient_list, listings, lambda listing: listing.remarks),
    )


def _missing(kept: FetchedFolder, listings: list[PatientListing]) -> tuple[int, int]:
    """How many objects are to be fetched, and how many are there; every series that lacks some says so."""
    missing = there = 0
    for one in (one for listing in listings for one in listing.series):
        lacking = sum(not kept.has(one.series, uid) for uid in one.sop_uids)
        if lacking:
            # whoever imports after a kill is not to take a part for the whole
            kept.note_unsettled(one.series)
        missing, there = missing + lacking, there + len(one.sop_uids) - lacking
    return missing, there


def _fetched(
    pacs: Pacs, kept: FetchedFolder, listing: PatientListing, advance: Callable[[], None]
) -> list[Delivered]:
    """Fetch one patient's series, and add to the listing what is lacking."""
    delivered: list[Delivered] = []
    for one in listing.series:
        fetch = SeriesFetch(pacs, kept, one.series, listing.patient.patient_id)
        for _ in fetch.run(one.sop_uids):
            advance()
        kept.note_lacking(one.series, fetch.delivered.lacking, one.unlisted)
        delivered.append(fetch.delivered)
        if lacking := len(fetch.delivered.lacking) + one.unlisted:
            expected = len(one.sop_uids) + one.unlisted
            listing.failures.append(_lacking(lacking, expected, one.series.modality, fetch.delivered))
    contradictory, renamed = (
        sum(getattr(one, name) for one in delivered) for name in ("contradictory", "renamed")
    )
    if contradictory:
        listing.failures.append(
            f"{contradictory} object(s) came twice with differing content. Both are kept, and the import "
            "refuses them: ask the PACS's administrator which is right"
        )
    if renamed:
        listing.remarks.append(
            f"{renamed} object(s) state another PatientID than the PACS has them under; the map shows theirs"
        )
    return delivered


def _lacking(lacking: int, expected: int, modality: str, delivered: Delivered) -> str:
    why = " (they arrive damaged)" if delivered.damaged else ""
    if delivered.refusal is not None and delivered.refusal.status is not None:
        why = f" (status {delivered.refusal.status})"
    return (
        f"{lacking} of {expected} object(s) of a series ({modality or 'no modality'}) are listed and do not "
        f"come{why}. The import takes the series as incomplete; give the same command again, or ask the "
        "PACS's administrator"
    )


def _by_line(
    patient_list: Path, listings: list[PatientListing], texts: Callable[[PatientListing], list[str]]
) -> tuple[str, ...]:
    return tuple(
        f"line {listing.patient.line} of {patient_list.name}: {text}"
        for listing in listings
        for text in texts(listing)
    )
