"""Which visit of a CFB-GBM patient is the event, and what later RANO makes of a progression there.

The labels are weak: RANO by tumour volume, and nobody has said of any lesion that it is radiation's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ricenet.importing.collections.cfb_gbm.tables import CfbPatient, Visit
from ricenet.importing.import_cohort import Exclusion

WeakLabel = Literal["recurrence", "rice_candidate"]

_LATER: tuple[tuple[int, Visit], ...] = ((1, "t1"), (2, "t2"))
_PROGRESSION = "PD"
_DAYS_A_WEEK = 7


@dataclass(frozen=True)
class CfbEvent:
    """When the event was. days_from_rt_start: of whole weeks, so uncertain by a week or so."""

    visit: Visit
    follow_up: int
    weeks_from_t0: int
    days_from_rt_start: int | None
    weak_label: WeakLabel | None


def choose_event(patient: CfbPatient, follow_up: int | None = None) -> CfbEvent | Exclusion:
    """The first later visit with a contrast-enhanced T1. follow_up: 1 or 2, for events there alone."""
    if "t0" not in patient.t1gd_weeks:
        return Exclusion("no T1Gd at t0, as the tables say")
    if not patient.has_dose:
        return Exclusion("no RTDOSE at t0, as the tables say")
    later = [(number, visit) for number, visit in _LATER if visit in patient.t1gd_weeks]
    if not later:
        return Exclusion("no T1Gd after t0, as the tables say")
    number, visit = later[0]
    if follow_up is not None and number != follow_up:
        return Exclusion(f"the first T1Gd after t0 is at t{number}, not t{follow_up}")
    weeks = patient.t1gd_weeks[visit]
    days = None if patient.weeks_to_rt is None else _DAYS_A_WEEK * (weeks - patient.weeks_to_rt)
    if days is not None and days < 0:
        return Exclusion(f"the T1Gd after t0 is dated {-days} day(s) before the start of radiotherapy")
    return CfbEvent(visit, number, weeks, days, weak_label(patient) if number == 1 else None)


def weak_label(patient: CfbPatient) -> WeakLabel | None:
    """Of a progression at t1: still one at t2, none any more at t2, or (None) not known."""
    if patient.rano["t1"] != _PROGRESSION or not patient.rano["t2"]:
        return None
    return "recurrence" if patient.rano["t2"] == _PROGRESSION else "rice_candidate"
