"""Days between a patient's scans and radiotherapy: only where the dates can be true and are in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from ricenet.importing.dose.treatment import Treatment
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError

INTERVALS = {
    "days_post_op_to_event": "Days from the post-operative scan to the event's.",
    "days_planning_to_event": "Days from the radiotherapy plan to the event's scan.",
    "days_rt_end_to_event": "Days from the end of radiotherapy to the event's scan.",
}
"""Columns that only the dates of the files give; the dates themselves stay behind."""

MOST_DAYS_AFTER_PLANNING = 14
"""By which the reference MRI may be younger than the last plan: treatment starts within two weeks of it, as
a rule, and a later scan shows what radiotherapy has done."""

_WRONG_DATES = "Where a file's date is wrong, export it again with its true date"


@dataclass(frozen=True)
class Intervals:
    """days: columns of INTERVALS, None where not known. notes: what is doubtful, without any date."""

    days: dict[str, int | None]
    notes: tuple[str, ...] = ()


def intervals_of(source: PatientSource, treatment: Treatment, rt_end: date | None) -> Intervals:
    """The days from radiotherapy and the reference MRI to the event's scan.

    Dates that cannot be true are None already (`dicom.dates`). A scan of the day of the reference MRI or plan
    shows no new lesion: that interval is not written, and noted. rt_end: last day.
    Raises SourceError: the dates are not in order.
    """
    reference, last = source.volumes.reference, source.volumes.last_session_reference
    first_visit = source.reference.first.date if reference != last else None
    event = None if source.last_visit is None else source.last_visit.first.date
    first_plan, last_plan = treatment.planned_on or (None, None)
    before_event = {
        reference.name: _days(first_visit, event),
        "the radiotherapy plan": _days(first_plan, event),
        "the end of radiotherapy": _days(rt_end, event),
    }
    for what, days in before_event.items():
        if days is not None and days < 0:
            raise SourceError(
                f"the scan {last.name} lies {-days} day(s) before {what}",
                f"Choose a later scan as {last.name}, or correct what is wrong: the other scan, the "
                f"dose, or rt_end_date in the clinical table. {_WRONG_DATES}",
            )
    _require_order(reference.name, first_visit, first_plan, last_plan, rt_end)
    notes = [
        f"{last.name} and {what} are of one day: no interval is written."
        for what, days in before_event.items()
        if days == 0
    ]
    known = [days or None for days in before_event.values()]
    return Intervals(dict(zip(INTERVALS, known, strict=True)), (*notes, *_doubts(treatment)))


def _require_order(
    name: str, first_visit: date | None, first_plan: date | None, last_plan: date | None, rt_end: date | None
) -> None:
    """name: of the reference MRI. Raises SourceError."""
    for what, after, most in (
        ("radiotherapy plan", _days(last_plan, first_visit), MOST_DAYS_AFTER_PLANNING),
        ("end of radiotherapy", _days(rt_end, first_visit), 0),
    ):
        if after is not None and after > most:
            raise SourceError(
                f"the scan {name} was taken {after} day(s) after the {what}, so during or after "
                f"treatment; at most {most} are expected",
                "Choose the scan between surgery and radiotherapy, or correct what is wrong: the dose, "
                f"or rt_end_date in the clinical table. {_WRONG_DATES}",
            )
    if (days := _days(first_plan, rt_end)) is not None and days < 0:
        raise SourceError(
            f"the end of radiotherapy lies {-days} day(s) before its plan",
            f"Correct rt_end_date in the clinical table, or choose another dose. {_WRONG_DATES}",
        )


def _doubts(treatment: Treatment) -> Iterator[str]:
    for plan in treatment.referenced_plans:
        own = plan.content.date if plan.content is not None else None
        days = _days(plan.instance.date, own)
        if days is not None and abs(days) > MOST_DAYS_AFTER_PLANNING:
            where = "after" if days > 0 else "before"
            yield f"The plan's date, which counts, lies {abs(days)} day(s) {where} its study's."


def _days(start: date | None, end: date | None) -> int | None:
    return None if start is None or end is None else (end - start).days
