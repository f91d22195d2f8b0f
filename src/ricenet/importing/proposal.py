"""Proposing the map: roles by dates against the plan and by references, and never a guess between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby

from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dose.propose import offered_plans, propose_doses, propose_planning_ct
from ricenet.importing.dose.treatment import Treatment, date_of, date_range
from ricenet.importing.sequences import LEAST_SLICES, is_sequence, sequence_of, signs_of
from ricenet.importing.series_map import LOCALIZER, NOT_USED, UNDECIDED, Proposals, ProposedRow
from ricenet.importing.signs import Signs
from ricenet.vocabulary import Volumes, VolumeSpec


def propose_map(tree: DicomTree, volumes: Volumes) -> tuple[ProposedRow, ...]:
    """A row for every MR and CT series and every RTDOSE of an export, patient by patient."""
    rows: list[ProposedRow] = []
    for _, series in groupby(tree.series, key=lambda one: one.first.patient_id):
        rows += _propose_patient(tuple(series), volumes)
    return tuple(rows)


def progress(rows: Iterable[ProposedRow], volumes: Volumes) -> Counter[str]:
    """How many patients are `complete`, `undecided` (a role is ?) or `incomplete` (lack a required role)."""
    roles: dict[str, set[str]] = {}
    for row in rows:
        roles.setdefault(row.patient_id, set()).add(row.role)
    needed = {spec.name for spec in volumes.required}
    return Counter(
        "undecided" if UNDECIDED in found else "complete" if found >= needed else "incomplete"
        for found in roles.values()
    )


def reference_dates(series: Sequence[Series], treatment: Treatment) -> tuple[date, date] | None:
    """First and last date of radiotherapy planning, else of any plan or CT; None where nothing dates it."""
    return (
        treatment.planned_on
        or date_range(map(date_of, treatment.plans))
        or date_range(one.first.date for one in series if one.kind == "CT")
    )


def propose_scans(series: Sequence[Series], planned: tuple[date, date] | None, volumes: Volumes) -> Proposals:
    """Roles of MR series: the reference up to the plan, the last session's MRI after it, others beside these.

    ? where the choice is not theirs. MRIs of further sessions are not proposed: no date distinguishes them.
    """
    scans = [one for one in series if one.kind == "MR"]
    first, last = volumes.reference, volumes.last_session_reference
    proposals: Proposals = {one.uid: (NOT_USED, _why_not(one, first)) for one in scans}
    candidates = {one.uid: one for one in scans if is_sequence(one, first) or is_sequence(one, last)}
    days = {uid: one.first.date for uid, one in candidates.items()}
    if first == last:
        proposals |= _only(list(candidates.values()), last, "")
    elif reason := _undatable(list(days.values()), planned, first, last):
        return proposals | dict.fromkeys(days, (UNDECIDED, reason))
    elif planned is not None:
        before = {uid: day for uid, day in days.items() if day is not None and day <= planned[0]}
        proposals |= _latest(before, planned[0], first)
        after = [one for uid, one in candidates.items() if uid not in before]
        proposals |= _only(after, last, f" after the planning of {planned[0]}")
        proposals |= _unsure(candidates, proposals, planned[0], volumes)
    return proposals | _beside(scans, proposals, volumes)


def _unsure(
    candidates: Mapping[str, Series], proposals: Proposals, planned: date, volumes: Volumes
) -> Proposals:
    """Proposed roles with their signs; ? where two do not agree or one contradicts."""
    found: Proposals = {}
    for uid, one in candidates.items():
        role, note = proposals[uid]
        if role in volumes.names:
            found[uid] = _with_dates(signs_of(one, volumes[role]), one, planned).judged(role, UNDECIDED, note)
    return found


def _with_dates(signs: Signs, one: Series, planned: date) -> Signs:
    """The order of dates is a sign where study and series date give the same."""
    study, series = one.first.date, one.first.series_date
    if study is not None and series is not None and (study <= planned) != (series <= planned):
        return Signs(signs.of, (*signs.against, "study and series date lie on two sides of the planning"))
    return signs.joined("order of dates")


def _propose_patient(series: Sequence[Series], volumes: Volumes) -> list[ProposedRow]:
    treatment = Treatment.of_series(series)
    planned = reference_dates(series, treatment)
    proposals = propose_scans(series, planned, volumes)
    if volumes.dose is not None:
        frames = {one.first.frame_of_reference_uid for one in series if one.kind in ("MR", "CT")} - {""}
        doses = propose_doses(treatment, volumes.dose.name, frames)
        roles = {one.uid: proposals.get(one.uid, (NOT_USED, ""))[0] for one in series}
        beneath = volumes.reference_of(volumes.dose).name
        mris = [one for one in series if roles[one.uid] == beneath] or [
            one for one in series if roles[one.uid] == UNDECIDED
        ]
        needed = [one for one in treatment.doses if doses[one.uid][0] != NOT_USED]
        proposals |= doses | propose_planning_ct(series, needed, treatment, mris)
    rows = [row for one in series for row in _rows(one, proposals)]
    offered = offered_plans(treatment)
    rows = [replace(row, plan_uid=offered.get(row.uid, "")) for row in rows]
    return rows if planned is None else [beside_planning(row, *planned) for row in rows]


def beside_planning(row: ProposedRow, first: date, last: date) -> ProposedRow:
    """With the dates of the planning and the days from it, for people: the map lies where dates may stand."""
    planned_on = first.isoformat() if first == last else f"{first} to {last}"
    days = (date.fromisoformat(row.date) - first).days if row.date else None
    where = "before" if days is not None and days < 0 else "after"
    told = {None: "", 0: "same day"}.get(days, f"{abs(days or 0)} day(s) {where}")
    return replace(row, planned_on=planned_on, from_planning=told)


def _undatable(
    days: Sequence[date | None], planned: tuple[date, date] | None, first: VolumeSpec, last: VolumeSpec
) -> str:
    """Why dates do not show which scan is which; empty where they can, or where there is none."""
    decide = f"write which scan is {first.name} and which is {last.name}"
    if planned is None:
        return f"no plan, dose or CT with a date: {decide}"
    if None in days:
        return f"a {sequence_of(first)} without a study date: {decide}"
    if any(planned[0] < day <= planned[1] for day in days if day is not None):
        return f"a scan between the dates of several plans: {decide}"
    return ""


def _latest(days: Mapping[str, date], planned: date, spec: VolumeSpec) -> Proposals:
    if not days:
        return {}
    latest = max(days.values())
    chosen = [uid for uid, day in days.items() if day == latest]
    earlier: Proposals = dict.fromkeys(days, (NOT_USED, "there is a later one before radiotherapy"))
    distance = f"{(planned - latest).days} day(s) before the planning of {planned}"
    if len(chosen) == 1:
        return earlier | {chosen[0]: (spec.name, f"the latest {sequence_of(spec)}, {distance}")}
    note = f"{len(chosen)} {sequence_of(spec)} on the latest day, {distance}: keep one as {spec.name}"
    return earlier | dict.fromkeys(chosen, (UNDECIDED, note))


def _only(scans: Sequence[Series], spec: VolumeSpec, where: str) -> Proposals:
    if len(scans) == 1:
        note = f"the only {sequence_of(spec)}{where}"
        # elsewhere the dates are a sign too
        signed = (spec.name, note) if where else signs_of(scans[0], spec).judged(spec.name, UNDECIDED, note)
        return {scans[0].uid: signed}
    note = (
        f"several {sequence_of(spec)}{where}: keep as {spec.name} that of the visit at which the new lesion "
        "was first seen"
    )
    return {one.uid: (UNDECIDED, note) for one in scans}


def _beside(scans: Sequence[Series], proposals: Proposals, volumes: Volumes) -> Proposals:
    """Further MRIs of a session, by what they are called: those of the study of its reference."""
    found: Proposals = {}
    for spec in volumes.mris:
        reference = volumes.session_reference(spec.session)
        if spec == reference:
            continue
        studies = {
            role: {one.first.study_uid for one in scans if proposals[one.uid][0] == role}
            for role in (reference.name, UNDECIDED)
        }
        within = studies[reference.name] or studies[UNDECIDED]
        chosen = {one.uid: one for one in scans if is_sequence(one, spec) and one.first.study_uid in within}
        if len(chosen) == 1 and studies[reference.name]:
            note = f"the only {sequence_of(spec)} of the study of {reference.name}"
            for uid, one in chosen.items():
                found[uid] = signs_of(one, spec).joined("study").judged(spec.name, UNDECIDED, note)
        else:
            note = (
                f"{len(chosen)} {sequence_of(spec)}: keep one of the study of {reference.name} as {spec.name}"
            )
            found |= dict.fromkeys(chosen, (UNDECIDED, note))
    return found


def _why_not(scan: Series, spec: VolumeSpec) -> str:
    if scan.slices < LEAST_SLICES:
        return f"fewer than {LEAST_SLICES} slices"
    return f"not called a {sequence_of(spec)}"


def _rows(series: Series, proposals: Proposals) -> list[ProposedRow]:
    if series.kind in ("MR", "CT"):
        return [_image_row(series, proposals)]
    if series.kind == "RTDOSE":
        return [_row(one, one.frames, one.sop_instance_uid, proposals, one.notes) for one in series.instances]
    return []


def _image_row(series: Series, proposals: Proposals) -> ProposedRow:
    """With localizers among its images offered to be left out."""
    localizers = sum(one.localizer for one in series.instances)
    if not 0 < localizers < len(series.instances):
        return _row(series.first, series.slices, series.uid, proposals, series.notes)
    note = f"{localizers} of its {len(series.instances)} images are localizers, left out by leave_out"
    row = _row(series.first, series.slices, series.uid, proposals, (*series.notes, note))
    return replace(row, leave_out=LOCALIZER)


def _row(
    instance: Instance, slices: int, uid: str, proposals: Proposals, notes: Sequence[str]
) -> ProposedRow:
    role, note = proposals.get(uid, (NOT_USED, ""))
    note = "; ".join(text for text in (note, *notes) if text)
    day = "" if instance.date is None else instance.date.isoformat()
    return ProposedRow(
        instance.patient_id, role, day, instance.kind, instance.series_description, slices, uid, note
    )
