"""One patient's chosen objects to one subject's raw files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from ricenet.cohort.layout import RawSubject
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.instances import Instance, Series
from ricenet.importing.dose_gate import judge_dose
from ricenet.importing.dose_space import place_dose
from ricenet.importing.radiotherapy import Radiotherapy, treatment_of
from ricenet.importing.sources import PatientSource, require_one_person
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import write_json
from ricenet.volume import Volume, save_nifti

INTERVALS = {
    "days_post_op_to_event": "Days from the post-operative scan to the event's.",
    "days_planning_to_event": "Days from the radiotherapy plan to the event's scan.",
    "days_rt_end_to_event": "Days from the end of radiotherapy to the event's scan.",
}
"""Columns of the cohort that only the dates of the files tell; the dates themselves stay behind."""

MOST_DAYS_AFTER_PLANNING = 14
"""By which the post-operative scan may be younger than the last plan: treatment starts within two weeks of
it, as a rule, and a later scan shows what radiotherapy has done."""


@dataclass(frozen=True)
class Intervals:
    """Days between studies; None where a date is missing. post_op_to_event may not be negative."""

    post_op_to_event: int | None
    planning_to_event: int | None


def write_raw_subject(source: PatientSource, raw: RawSubject, seed: int) -> Intervals:
    """Write a subject's raw files (two MRIs, the dose, its sidecar, the planning CT where one was needed).

    Only voxels, affines and the dose's facts are written: nothing of a DICOM header goes along.
    Raises SourceError: the first thing that keeps the patient from being imported.
    """
    _require_two_examinations(source)
    treatment = treatment_of(source)
    _require_one_person(source, treatment)
    intervals = _intervals(source, treatment)
    course = judge_dose(source)
    post_op = _scan(source.post_op, "post_op")
    placed = place_dose(course, source, post_op, seed)
    save_nifti(post_op, raw.scan("post_op"))
    save_nifti(_scan(source.event, "event"), raw.scan("event"))
    save_nifti(placed.dose, raw.scan("dose"))
    write_json(raw.dose_sidecar, placed.sidecar)
    if placed.planning_ct is not None:
        save_nifti(placed.planning_ct, raw.planning_ct)
    return intervals


@dataclass(frozen=True)
class SubjectWriter:
    """`write_raw_subject` for one patient, as the import calls it. rt_end: last day of radiotherapy."""

    source: PatientSource
    seed: int
    rt_end: date | None = None

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        """Write the subject; return the columns of INTERVALS that are known.

        Raises SourceError: as `write_raw_subject`, or an event before the end of radiotherapy, or post_op
        after it.
        """
        rt_end_to_post_op = _days(self.rt_end, self.source.post_op.first.date)
        if rt_end_to_post_op is not None and rt_end_to_post_op > 0:
            raise SourceError(
                f"the scan post_op was taken {rt_end_to_post_op} day(s) after the end of radiotherapy",
                "Choose the scan between surgery and radiotherapy, or correct rt_end_date in the clinical "
                "table",
            )
        rt_end_to_event = _days(self.rt_end, self.source.event.first.date)
        if rt_end_to_event is not None and rt_end_to_event < 0:
            raise SourceError(
                f"the event lies {-rt_end_to_event} day(s) before the end of radiotherapy",
                "Choose a later scan as event, or correct rt_end_date in the clinical table",
            )
        intervals = write_raw_subject(self.source, raw, self.seed)
        days = (intervals.post_op_to_event, intervals.planning_to_event, rt_end_to_event)
        return {name: str(n) for name, n in zip(INTERVALS, days, strict=True) if n is not None}

    @property
    def content(self) -> object:
        """What the subject's files depend on, JSON-serialisable: files are told by UID, size and time."""
        source = self.source
        return {
            "post_op": _files(source.post_op.instances),
            "event": _files(source.event.instances),
            "doses": [
                [*_files([dose.instance]), dose.course, dose.dose_of, dose.fractions, dose.prescription_gy]
                for dose in source.doses
            ],
            "plans": _files(source.plans),
            "structures": _files(source.structures),
            "planning_cts": [_files(one.instances) for one in source.planning_cts],
            "planning_ct_named": source.planning_ct_named,
            "seed": self.seed,
            "rt_end": None if self.rt_end is None else self.rt_end.isoformat(),
        }


def _files(instances: Iterable[Instance]) -> list[list[object]]:
    """Reading every voxel of an export just to see that nothing changed would take as long as importing."""
    told = []
    for one in instances:
        size, time = 0, 0
        # a file that vanished since it was indexed is found out when it is read
        with contextlib.suppress(OSError):
            status = one.path.stat()
            size, time = status.st_size, status.st_mtime_ns
        told.append([one.sop_instance_uid, size, time])
    return sorted(told)


def _scan(series: Series, role: str) -> Volume:
    try:
        return read_image(series)
    except SourceError as error:
        raise SourceError(f"the scan {role}: {error.found}", error.remedy) from None


def _require_two_examinations(source: PatientSource) -> None:
    post_op, event = source.post_op, source.event
    if post_op.uid == event.uid:
        raise SourceError(
            "post_op and event are the same series", "Choose two scans in the map (for predict: two folders)"
        )
    # a shared frame of reference alone is no sign: a follow-up that was registered to the first keeps it
    # and what states no study may be of any
    if post_op.first.study_uid and post_op.first.study_uid == event.first.study_uid:
        raise SourceError(
            "post_op and event are series of one study, so of one examination",
            "Choose scans of two visits",
        )


def _require_one_person(source: PatientSource, treatment: Radiotherapy) -> None:
    # the planning CT is compared once it is chosen
    chosen = [*source.post_op.instances, *source.event.instances]
    chosen += [dose.instance for dose in source.doses]
    chosen += [plan.instance for plan in treatment.referenced_plans]
    require_one_person(chosen)


def _intervals(source: PatientSource, treatment: Radiotherapy) -> Intervals:
    """Raises SourceError: the dates are not in order."""
    post_op, event = source.post_op.first.date, source.event.first.date
    first_plan, last_plan = treatment.planned_on or (None, None)
    post_op_to_event, planning_to_event = _days(post_op, event), _days(first_plan, event)
    for days, what in ((post_op_to_event, "post_op"), (planning_to_event, "the radiotherapy plan")):
        if days is not None and days < 0:
            raise SourceError(
                f"the event lies {-days} day(s) before {what}",
                "Choose a later scan as event, or the right post_op and dose",
            )
    planning_to_post_op = _days(last_plan, post_op)
    if planning_to_post_op is not None and planning_to_post_op > MOST_DAYS_AFTER_PLANNING:
        raise SourceError(
            f"the scan post_op was taken {planning_to_post_op} day(s) after the radiotherapy plan, so during "
            f"or after treatment; at most {MOST_DAYS_AFTER_PLANNING} are expected",
            "Choose the scan between surgery and radiotherapy, or the dose of the right plan",
        )
    return Intervals(post_op_to_event, planning_to_event)


def _days(start: date | None, end: date | None) -> int | None:
    return None if start is None or end is None else (end - start).days
