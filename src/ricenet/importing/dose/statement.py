"""What is stated of a dose beside its voxels: by the user, and by the plans that it refers to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ricenet.cohort.dose_limits import Extent
from ricenet.importing.dicom.plan import PlanObject
from ricenet.runtime.errors import SourceError

IN_THE_MAP = "in the map (for predict: --dose-of, --fractions, --prescription)"

PLAN_IN_THE_MAP = "its RTPLAN's SOPInstanceUID as plan_uid in the map"

NOT_FOR_TREATMENT = {"VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE"}
"""PlanIntents of plans that no patient is treated by."""

CORRECTS = "which corrects the plan's"
"""In every decision by which the user's word counts before a plan's."""

SAME_PRESCRIPTION_GY = 0.01
"""Prescriptions nearer to each other than this are the same, written with other decimals."""


@dataclass(frozen=True)
class DoseStatement:
    """What is stated of one dose, or of the course in the end; None where nobody states it.

    course: doses of different plans with the same course are summed. dose_of: what the voxels hold.
    fractions, prescription_gy: of the plan or course that the dose belongs to. plan_uid: SOPInstanceUID of
    the RTPLAN, where the RTDOSE names none, or a wrong one.
    """

    course: str | None = None
    dose_of: Extent | None = None
    fractions: int | None = None
    prescription_gy: float | None = None
    plan_uid: str | None = None

    @classmethod
    def agreed(cls, statements: Sequence[DoseStatement]) -> DoseStatement:
        """What the doses of one plan state together, as far as they state anything.

        Raises SourceError: they state different things.
        """
        agreed: dict[str, object] = {}
        for column in COLUMNS:
            values = {value for one in statements if (value := getattr(one, column)) is not None}
            if len(values) > 1:
                raise SourceError(
                    f"{len(statements)} RTDOSE of one plan with {len(values)} different values of {column}",
                    f"State the same for all doses of a plan {IN_THE_MAP}.",
                )
            agreed[column] = values.pop() if values else None
        return cls(**agreed)  # type: ignore[arg-type]

    def require_numbers(self, name: str) -> None:
        """Raise SourceError where fractions or prescription are no such numbers. name: of the dose."""
        fractions, gy = self.fractions, self.prescription_gy
        if fractions is not None and fractions < 1:
            raise SourceError(
                f"{name}: fractions {fractions} is stated", f"State a positive whole number {IN_THE_MAP}."
            )
        if gy is not None and not (math.isfinite(gy) and gy > 0):
            raise SourceError(
                f"{name}: prescription_gy {gy:g} is stated", f"State a positive number of Gy {IN_THE_MAP}."
            )


NOTHING_STATED = DoseStatement()
COLUMNS = tuple(field.name for field in fields(DoseStatement))
"""Names of what may be stated: columns of the map."""


def with_plans(
    stated: DoseStatement, plans: Sequence[PlanObject], named: int, several: bool
) -> tuple[DoseStatement, tuple[str, ...]]:
    """A statement completed by the plans that the dose refers to, and where each number comes from.

    plans: those at hand; named: how many the dose refers to. several: of which the dose holds the sum.
    The user's word counts: it fills in what the plans lack, and corrects what they say. Plans prescribe one
    beam's share or in cGy; then both values are written down.
    Raises SourceError: a plan is missing and not made up for, or does not say how many fractions it has.
    Source: DICOM PS3.3 C.8.8.10, C.8.8.13; the fractions and prescriptions of several plans add.
    """
    if len(plans) < max(named, 2 if several else 1):
        return stated, (_without_plans(stated, named, several),)
    planned_fractions = _total([_planned_fractions(plan, stated.fractions) for plan in plans])
    planned_gy = _total([plan.prescription_gy for plan in plans])
    fractions, whose = _reconciled(planned_fractions, stated.fractions, 0)
    gy, whose_gy = _reconciled(planned_gy, stated.prescription_gy, SAME_PRESCRIPTION_GY)
    completed = replace(stated, fractions=None if fractions is None else int(fractions), prescription_gy=gy)
    return completed, (
        f"Number of fractions: {_shown(fractions)}{whose}.",
        f"Prescription in Gy: {_shown(gy)}{whose_gy}.",
    )


def require_deliverable(plans: Sequence[PlanObject]) -> tuple[str, ...]:
    """What is to be written down of the approval of the plans that a dose refers to.

    Raises SourceError: a plan that was rejected, or is not for treatment.
    Source: DICOM PS3.3 C.8.8.9 (PlanIntent), C.8.8.16 (ApprovalStatus); both may be absent.
    """
    remedy = "Choose the dose of the plan that was delivered."
    for plan in plans:
        if plan.approval == "REJECTED":
            raise SourceError("an RTDOSE whose RTPLAN is rejected (ApprovalStatus REJECTED)", remedy)
        if plan.intent in NOT_FOR_TREATMENT:
            raise SourceError(
                f"an RTDOSE whose RTPLAN is not for treatment (PlanIntent {plan.intent})", remedy
            )
    unapproved = sum(plan.approval == "UNAPPROVED" for plan in plans)
    if not unapproved:
        return ()
    return (f"{unapproved} of {len(plans)} RTPLAN(s) are not approved (UNAPPROVED), used as they are.",)


def _without_plans(stated: DoseStatement, named: int, several: bool) -> str:
    # the sum of several plans is never scaled, so that its number of fractions may stay unknown
    if stated.prescription_gy is None or (stated.fractions is None and not several):
        found, needed = (
            ("an RTDOSE of several plans, of which not all are in the export", "prescription_gy")
            if several
            else ("an RTDOSE whose RTPLAN is not in the export", "prescription_gy and fractions")
        )
        if not named:
            found = "an RTDOSE that names no RTPLAN"
            raise SourceError(found, f"Write {PLAN_IN_THE_MAP}, or state {needed} {IN_THE_MAP}.")
        raise SourceError(found, f"Add the RTPLAN to the export, or state {needed} {IN_THE_MAP}.")
    found = "Not every RTPLAN is in the export" if named else "The RTDOSE names no RTPLAN"
    return (
        f"{found}: fractions ({_shown(stated.fractions)}) and prescription "
        f"({stated.prescription_gy:g} Gy) as stated by the user."
    )


def _planned_fractions(plan: PlanObject, stated: int | None) -> int | None:
    if plan.fraction_groups <= 1 and (plan.fractions is None or plan.fractions > 0):
        return plan.fractions
    if stated is not None:
        return None
    if plan.fraction_groups > 1:
        raise SourceError(
            f"an RTPLAN of {plan.fraction_groups} fraction groups",
            f"State the number of fractions that the dose stands for, as fractions {IN_THE_MAP}.",
        )
    raise SourceError(f"an RTPLAN of {plan.fractions} fractions", f"State fractions {IN_THE_MAP}.")


def _total(values: Sequence[float | None]) -> float | None:
    """The sum, where every plan states its part."""
    known = [value for value in values if value is not None]
    return round(sum(known), 6) if len(known) == len(values) else None


def _reconciled(planned: float | None, stated: float | None, tolerance: float) -> tuple[float | None, str]:
    if planned is None:
        return stated, "" if stated is None else ", as stated by the user, since the plan does not say"
    if stated is not None and not math.isclose(planned, stated, rel_tol=0, abs_tol=tolerance):
        return stated, f", as stated by the user, {CORRECTS} {planned:g}"
    return planned, ", by the plan"


def _shown(value: float | None) -> str:
    return "not stated" if value is None else f"{value:g}"
