"""Proposing which doses are the course's, and which CT they were planned on; never a guess between two."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ricenet.importing.dicom.dose import DoseHeader
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.plan import PlanObject
from ricenet.importing.dose.treatment import Parsed, Treatment, is_not_for_treatment, is_rejected
from ricenet.importing.sequences import LEAST_SLICES
from ricenet.importing.series_map import NOT_USED, PLANNING_CT, UNDECIDED, Proposals
from ricenet.importing.signs import LEAST_SIGNS, Signs

_WHOLE = ("PLAN", "MULTI_PLAN")
_REJECTED = "its RTPLAN is REJECTED: choose the dose of the plan that was delivered"
_NO_TREATMENT = "its RTPLAN is not for treatment (PlanIntent): choose the dose of the plan that was delivered"

_NAMES_NONE = (
    "it names no RTPLAN: write the SOPInstanceUID of its plan into plan_uid, or fractions and prescription_gy"
)

_Dose = Parsed[DoseHeader]


def propose_doses(treatment: Treatment, role: str, image_frames: Collection[str]) -> Proposals:
    """Roles of RTDOSE instances, by uid: one plan's whole dose, or all of its beams; else ?.

    Also ? where the plan is rejected or treats nobody, where a further one without a dose may be a part
    of the course, where no plan is named, or where less than two signs say what it is. role: the dose's.
    image_frames: frames of reference of the patient's images.
    """
    proposals = _by_type(treatment.doses, role)
    for dose in treatment.doses:
        proposed, note = proposals[dose.uid]
        if doubts := _doubts(dose, treatment, role) if proposed != NOT_USED else []:
            undecided = [note] if proposed == UNDECIDED else []
            proposals[dose.uid] = (UNDECIDED, "; ".join([*doubts, *undecided]))
        elif proposed == role:
            proposals[dose.uid] = _signs(dose, treatment, image_frames).judged(role, UNDECIDED, note)
    return proposals


def offered_plans(treatment: Treatment) -> dict[str, str]:
    """For doses that name no plan, by uid: the only plan that fits them, for the user to confirm."""
    fitting = {
        dose.uid: [plan for plan in treatment.plans if len(_plan_signs(dose, plan)) >= LEAST_SIGNS]
        for dose in treatment.doses
        if dose.content is not None and not dose.content.plan_uids
    }
    return {uid: plans[0].uid for uid, plans in fitting.items() if len(plans) == 1}


def _plan_signs(dose: _Dose, plan: Parsed[PlanObject]) -> tuple[str, ...]:
    """What says that a dose which names no plan was calculated for this one."""
    if dose.content is None or plan.content is None or is_rejected(plan) or is_not_for_treatment(plan):
        return ()
    frames = dose.content.frame_of_reference_uid, plan.content.frame_of_reference_uid
    if all(frames) and frames[0] != frames[1]:
        return ()
    days = {plan.content.date, plan.instance.date} - {None}
    signs = {
        "frame of reference": all(frames),
        "study": bool(plan.instance.study_uid) and plan.instance.study_uid == dose.instance.study_uid,
        "date": dose.instance.date in days,
    }
    return tuple(sign for sign, agrees in signs.items() if agrees)


def _signs(dose: _Dose, treatment: Treatment, image_frames: Collection[str]) -> Signs:
    assert dose.content is not None
    plans = {plan.uid for plan in treatment.plans}
    signs = {
        "summation type": True,
        "RTPLAN": plans.issuperset(dose.content.plan_uids),
        "frame of reference of an image": dose.content.frame_of_reference_uid in image_frames,
    }
    return Signs(tuple(sign for sign, agrees in signs.items() if agrees))


def propose_planning_ct(
    series: Sequence[Series], doses: Sequence[_Dose], treatment: Treatment, mris: Sequence[Series]
) -> Proposals:
    """The CT through which the dose finds the reference MRI, where they share no frame of reference.

    doses, mris: those proposed, or to be decided on.
    """
    frames = {dose.content.frame_of_reference_uid for dose in doses if dose.content} - {""}
    if not doses or not mris or all(one.first.frame_of_reference_uid in frames for one in mris):
        return {}
    drawn_on = treatment.drawn_on(treatment.structure_sets_of(doses))
    # a CT in another frame of reference cannot say where the dose lies, whatever was drawn on it
    in_frame = [
        one
        for one in series
        if one.kind == "CT" and one.slices >= LEAST_SLICES and one.first.frame_of_reference_uid in frames
    ]
    referenced = [one for one in in_frame if one.uids & drawn_on]
    chosen = referenced or in_frame
    if len(chosen) == 1:
        signs = Signs(tuple(_ct_signs(chosen[0], doses, bool(referenced))))
        how = "its structure set was drawn on it" if referenced else "it shares the dose's frame of reference"
        return {chosen[0].uid: signs.judged(PLANNING_CT, UNDECIDED, f"the dose's CT: {how}")}
    note = f"{len(chosen)} CTs may be the dose's: keep the one that it was planned on as {PLANNING_CT}"
    return {one.uid: (UNDECIDED, note) for one in chosen}


def _offer(dose: _Dose, treatment: Treatment, offered: str | None) -> str:
    signs = [sign for plan in treatment.plans if plan.uid == offered for sign in _plan_signs(dose, plan)]
    return f"it names no RTPLAN; the only one of its {', '.join(signs)} stands in plan_uid"


def _ct_signs(ct: Series, doses: Sequence[_Dose], is_drawn_on: bool) -> Iterator[str]:
    """What says that a CT in the doses' frame of reference is the one they were planned on."""
    yield "frame of reference"
    if is_drawn_on:
        yield "structure set"
    if ct.first.study_uid and ct.first.study_uid in {dose.instance.study_uid for dose in doses}:
        yield "study"
    if ct.first.date is not None and ct.first.date in {dose.instance.date for dose in doses}:
        yield "date"


