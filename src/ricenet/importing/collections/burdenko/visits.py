"""From a patient's DICOM series to the post-operative scan, the event's scan and the course's objects.

Tags decide, never folder names. A choice between two candidates is never made: it excludes the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ricenet.importing.collections.burdenko.labels import FirstEvent
from ricenet.importing.collections.burdenko.table import ClinicalRow
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.importing.dose.treatment import instances_of
from ricenet.importing.import_cohort import Exclusion
from ricenet.importing.sources import PatientSource
from ricenet.vocabulary import PAPER_VOLUMES

_T1CE = "CET1"
"""In the SeriesDescription of every contrast-enhanced T1 of the collection."""


def choose_visits(
    series: Sequence[Series], row: ClinicalRow, event: FirstEvent, tolerance_days: int = 0
) -> PatientSource | Exclusion:
    """Choose by the clinical table's dates. series: all of one patient.

    Post-op: the T1ce of the dose's study, or else of the topometric MRI's date. Event: the T1ce of the
    follow-up's date, or else within `tolerance_days` of it. Doses, plans, structure sets and CTs are handed
    on whole; the dose gate decides among them.
    """
    if not series:
        return Exclusion("no images: the folder holds no DICOM file of this patient")
    doses = instances_of(series, "RTDOSE")
    planning = {dose.study_uid for dose in doses}
    if len(planning) != 1:
        return Exclusion(
            "no RTDOSE" if not doses else f"ambiguous: RTDOSE objects in {len(planning)} studies"
        )
    scans = [one for one in series if one.kind == "MR" and _T1CE in one.first.series_description.upper()]
    post_op = _post_op(scans, planning.pop(), row.topometric_mri)
    if isinstance(post_op, Exclusion):
        return post_op
    later = [scan for scan in scans if scan.uid != post_op.uid]
    event_scan = _dated(later, event.on, tolerance_days, f"follow-up {event.follow_up}")
    if isinstance(event_scan, Exclusion):
        return event_scan
    source = PatientSource(
        PAPER_VOLUMES,
        {"post_op": post_op, "event": event_scan},
        tuple(ChosenDose(dose) for dose in doses),
        plans=instances_of(series, "RTPLAN"),
        structures=instances_of(series, "RTSTRUCT"),
        planning_cts=tuple(one for one in series if one.kind == "CT"),
    )
    return _in_time(source, row, event)


def _post_op(scans: Sequence[Series], planning_study: str, topometric: date | None) -> Series | Exclusion:
    # an empty study UID is nobody's: it would join all studies whose UID was lost
    in_study = [scan for scan in scans if planning_study and scan.first.study_uid == planning_study]
    if in_study:
        return _only(in_study, "in the planning study")
    if topometric is None:
        return Exclusion(f"no {_T1CE} series in the planning study, and no date of a topometric MRI")
    return _dated(scans, topometric, 0, "the topometric MRI (the planning study has none)")


def _dated(scans: Sequence[Series], on: date, tolerance_days: int, visit: str) -> Series | Exclusion:
    """The scan of a date; those within the tolerance count only where the date itself has none."""
    distances = [(abs((scan.first.date - on).days), scan) for scan in scans if scan.first.date is not None]
    for reach in (0, tolerance_days):
        if candidates := [scan for days, scan in distances if days <= reach]:
            return _only(candidates, f"at {visit}")
    nearest = min((days for days, _ in distances), default=None)
    told = "there is none at all" if nearest is None else f"the nearest is {nearest} day(s) away"
    return Exclusion(f"no {_T1CE} series at {visit}; {told}")


def _only(candidates: Sequence[Series], place: str) -> Series | Exclusion:
    if len(candidates) == 1:
        return candidates[0]
    return Exclusion(f"ambiguous: {len(candidates)} {_T1CE} series {place}")


def _in_time(source: PatientSource, row: ClinicalRow, event: FirstEvent) -> PatientSource | Exclusion:
    """The objects, unless the studies' own dates contradict the table's."""
    post_op_on, event_on = (source.images[name].first.date for name in ("post_op", "event"))
    if post_op_on is None or event_on is None:
        return Exclusion("the planning study has no date")
    if row.surgery is not None and post_op_on < row.surgery:
        days = (row.surgery - post_op_on).days
        return Exclusion(f"the planning study's MRI was taken {days} day(s) before the surgery")
    if post_op_on > event.rt_start:
        days = (post_op_on - event.rt_start).days
        return Exclusion(f"the planning study's MRI was taken {days} day(s) after the start of radiotherapy")
    if event_on < event.rt_end:
        days = (event.rt_end - event_on).days
        return Exclusion(f"the event's MRI was taken {days} day(s) before the end of radiotherapy")
    return source
