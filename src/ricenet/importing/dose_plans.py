"""RTPLAN objects: whether each can have been delivered, and which ones no chosen dose stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.plan import PlanObject, read_plan
from ricenet.runtime.errors import SourceError

NOT_FOR_TREATMENT = {"VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE"}
"""PlanIntents of plans that no patient is treated by."""


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


def told_of_further(plans: Iterable[Instance]) -> str | None:
    """What is to be written down of plans that no chosen dose refers to; None where all speak for themselves.

    Rejected plans and those that are not for treatment are not counted; those that cannot be read are.
    """
    count = sum(_may_be_delivered(plan) for plan in plans)
    if not count:
        return None
    return (
        f"{count} further RTPLAN(s) of the patient without a dose in the course: a boost or another course "
        "may be missing."
    )


def _may_be_delivered(instance: Instance) -> bool:
    try:
        plan = read_plan(instance)
    except SourceError:
        return True
    return plan.approval != "REJECTED" and plan.intent not in NOT_FOR_TREATMENT
