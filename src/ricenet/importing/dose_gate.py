"""Which dose is the course's dose: every decision is written down, every ambiguity is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.plan import PlanObject, StructureSet, read_plan, read_structures
from ricenet.importing.dose_decisions import PlanDose, judge_plan
from ricenet.importing.dose_meaning import require_plausible, require_prescribed
from ricenet.importing.dose_objects import BY_IMPORT, ChosenDose, require_one_frame, require_usable
from ricenet.importing.dose_plans import told_of_further
from ricenet.importing.dose_schedule import Schedule, agreed
from ricenet.importing.dose_sums import sum_of_plans
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

Object = TypeVar("Object")


@dataclass(frozen=True)
class CourseDose:
    """The dose of one course, still in its planning image's space.

    dose: Gy, on the dose grid (RAS); of the whole course, or of one fraction as the sidecar says.
    sidecar: content of the dose's JSON, free of identifiers, `Decisions` among it.
    structure_set_uids: that lead to the planning CT.
    """

    dose: Volume
    frame_of_reference_uid: str
    sidecar: Mapping[str, object]
    structure_set_uids: tuple[str, ...]

    def with_decision(self, decision: str) -> CourseDose:
        """The same, with one more decision written down."""
        decisions = self.sidecar.get("Decisions", [])
        assert isinstance(decisions, list)
        return replace(self, sidecar={**self.sidecar, "Decisions": [*decisions, decision]})


def judge_dose(source: PatientSource) -> CourseDose:
    """Read the chosen doses and decide what they mean together.

    Raises SourceError: anything ambiguous or contradictory; says which objects, and which choice to make.
    """
    chosen = [
        ChosenDose(read_dose(one.instance), one.course, one.dose_of, one.fractions, one.prescription_gy)
        for one in source.doses
    ]
    plan_uids = {uid for one in chosen for uid in one.dose.plan_uids}
    plans = _read_those(source.plans, plan_uids, read_plan)
    structure_set_uids = structure_sets_of(chosen, plans)
    structures = _read_those(source.structures, structure_set_uids, read_structures)
    course = judge_course(chosen, plans, structures)
    further = told_of_further(one for one in source.plans if one.sop_instance_uid not in plan_uids)
    return course if further is None else course.with_decision(further)


def judge_course(
    chosen: Sequence[ChosenDose], plans: Mapping[str, PlanObject], structures: Mapping[str, StructureSet]
) -> CourseDose:
    """Decide what doses mean together, from what the objects state.

    plans, structures: those that the doses refer to and that are in the export, by SOP instance UID.
    Raises SourceError: as `judge_dose`.
    Source: DICOM PS3.3 C.8.8.3 (RT Dose).
    """
    require_usable(chosen)
    require_one_frame(chosen, plans, structures)
    groups = by_plan(chosen)
    parts = [judge_plan(group, plans) for group in groups]
    if len(parts) == 1:
        (part,) = parts
        dose, schedule, decisions = part.dose, part.schedule, part.decisions
        if schedule.prescription_gy is None:
            decisions = (*decisions, require_plausible(part.maximum_gy, part.extent, schedule))
    else:
        _require_one_course(chosen, len(parts))
        dose, schedule, decisions = _sum_of(parts)
    return CourseDose(
        dose,
        chosen[0].dose.frame_of_reference_uid,
        _sidecar(parts, schedule, chosen[0].dose.dose_type, decisions),
        structure_sets_of(chosen, plans),
    )


def by_plan(chosen: Sequence[ChosenDose]) -> list[list[ChosenDose]]:
    """The doses that belong to the same plan (or the same plans, summed), in the order chosen.

    Raises SourceError: doses that hold the same plan's dose twice, or a plan's doses said to be of
    different courses.
    """
    groups: dict[object, list[ChosenDose]] = {}
    for number, one in enumerate(chosen):
        # without a reference, each dose stands for a plan of its own
        key = frozenset(one.plan_uids) or (None if one.dose.summation_type == "BEAM" else number)
        groups.setdefault(key, []).append(one)
    for group in groups.values():
        _require_counted_once(group)
        agreed("course", [one.course for one in group])
    referenced = [uid for group in groups.values() for uid in group[0].plan_uids]
    if len(set(referenced)) < len(referenced):
        raise SourceError(
            f"{len(chosen)} RTDOSE, of which one of several plans holds the dose of another chosen one",
            "Choose either the sum (MULTI_PLAN) or the doses of its plans: together they count twice.",
        )
    return list(groups.values())


def structure_sets_of(chosen: Iterable[ChosenDose], plans: Mapping[str, PlanObject]) -> tuple[str, ...]:
    """SOP instance UIDs of the RTSTRUCTs that the doses' plans and the doses themselves refer to."""
    uids = [uid for plan in plans.values() for uid in plan.structure_set_uids]
    uids += [uid for one in chosen for uid in one.dose.structure_set_uids]
    return tuple(dict.fromkeys(uids))