def _doubts(dose: _Dose, treatment: Treatment, role: str) -> list[str]:
    """Why the dose may not be the course that was delivered, whatever it holds."""
    own = [plan for plan in treatment.plans if dose.content and plan.uid in dose.content.plan_uids]
    offered = offered_plans(treatment).get(dose.uid)
    unnamed = dose.content is not None and not dose.content.plan_uids
    doubts = {
        _NAMES_NONE: unnamed and offered is None,
        f"{_offer(dose, treatment, offered)}: write {role} to confirm it": offered is not None,
        _REJECTED: any(map(is_rejected, own)),
        _NO_TREATMENT: any(map(is_not_for_treatment, own)),
        "a further RTPLAN of the patient has no RTDOSE: is the course complete? "
        f"Keep as {role} what was delivered": any(plan.uid != offered for plan in treatment.further_plans),
    }
    return [doubt for doubt, applies in doubts.items() if applies]


def _by_type(doses: Sequence[_Dose], role: str) -> Proposals:
    proposals: Proposals = {}
    readable: dict[str, DoseHeader] = {}
    for dose in doses:
        if dose.content is None:
            proposals[dose.uid] = (UNDECIDED, "cannot be read: export it again, or leave the role empty")
        elif not dose.content.has_grid:
            proposals[dose.uid] = (NOT_USED, "without a dose grid")
        else:
            readable[dose.uid] = dose.content
    if len({frozenset(header.plan_uids) for header in readable.values()}) > 1:
        note = (
            f"doses of several plans: keep those of the course as {role}, and write the same course in each "
            "if they were delivered as one"
        )
        return proposals | dict.fromkeys(readable, (UNDECIDED, note))
    return proposals | _of_one_plan({uid: one.summation_type for uid, one in readable.items()}, role)


def _of_one_plan(types: dict[str, str], role: str) -> Proposals:
    """types: of doses of the same plan, or without a reference to one, by uid."""
    whole = [uid for uid, kind in types.items() if kind in _WHOLE]
    parts = [uid for uid in types if uid not in whole]
    if whole:
        unused: Proposals = dict.fromkeys(parts, (NOT_USED, "a part of the plan's dose, which is there"))
        if len(whole) == 1:
            return unused | {whole[0]: (role, f"{types[whole[0]]} dose, the only one")}
        return unused | dict.fromkeys(
            whole, (UNDECIDED, f"{len(whole)} doses of the whole plan: keep one as {role}")
        )
    if set(types.values()) == {"BEAM"}:
        return dict.fromkeys(parts, (role, f"one of {len(parts)} BEAM doses of a plan"))
    if list(types.values()) == ["FRACTION"]:
        return {parts[0]: (role, "FRACTION dose, the only one")}
    note = f"neither one dose of the plan nor all of its beams: keep what makes up the course as {role}"
    return dict.fromkeys(parts, (UNDECIDED, note))
