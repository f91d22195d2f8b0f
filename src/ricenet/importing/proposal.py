"""Proposing the map: roles by dates against the plan and by references, and never a guess between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby

from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dose.propose import propose_doses, propose_planning_ct
from ricenet.importing.dose.treatment import Treatment, date_of, date_range
from ricenet.importing.sequences import LEAST_SLICES, is_sequence, sequence_of
from ricenet.importing.series_map import NOT_USED, UNDECIDED, Proposals, ProposedRow
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
    candidates = [one for one in scans if is_sequence(one, first) or is_sequence(one, last)]
    days = {one.uid: one.first.date for one in candidates}
    if first == last:
        proposals |= _only(list(days), last, "")
    elif reason := _undatable(list(days.values()), planned, first, last):
        return proposals | dict.fromkeys(days, (UNDECIDED, reason))
    elif planned is not None:
        before = {uid: day for uid, day in days.items() if day is not None and day <= planned[0]}
        proposals |= _latest(before, planned[0], first)
        proposals |= _only([uid for uid in days if uid not in before], last, " after the planning")
    return proposals | _beside(scans, proposals, volumes)


def _propose_patient(series: Sequence[Series], volumes: Volumes) -> list[ProposedRow]:
    treatment = Treatment.of_series(series)
    proposals = propose_scans(series, reference_dates(series, treatment), volumes)
    if volumes.dose is not None:
        doses = propose_doses(treatment, volumes.dose.name)
        roles = {one.uid: proposals.get(one.uid, (NOT_USED, ""))[0] for one in series}
        beneath = volumes.reference_of(volumes.dose).name
        mris = [one for one in series if roles[one.uid] == beneath] or [
            one for one in series if roles[one.uid] == UNDECIDED
        ]
        needed = [one for one in treatment.doses if doses[one.uid][0] != NOT_USED]
        proposals |= doses | propose_planning_ct(series, needed, treatment, mris)
    return [row for one in series for row in _rows(one, proposals)]


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
    distance = f"{(planned - latest).days} day(s) before the planning"
    if len(chosen) == 1:
        return earlier | {chosen[0]: (spec.name, f"the latest {sequence_of(spec)}, {distance}")}
    note = f"{len(chosen)} {sequence_of(spec)} on the latest day, {distance}: keep one as {spec.name}"
    return earlier | dict.fromkeys(chosen, (UNDECIDED, note))


def _only(uids: Sequence[str], spec: VolumeSpec, where: str) -> Proposals:
    if len(uids) == 1:
        return {uids[0]: (spec.name, f"the only {sequence_of(spec)}{where}")}
    note = (
        f"several {sequence_of(spec)}{where}: keep as {spec.name} that of the visit at which the new lesion "
        "was first seen"
    )
    return dict.fromkeys(uids, (UNDECIDED, note))


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
        chosen = [one.uid for one in scans if is_sequence(one, spec) and one.first.study_uid in within]
        if len(chosen) == 1 and studies[reference.name]:
            found[chosen[0]] = (spec.name, f"the only {sequence_of(spec)} of the study of {reference.name}")
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
        return [_row(series.first, series.slices, series.uid, proposals)]
    if series.kind == "RTDOSE":
        return [_row(one, one.frames, one.sop_instance_uid, proposals) for one in series.instances]
    return []


def _row(instance: Instance, slices: int, uid: str, proposals: Proposals) -> ProposedRow:
    role, note = proposals.get(uid, (NOT_USED, ""))
    day = "" if instance.date is None else instance.date.isoformat()
    return ProposedRow(
        instance.patient_id, role, day, instance.kind, instance.series_description, slices, uid, note
    )
