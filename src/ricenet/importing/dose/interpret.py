"""Which dose is the course's dose: every decision is written down, every ambiguity is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ricenet.cohort.dose_limits import (
    LEAST_COURSE_GY,
    MOST_COURSE_GY,
    Extent,
    dose_fault,
)
from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.plan import PlanObject, StructureSet
from ricenet.importing.dose.course_dose import ChosenDose, CourseDose, ReadDose
from ricenet.importing.dose.meaning import extent_of, in_gy
from ricenet.importing.dose.statement import (
    IN_THE_MAP,
    PLAN_IN_THE_MAP,
    DoseStatement,
    require_deliverable,
    with_plans,
)
from ricenet.importing.dose.sum import sum_of_beams, sum_of_plans
from ricenet.importing.dose.treatment import Treatment, required_of
from ricenet.importing.dose.usable import BY_IMPORT, require_one_frame, require_usable
from ricenet.runtime.errors import SourceError

LEAST_FRACTION_GY = 1.0
"""Hyperfractionated courses give 1.2 Gy a fraction."""


def read_course(chosen: Sequence[ChosenDose], treatment: Treatment) -> CourseDose:
    """Read the chosen doses and decide what they mean together.

    Raises SourceError: anything ambiguous or contradictory; says which objects, and which choice to make.
    """
    doses = [ReadDose(read_dose(one.instance), one.stated) for one in chosen]
    plans = required_of(treatment.plans, (uid for one in doses for uid in one.plan_uids))
    structures = required_of(treatment.structures, structure_sets_of(doses, plans))
    course = judge_course(doses, plans, structures)
    if not (further := len(treatment.further_plans)):
        return course
    return course.decided(
        f"{further} further RTPLAN(s) of the patient without a dose in the course: a boost or another course "
        "may be missing."
    )


def judge_course(
    doses: Sequence[ReadDose], plans: Mapping[str, PlanObject], structures: Mapping[str, StructureSet]
) -> CourseDose:
    """Decide what doses mean together, from what the objects state.

    plans, structures: those that the doses refer to and that are in the export, by SOP instance UID.
    Raises SourceError: as `read_course`.
    Source: DICOM PS3.3 C.8.8.3 (RT Dose).
    """
    for number, one in enumerate(doses, start=1):
        one.stated.require_numbers(f"RTDOSE {number} of {len(doses)} chosen")
    require_usable([one.content for one in doses])
    require_one_frame([one.content for one in doses], plans, structures)
    parts = [judge_plan(group, plans) for group in by_plan(doses)]
    course = parts[0] if len(parts) == 1 else _sum_of(doses, parts)
    if len(parts) > 1 or course.stated.prescription_gy is None:
        course = _with_possible_dose(course)
    elif all(one.stated.prescription_gy is None for one in doses):
        _require_no_fraction(course)
    drawn_on = frozenset(uid for one in structures.values() for uid in one.image_series_uids)
    return replace(course, drawn_on=drawn_on)


def judge_plan(group: Sequence[ReadDose], plans: Mapping[str, PlanObject]) -> CourseDose:
    """Decide what the doses that belong to one plan (or one set of plans) are together.

    group: several only where they are of beams. plans: RTPLANs at hand, by SOP instance UID.
    Raises SourceError: whatever leaves the meaning open, or contradicts a plan.
    """
    doses, plan_uids = [one.content for one in group], group[0].plan_uids
    kind = doses[0].summation_type
    stated = DoseStatement.agreed([one.stated for one in group])
    _require_plans_as_meant(kind, len(plan_uids), stated.dose_of)
    at_hand = [plans[uid] for uid in plan_uids if uid in plans]
    if kind == "BEAM" and not at_hand:
        raise SourceError(
            f"{len(group)} RTDOSE of summation type BEAM whose RTPLAN is not in the export",
            f"Add the RTPLAN, or write {PLAN_IN_THE_MAP}: only it says which beams there are.",
        )
    decisions = list(dict.fromkeys(text for one in group for text in one.decisions))
    decisions += require_deliverable(at_hand)
    several = kind == "MULTI_PLAN"
    completed, by_whom = with_plans(stated, at_hand, len(plan_uids), several)
    values, beams = doses[0].values, 0
    if kind == "BEAM":
        values, beams = sum_of_beams(doses, at_hand[0]), len(at_hand[0].beams)
        decisions.append(f"The doses of all {beams} treatment beams are summed.")
    dose, taken_in_gy = in_gy(values, {one.units for one in doses}, stated.prescription_gy)
    extent, why = extent_of(kind, completed, float(dose.data.max()))
    plan = CourseDose(
        dose,
        replace(completed, dose_of=extent),
        doses[0].dose_type,
        (kind,),
        doses[0].frame_of_reference_uid,
        plans=max(len(plan_uids), 1),
        beams=beams,
        decisions=(*decisions, *by_whom, *taken_in_gy, why),
    )
    return plan if completed.prescription_gy is None else _with_possible_dose(plan)


def by_plan(doses: Sequence[ReadDose]) -> list[list[ReadDose]]:
    """The doses that belong to the same plan (or the same plans, summed), in the order chosen.

    Raises SourceError: doses that hold the same plan's dose twice.
    """
    groups: dict[object, list[ReadDose]] = {}
    for number, one in enumerate(doses):
        # without a reference, each dose stands for a plan of its own
        key = frozenset(one.plan_uids) or (None if one.content.summation_type == "BEAM" else number)
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        kinds = sorted(one.content.summation_type for one in group)
        if len(group) > 1 and set(kinds) != {"BEAM"}:
            counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
            raise SourceError(
                f"{len(group)} RTDOSE of one plan chosen together (summation types: {counts}): its dose "
                "would count twice",
                "Choose the plan's dose alone, or the dose of every treatment beam without it.",
            )
    referenced = [uid for group in groups.values() for uid in group[0].plan_uids]
    if len(set(referenced)) < len(referenced):
        raise SourceError(
            f"{len(doses)} RTDOSE, of which one of several plans holds the dose of another chosen one",
            "Choose either the sum (MULTI_PLAN) or the doses of its plans: together they count twice.",
        )
    return list(groups.values())


def structure_sets_of(doses: Sequence[ReadDose], plans: Mapping[str, PlanObject]) -> tuple[str, ...]:
    """SOP instance UIDs of the RTSTRUCTs that the doses' plans and the doses themselves refer to."""
    uids = [uid for plan in plans.values() for uid in plan.structure_set_uids]
    uids += [uid for one in doses for uid in one.content.structure_set_uids]
    return tuple(dict.fromkeys(uids))


