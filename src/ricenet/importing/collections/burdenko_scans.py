"""From a patient's DICOM series to the declared volumes of the planning visit and of the event.

Tags decide, never folder names. A choice between two candidates is never made: it excludes the patient.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from ricenet.importing.collections.burdenko_events import FirstEvent
from ricenet.importing.collections.burdenko_table import ClinicalRow, FollowUp
from ricenet.importing.collections.collection import Exclusion, require_order
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.importing.dose.treatment import instances_of
from ricenet.importing.sequences import is_sequence
from ricenet.importing.sources import PatientSource
from ricenet.vocabulary import Volumes, VolumeSpec

_T1CE = "CET1"
"""In the SeriesDescription of every contrast-enhanced T1 of the collection."""


def choose_scans(
    series: Sequence[Series],
    row: ClinicalRow,
    event: FirstEvent,
    volumes: Volumes,
    tolerance_days: int = 0,
) -> PatientSource:
    """Choose by the clinical table's dates. series: all of one patient.

    The planning visit's T1ce is that of the dose's study, or else of the topometric MRI's date; the event's
    that of the follow-up's date, or else within `tolerance_days` of it. They are the reference MRIs of the
    first and the last session; other MRIs are the one series of their kind in the same study. Doses, plans,
    structure sets and CTs are handed on whole; the import decides among them.
    Raises Exclusion.
    """
    if not series:
        raise Exclusion("no images: the folder holds no DICOM file of this patient")
    doses = instances_of(series, "RTDOSE")
    planning = {dose.study_uid for dose in doses}
    if len(planning) != 1:
        raise Exclusion("no RTDOSE" if not doses else f"ambiguous: RTDOSE objects in {len(planning)} studies")
    scans = [one for one in series if one.kind == "MR" and _T1CE in one.first.series_description.upper()]
    first = _planned(scans, planning.pop(), row.topometric_mri)
    later = [scan for scan in scans if scan.uid != first.uid]
    last = _dated(later, event.on, tolerance_days, f"follow-up {event.follow_up}")
    _require_in_time(first, last, row, event)
    visits = {volumes.reference.session: first, volumes.last_session_reference.session: last}
    return PatientSource(
        volumes,
        _images(series, volumes, visits),
        () if volumes.dose is None else tuple(ChosenDose(dose) for dose in doses),
        plans=instances_of(series, "RTPLAN"),
        structures=instances_of(series, "RTSTRUCT"),
        planning_cts=tuple(one for one in series if one.kind == "CT"),
    )


def follow_up_images(
    series: Sequence[Series], used: Collection[str], visit: FollowUp, volumes: Volumes, tolerance_days: int
) -> dict[str, Series]:
    """The MRIs of another follow-up than the event's, by volume. used: UIDs of series that are taken already.

    Raises Exclusion: the visit has no date, not one T1ce, or lacks a required volume.
    """
    if visit.on is None:
        raise Exclusion(f"follow-up {visit.number} has no date")
    free = [one for one in series if one.uid not in used]
    scans = [one for one in free if one.kind == "MR" and _T1CE in one.first.series_description.upper()]
    found = _dated(scans, visit.on, tolerance_days, f"follow-up {visit.number}")
    session = volumes.last_session_reference.session
    of_session = Volumes(spec for spec in volumes.mris if spec.session == session)
    return _images(free, of_session, {session: found})


def _images(series: Sequence[Series], volumes: Volumes, visits: dict[str, Series]) -> dict[str, Series]:
    """The series of each declared MRI, by name; optional ones may lack."""
    images = {}
    for spec in volumes.mris:
        visit = visits[spec.session]
        of_visit = spec == volumes.session_reference(spec.session)
        if chosen := visit if of_visit else _beside(series, visit, spec):
            images[spec.name] = chosen
    return images


def _beside(series: Sequence[Series], visit: Series, spec: VolumeSpec) -> Series | None:
    """The one series of a kind in a visit's study."""
    study = visit.first.study_uid
    found = [one for one in series if study and one.first.study_uid == study and is_sequence(one, spec)]
    if len(found) == 1:
        return found[0]
    if spec.required:
        raise Exclusion(f"{len(found)} series for {spec.name} ({spec.suffix}) in the visit's study")
    return None


def _planned(scans: Sequence[Series], planning_study: str, topometric: date | None) -> Series:
    # an empty study UID is nobody's: it would join all studies whose UID was lost
    in_study = [scan for scan in scans if planning_study and scan.first.study_uid == planning_study]
    if in_study:
        return _only(in_study, "in the planning study")
    if topometric is None:
        raise Exclusion(f"no {_T1CE} series in the planning study, and no date of a topometric MRI")
    return _dated(scans, topometric, 0, "the topometric MRI (the planning study has none)")


def _dated(scans: Sequence[Series], on: date, tolerance_days: int, visit: str) -> Series:
    """The scan of a date; those within the tolerance count only where the date itself has none."""
    distances = [(abs((scan.first.date - on).days), scan) for scan in scans if scan.first.date is not None]
    for reach in (0, tolerance_days):
        if candidates := [scan for days, scan in distances if days <= reach]:
            return _only(candidates, f"at {visit}")
    nearest = min((days for days, _ in distances), default=None)
    found = "there is none at all" if nearest is None else f"the nearest is {nearest} day(s) away"
    raise Exclusion(f"no {_T1CE} series at {visit}; {found}")


def _only(candidates: Sequence[Series], place: str) -> Series:
    if len(candidates) > 1:
        raise Exclusion(f"ambiguous: {len(candidates)} {_T1CE} series {place}")
    return candidates[0]


def _require_in_time(first: Series, last: Series, row: ClinicalRow, event: FirstEvent) -> None:
    """Exclude where the studies' own dates contradict the table's."""
    planned_on, event_on = first.first.date, last.first.date
    if planned_on is None or event_on is None:
        raise Exclusion("the planning study has no date")
    days_that_may_not_be_negative = {
        "the planning study's MRI was taken {} day(s) before the surgery": (row.surgery, planned_on),
        "the planning study's MRI was taken {} day(s) after the start of radiotherapy": (
            planned_on,
            event.rt_start,
        ),
        "the event's MRI was taken {} day(s) before the end of radiotherapy": (event.rt_end, event_on),
    }
    require_order(days_that_may_not_be_negative)
