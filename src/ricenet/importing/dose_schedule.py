"""How a plan's dose was to be given: fractions and prescription, by the plan and by the user's statements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ricenet.importing.dicom.plan import PlanObject
from ricenet.importing.dose_objects import IN_THE_MAP, ChosenDose
from ricenet.runtime.errors import SourceError

Value = TypeVar("Value")

SAME_PRESCRIPTION_GY = 0.01
"""Prescriptions nearer to each other than this are the same, written with other decimals."""


@dataclass(frozen=True)
class Schedule:
    """Fractions and prescription of what one dose covers; None where nobody states them.

    decisions: where each comes from.
    """

    fractions: int | None
    prescription_gy: float | None
    decisions: tuple[str, ...] = ()


def schedule_of(group: Sequence[ChosenDose], plans: Sequence[PlanObject], several_plans: bool) -> Schedule:
    """The schedule of one plan, or of all plans that a dose of several covers.

    group: the doses that belong to it. plans: those of its RTPLANs that are in the export.
    The user's word counts for what the plans lack, and may repeat what they say.
    Raises SourceError: a plan is missing and not made up for, a plan that does not say how many
    fractions it has, statements that contradict a plan or each other.
    Source: DICOM PS3.3 C.8.8.10, C.8.8.13; the fractions and prescriptions of several plans add.
    """
    fractions = agreed("fractions", [one.fractions for one in group])
    prescription_gy = agreed("prescription_gy", [one.prescription_gy for one in group])
    if len(plans) < _expected(group, several_plans):
        return _without_plans(fractions, prescription_gy, several_plans)
    planned_fractions = _total([_planned_fractions(plan, fractions) for plan in plans])
    planned_gy = _total([plan.prescription_gy for plan in plans])
    count, whose_count = _reconciled("fractions", planned_fractions, fractions, 0)
    gy, whose_gy = _reconciled("prescription_gy", planned_gy, prescription_gy, SAME_PRESCRIPTION_GY)
    return Schedule(
        None if count is None else int(count),
        gy,
        (
            f"Number of fractions: {_told(count)}{whose_count}.",
            f"Prescription in Gy: {_told(gy)}{whose_gy}.",
        ),
    )


def agreed(column: str, values: Sequence[Value | None]) -> Value | None:
    """What the rows of one plan state in a column, as far as they state anything.

    Raises SourceError: they state different things.
    """
    stated = list(dict.fromkeys(value for value in values if value is not None))
    if len(stated) > 1:
        raise SourceError(
            f"{len(values)} RTDOSE of one plan with {len(stated)} different values of {column}",
            f"State the same for all doses of a plan {IN_THE_MAP}.",
        )
    return stated[0] if stated else None


def _expected(group: Sequence[ChosenDose], several_plans: bool) -> int:
    """How many plans have to be there: those referred to, and what the kind of dose implies."""
    return max(len(group[0].plan_uids), 2 if several_plans else 1)


def _without_plans(fractions: int | None, prescription_gy: float | None, several_plans: bool) -> Schedule:
    # the sum of several plans is never scaled, so that its number of fractions may stay unknown
    if prescription_gy is None or (fractions is None and not several_plans):
        found = (
            "an RTDOSE of several plans, of which not all are in the export"
            if several_plans
            else "an RTDOSE whose RTPLAN is not in the export"
        )
        needed = "prescription_gy" if several_plans else "prescription_gy and fractions"
        raise SourceError(found, f"Add the RTPLAN to the export, or state {needed} {IN_THE_MAP}.")
    return Schedule(
        fractions,
        prescription_gy,
        (
            f"Not every RTPLAN is in the export: fractions ({_told(fractions)}) and prescription "
            f"({prescription_gy:g} Gy) as stated by the user.",
        ),
    )


def _planned_fractions(plan: PlanObject, stated: int | None) -> int | None:
    if stated is None and plan.fraction_groups > 1:
        raise SourceError(
            f"an RTPLAN of {plan.fraction_groups} fraction groups",
            f"State the number of fractions that the dose stands for, as fractions {IN_THE_MAP}.",
        )
    if stated is None and plan.fractions is not None and plan.fractions < 1:
        raise SourceError(f"an RTPLAN of {plan.fractions} fractions", f"State fractions {IN_THE_MAP}.")
    known = plan.fraction_groups <= 1 and (plan.fractions or 0) > 0
    return plan.fractions if known else None


def _total(values: Sequence[float | None]) -> float | None:
    """The sum, where every plan states its part."""
    known = [value for value in values if value is not None]
    return round(sum(known), 6) if len(known) == len(values) else None


def _reconciled(
    column: str, planned: float | None, stated: float | None, tolerance: float
) -> tuple[float | None, str]:
    if planned is None:
        return stated, "" if stated is None else ", as stated by the user, since the plan does not say"
    if stated is not None and not math.isclose(planned, stated, rel_tol=0, abs_tol=tolerance):
        raise SourceError(
            f"the plan says {column} {planned:g}, {stated:g} is stated",
            f"Correct {column} {IN_THE_MAP}, or leave it out; what a plan says is not overridden.",
        )
    return planned, ", by the plan"


def _told(value: float | None) -> str:
    return "not stated" if value is None else f"{value:g}"