def _require_plans_as_meant(kind: str, referenced: int, dose_of: Extent | None) -> None:
    if kind != "MULTI_PLAN" and referenced > 1:
        raise SourceError(
            f"an RTDOSE of summation type {kind} that refers to {referenced} plans, expected 1",
            "Export the dose of each plan, or their sum as MULTI_PLAN.",
        )
    if kind == "MULTI_PLAN" and dose_of == "fraction":
        raise SourceError(
            "dose_of=fraction is stated of an RTDOSE of summation type MULTI_PLAN",
            "Choose the doses of the plans instead: fractions of several plans cannot be scaled together "
            f"{BY_IMPORT}.",
        )


def _sum_of(doses: Sequence[ReadDose], parts: Sequence[CourseDose]) -> CourseDose:
    """The course of several plans: doses, fractions and prescriptions add, as far as all are known."""
    if len({part.stated.course or number for number, part in enumerate(parts)}) > 1:
        raise SourceError(
            f"{len(doses)} RTDOSE of {len(parts)} plans, not all of the same course",
            "Give all doses that add up the same course in the map, or choose those of one plan "
            f"{BY_IMPORT}.",
        )
    dose, how = sum_of_plans([part.of_all_fractions for part in parts])
    fractions = [part.stated.fractions for part in parts]
    prescriptions = [part.stated.prescription_gy for part in parts]
    stated = DoseStatement(
        dose_of="course",
        fractions=None if None in fractions else sum(n for n in fractions if n is not None),
        prescription_gy=None
        if None in prescriptions
        else round(sum(gy for gy in prescriptions if gy is not None), 6),
    )
    decisions = [f"Plan {n}: {text}" for n, part in enumerate(parts, start=1) for text in part.decisions]
    summed = (
        f"The doses of {len(parts)} plans of one course are summed {how}; fractions and prescriptions add."
    )
    return replace(
        parts[0],
        dose=dose,
        stated=stated,
        summation_types=tuple(sorted({kind for part in parts for kind in part.summation_types})),
        plans=sum(part.plans for part in parts),
        beams=sum(part.beams for part in parts),
        decisions=(*decisions, summed),
    )


def _require_no_fraction(course: CourseDose) -> None:
    """Refuse a course that only its plan calls whole, of less a fraction than any course gives.

    Where a plan prescribes one fraction's dose and the RTDOSE holds that, they agree with each other.
    Raises SourceError.
    """
    fractions, course_gy = course.stated.fractions or 1, float(course.of_all_fractions.data.max())
    if fractions > 1 and course_gy < LEAST_FRACTION_GY * fractions:
        raise SourceError(
            f"the course's dose reaches {course_gy:.2f} Gy in {fractions} fractions, and the plan prescribes "
            f"{course.stated.prescription_gy:g} Gy: both may be of one fraction",
            "State prescription_gy of the whole course, and dose_of=fraction if the dose is one fraction's, "
            f"{IN_THE_MAP}.",
        )


def _with_possible_dose(course: CourseDose) -> CourseDose:
    """The same, with how its largest dose compares to the prescription, or to what courses reach.

    Raises SourceError: as `dose_fault` says.
    """
    stated, maximum_gy = course.stated, float(course.dose.data.max())
    fault = dose_fault(maximum_gy, course.extent, stated.fractions, stated.prescription_gy)
    if fault is not None:
        raise SourceError(fault.found, fault.remedy)
    course_gy = maximum_gy * (stated.fractions or 1) if course.extent == "fraction" else maximum_gy
    if stated.prescription_gy is not None:
        share = course_gy / stated.prescription_gy
        return course.decided(f"The largest dose of all fractions is {share:.0%} of the prescription.")
    return course.decided(
        f"Prescription not stated: of the largest dose of all fractions, {course_gy:.1f} Gy, only that it "
        f"lies within {LEAST_COURSE_GY:g} to {MOST_COURSE_GY:g} Gy was checked."
    )
