"""Proposing which doses are the course's, and which CT they were planned on."""

from __future__ import annotations

from collections.abc import Sequence

from ricenet.importing.contrast_t1 import LEAST_SLICES
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dose_plans import NOT_FOR_TREATMENT
from ricenet.importing.radiotherapy import KnownDose, KnownPlan, Radiotherapy
from ricenet.importing.series_map import Role

Proposals = dict[str, tuple[Role, str]]

WHOLE = ("PLAN", "MULTI_PLAN")
SEVERAL_PLANS = (
    "doses of several plans: keep those of the course as dose, and write the same course in each "
    "if they were delivered as one"
)
REJECTED = "its RTPLAN is REJECTED: choose the dose of the plan that was delivered"
NO_TREATMENT = "its RTPLAN is not for treatment (PlanIntent): choose the dose of the plan that was delivered"
MORE_PLANS = (
    "a further RTPLAN of the patient has no RTDOSE: is the course complete? Keep as dose what was delivered"
)


def propose_doses(therapy: Radiotherapy) -> Proposals:
    """Roles of RTDOSE instances, by uid: one plan's whole dose, or all of its beams; else ?.

    Also ? where the plan is rejected or treats nobody, or where a further one without a dose may be a part
    of the course.
    """
    proposals = _by_type(therapy.doses)
    for dose in therapy.doses:
        role, note = proposals[_uid(dose)]
        if doubts := _doubts(dose, therapy) if role else []:
            undecided = [note] if role == "?" else []
            proposals[_uid(dose)] = ("?", "; ".join([*doubts, *undecided]))
    return proposals


def _doubts(dose: KnownDose, therapy: Radiotherapy) -> list[str]:
    """Why the dose may not be the course that was delivered, whatever it holds."""
    own = [plan for plan in therapy.plans if plan.instance.sop_instance_uid in _plans(dose)]
    further = [plan for plan in therapy.plans if plan not in therapy.referenced_plans and _may_treat(plan)]
    doubts = {
        REJECTED: any(map(_is_rejected, own)),
        NO_TREATMENT: any(map(_treats_nobody, own)),
        MORE_PLANS: bool(further),
    }
    return [doubt for doubt, applies in doubts.items() if applies]


def _may_treat(plan: KnownPlan) -> bool:
    """Whether somebody may have been treated by a plan, as far as it can be read."""
    return not _is_rejected(plan) and not _treats_nobody(plan)


def _is_rejected(plan: KnownPlan) -> bool:
    return plan.content is not None and plan.content.approval == "REJECTED"


def _treats_nobody(plan: KnownPlan) -> bool:
    return plan.content is not None and plan.content.intent in NOT_FOR_TREATMENT


def _by_type(doses: Sequence[KnownDose]) -> Proposals:
    proposals: Proposals = {}
    readable: list[KnownDose] = []
    for dose in doses:
        if dose.header is None:
            proposals[_uid(dose)] = ("?", "cannot be read: export it again, or leave the role empty")
        elif not dose.header.has_grid:
            proposals[_uid(dose)] = ("", "without a dose grid")
        else:
            readable.append(dose)
    if len({_plans(dose) for dose in readable}) > 1:
        return proposals | {_uid(dose): ("?", SEVERAL_PLANS) for dose in readable}
    return proposals | _of_one_plan(readable)


def propose_planning_ct(
    series: Sequence[Series], doses: Sequence[KnownDose], therapy: Radiotherapy, post_ops: Sequence[Series]
) -> Proposals:
    """The CT through which the dose finds the post-operative scan, where they share no frame of reference.

    doses: those proposed, or to be decided on; post_ops: likewise.
    """
    frames = {dose.header.frame_of_reference_uid for dose in doses if dose.header} - {""}
    if not doses or not post_ops or all(one.first.frame_of_reference_uid in frames for one in post_ops):
        return {}
    scans = [one for one in series if one.kind == "CT" and one.slices >= LEAST_SLICES]
    drawn_on = therapy.drawn_on(doses)
    # a CT in another frame of reference cannot say where the dose lies, whatever was drawn on it
    in_frame = [one for one in scans if one.first.frame_of_reference_uid in frames]
    referenced = [one for one in in_frame if one.uid in drawn_on]
    chosen = referenced or in_frame
    if len(chosen) == 1:
        how = "its structure set was drawn on it" if referenced else "it shares the dose's frame of reference"
        return {chosen[0].uid: ("planning_ct", f"the dose's CT: {how}")}
    note = f"{len(chosen)} CTs may be the dose's: keep the one that it was planned on as planning_ct"
    return {one.uid: ("?", note) for one in chosen}


def _of_one_plan(doses: Sequence[KnownDose]) -> Proposals:
    """doses: all of the same plan, or all without a reference to one."""
    whole = [dose for dose in doses if _type(dose) in WHOLE]
    parts = [dose for dose in doses if dose not in whole]
    if whole:
        unused: Proposals = {_uid(dose): ("", "a part of the plan's dose, which is there") for dose in parts}
        if len(whole) == 1:
            return unused | {_uid(whole[0]): ("dose", f"{_type(whole[0])} dose, the only one")}
        note = f"{len(whole)} doses of the whole plan: keep one as dose"
        return unused | {_uid(dose): ("?", note) for dose in whole}
    types = {_type(dose) for dose in parts}
    if types == {"BEAM"}:
        return {_uid(dose): ("dose", f"one of {len(parts)} BEAM doses of a plan") for dose in parts}
    if types == {"FRACTION"} and len(parts) == 1:
        return {_uid(parts[0]): ("dose", "FRACTION dose, the only one")}
    note = "neither one dose of the plan nor all of its beams: keep what makes up the course as dose"
    return {_uid(dose): ("?", note) for dose in parts}


def _plans(dose: KnownDose) -> frozenset[str]:
    return frozenset(dose.header.plan_uids if dose.header else ())


def _type(dose: KnownDose) -> str:
    return dose.header.summation_type if dose.header else ""


def _uid(dose: KnownDose) -> str:
    return dose.instance.sop_instance_uid
