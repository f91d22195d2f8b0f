"""Proposing the map: roles by dates against the plan and by references, and never a guess between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby

from ricenet.importing.contrast_t1 import LEAST_SLICES, is_contrast_t1
from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.radiotherapy import Radiotherapy, read_radiotherapy
from ricenet.importing.series_map import ProposedRow, Role
from ricenet.importing.treatment_proposal import propose_doses, propose_planning_ct

Proposals = dict[str, tuple[Role, str]]
"""Role and note by uid (of a series, or of an RTDOSE instance)."""

SEVERAL_EVENTS = (
    "several scans after radiotherapy: the event is the visit at which the new lesion was first seen"
)


def propose_map(tree: DicomTree) -> tuple[ProposedRow, ...]:
    """A row for every MR and CT series and every RTDOSE of an export, patient by patient."""
    rows: list[ProposedRow] = []
    for _, series in groupby(tree.series, key=lambda one: one.first.patient_id):
        rows += _propose_patient(tuple(series))
    return tuple(rows)


def progress(rows: Iterable[ProposedRow]) -> Counter[str]:
    """How many patients are `complete`, `undecided` (a role is ?) or `incomplete` (lack a role)."""
    roles: dict[str, set[Role]] = {}
    for row in rows:
        roles.setdefault(row.patient_id, set()).add(row.role)
    return Counter(_state(of_patient) for of_patient in roles.values())


def _state(roles: set[Role]) -> str:
    if "?" in roles:
        return "undecided"
    return "complete" if roles >= {"post_op", "event", "dose"} else "incomplete"


def _propose_patient(series: Sequence[Series]) -> list[ProposedRow]:
    therapy = read_radiotherapy(series)
    scans = propose_scans(series, reference_dates(series, therapy))
    doses = propose_doses(therapy)
    possible = [one for one in series if scans.get(one.uid, ("", ""))[0] == "post_op"] or [
        one for one in series if scans.get(one.uid, ("", ""))[0] == "?"
    ]
    needed = [one for one in therapy.doses if doses[one.instance.sop_instance_uid][0]]
    proposals = scans | doses | propose_planning_ct(series, needed, therapy, possible)
    return [row for one in series for row in _rows(one, proposals)]


def reference_dates(series: Sequence[Series], therapy: Radiotherapy) -> tuple[date, date] | None:
    """First and last date of radiotherapy planning; None where nothing dates it.

    By the plans that the doses refer to, or all plans; else by the doses' study; else by the CT's.
    """
    for dates in (
        [plan.date for plan in therapy.referenced_plans],
        [plan.date for plan in therapy.plans],
        [dose.instance.date for dose in therapy.doses],
        [one.first.date for one in series if one.kind == "CT"],
    ):
        if known := [day for day in dates if day is not None]:
            return min(known), max(known)
    return None


def propose_scans(series: Sequence[Series], planned: tuple[date, date] | None) -> Proposals:
    """Roles of MR series: post_op up to the plan, event after it, ? where the choice is not theirs."""
    scans = [one for one in series if one.kind == "MR"]
    candidates = [one for one in scans if is_contrast_t1(one)]
    others: Proposals = {one.uid: ("", _why_not(one)) for one in scans if not is_contrast_t1(one)}
    if reason := _undatable(candidates, planned):
        return others | {one.uid: ("?", reason) for one in candidates}
    if planned is None:
        return others
    days = {one.uid: one.first.date for one in candidates}
    before = {uid: day for uid, day in days.items() if day is not None and day <= planned[0]}
    after = [uid for uid in days if uid not in before]
    return others | _post_op(before, planned[0]) | _event(after)


def _undatable(candidates: Sequence[Series], planned: tuple[date, date] | None) -> str:
    """Why dates cannot tell which scan is which; empty where they can."""
    days = [one.first.date for one in candidates]
    if planned is None:
        return "no plan, dose or CT with a date: write which scan is post_op and which is event"
    if None in days:
        return "a contrast-enhanced T1 without a study date: write which scan is post_op and which is event"
    if any(planned[0] < day <= planned[1] for day in days if day is not None):
        return "a scan between the dates of several plans: write which scan is post_op and which is event"
    return ""


def _post_op(before: Mapping[str, date], planned: date) -> Proposals:
    if not before:
        return {}
    latest = max(before.values())
    chosen = [uid for uid, day in before.items() if day == latest]
    earlier: Proposals = {
        uid: ("", "there is a later one before radiotherapy") for uid in before if uid not in chosen
    }
    distance = f"{(planned - latest).days} day(s) before the planning"
    if len(chosen) == 1:
        return earlier | {chosen[0]: ("post_op", f"the latest contrast-enhanced T1, {distance}")}
    note = f"{len(chosen)} contrast-enhanced T1 on the latest day, {distance}: keep one as post_op"
    return earlier | dict.fromkeys(chosen, ("?", note))


def _event(after: Sequence[str]) -> Proposals:
    if len(after) == 1:
        return {after[0]: ("event", "the only contrast-enhanced T1 after the planning")}
    return dict.fromkeys(after, ("?", SEVERAL_EVENTS))


def _why_not(scan: Series) -> str:
    if scan.slices < LEAST_SLICES:
        return f"fewer than {LEAST_SLICES} slices"
    return "not called a contrast-enhanced T1"


def _rows(series: Series, proposals: Proposals) -> list[ProposedRow]:
    if series.kind in ("MR", "CT"):
        return [_row(series.first, series.slices, series.uid, proposals)]
    if series.kind == "RTDOSE":
        return [_row(one, one.frames, one.sop_instance_uid, proposals) for one in series.instances]
    return []


def _row(instance: Instance, slices: int, uid: str, proposals: Proposals) -> ProposedRow:
    role, note = proposals.get(uid, ("", ""))
    return ProposedRow(
        patient_id=instance.patient_id,
        role=role,
        date="" if instance.date is None else instance.date.isoformat(),
        modality=instance.kind,
        description=instance.series_description,
        slices=slices,
        uid=uid,
        note=note,
    )