def _read_those(
    instances: Iterable[Instance], uids: Iterable[str], read: Callable[[Instance], Object]
) -> dict[str, Object]:
    wanted = set(uids)
    return {one.sop_instance_uid: read(one) for one in instances if one.sop_instance_uid in wanted}


def _require_counted_once(group: Sequence[ChosenDose]) -> None:
    kinds = [one.dose.summation_type for one in group]
    if len(group) > 1 and set(kinds) != {"BEAM"}:
        told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
        raise SourceError(
            f"{len(group)} RTDOSE of one plan chosen together (summation types: {told}): its dose would "
            "count twice",
            "Choose the plan's dose alone, or the dose of every treatment beam without it.",
        )


def _require_one_course(chosen: Sequence[ChosenDose], plans: int) -> None:
    courses = {one.course for one in chosen}
    if courses & {None, ""} or len(courses) > 1:
        raise SourceError(
            f"{len(chosen)} RTDOSE of {plans} plans, not all of the same course",
            "Give all doses that add up the same course in the map, or choose those of one plan "
            f"{BY_IMPORT}.",
        )


def _sum_of(parts: Sequence[PlanDose]) -> tuple[Volume, Schedule, tuple[str, ...]]:
    """The course of several plans: doses, fractions and prescriptions add, as far as all are known."""
    dose, how = sum_of_plans([part.of_all_fractions for part in parts])
    fractions = [part.schedule.fractions for part in parts]
    prescriptions = [part.schedule.prescription_gy for part in parts]
    schedule = Schedule(
        None if None in fractions else sum(n for n in fractions if n is not None),
        None if None in prescriptions else round(sum(gy for gy in prescriptions if gy is not None), 6),
    )
    maximum_gy = float(dose.data.max())
    if schedule.prescription_gy is None:
        compared = require_plausible(maximum_gy, "course", schedule)
    else:
        compared = require_prescribed(maximum_gy, "course", schedule, schedule.prescription_gy)
    decisions = [f"Plan {n}: {text}" for n, part in enumerate(parts, start=1) for text in part.decisions]
    summed = (
        f"The doses of {len(parts)} plans of one course are summed {how}; fractions and prescriptions add."
    )
    return dose, schedule, (*decisions, summed, compared)


def _sidecar(
    parts: Sequence[PlanDose], schedule: Schedule, dose_type: str, decisions: Sequence[str]
) -> dict[str, object]:
    one_fraction = len(parts) == 1 and parts[0].extent == "fraction"
    content: dict[str, object] = {
        "DoseUnits": "GY",
        "DoseSummationType": "FRACTION" if one_fraction else "PLAN",
        "DoseType": dose_type,
        "SourceSummationType": "+".join(sorted({part.summation_type for part in parts})),
        "Decisions": list(decisions),
    }
    if schedule.fractions is not None:
        content["NumberOfFractions"] = schedule.fractions
    if schedule.prescription_gy is not None:
        content["PrescriptionGy"] = schedule.prescription_gy
    plans, beams = sum(part.plans for part in parts), sum(part.beams for part in parts)
    if plans > 1:
        content["PlansSummed"] = plans
    if beams:
        content["BeamsSummed"] = beams
    return content
