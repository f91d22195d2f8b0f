"""What the chosen doses of one plan are together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ricenet.importing.dicom.plan import PlanObject
from ricenet.importing.dose_meaning import Extent, extent_of, in_gy, require_prescribed
from ricenet.importing.dose_objects import BY_IMPORT, ChosenDose
from ricenet.importing.dose_plans import require_deliverable
from ricenet.importing.dose_schedule import Schedule, agreed, schedule_of
from ricenet.importing.dose_sums import sum_of_beams
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume


@dataclass(frozen=True)
class PlanDose:
    """The dose of one plan, or of several that came summed.

    dose: Gy, of one fraction or of all, as `extent` says. plans, beams: how many it holds the dose of
    (beams: 0 where none were summed here).
    """

    dose: Volume
    extent: Extent
    schedule: Schedule
    summation_type: str
    plans: int
    beams: int
    decisions: tuple[str, ...]

    @property
    def maximum_gy(self) -> float:
        """The largest dose, of one fraction or of all, as `extent` says."""
        return float(self.dose.data.max())

    @property
    def of_all_fractions(self) -> Volume:
        """The dose of the whole plan, in Gy."""
        if self.extent == "course" or self.schedule.fractions is None:
            return self.dose
        scaled = self.dose.data.astype(np.float64) * self.schedule.fractions
        return Volume(scaled.astype(np.float32), self.dose.grid)


def judge_plan(group: Sequence[ChosenDose], plans: Mapping[str, PlanObject]) -> PlanDose:
    """Decide what the doses that belong to one plan (or one set of plans) are together.

    group: several only where they are of beams. plans: RTPLANs at hand, by SOP instance UID.
    Raises SourceError: as `require_deliverable`, `schedule_of`, `sum_of_beams`, `in_gy`, `extent_of` and
    `require_prescribed`; more or fewer plans than the summation type means.
    """
    first = group[0].dose
    kind = first.summation_type
    stated: Extent | None = agreed("dose_of", [one.dose_of for one in group])
    plan_uids = group[0].plan_uids
    _require_plans_as_meant(kind, len(plan_uids), stated)
    at_hand = [plans[uid] for uid in plan_uids if uid in plans]
    if kind == "BEAM" and not at_hand:
        raise SourceError(
            f"{len(group)} RTDOSE of summation type BEAM whose RTPLAN is not in the export",
            "Add the RTPLAN: only it says which beams there are.",
        )
    approval = require_deliverable(at_hand)
    schedule = schedule_of(group, at_hand, several_plans=kind == "MULTI_PLAN")
    values, beams = (
        (sum_of_beams(group, at_hand[0]), len(at_hand[0].beams)) if kind == "BEAM" else (first.values, 0)
    )
    dose, taken_in_gy = in_gy(values, _only_units(group), _stated_gy(group))
    maximum_gy = float(dose.data.max())
    extent, why = extent_of(kind, stated, maximum_gy, schedule)
    summed = (f"The doses of all {beams} treatment beams are summed.",) if beams else ()
    decisions = [*approval, *summed, *schedule.decisions, *taken_in_gy, why]
    if schedule.prescription_gy is not None:
        decisions.append(require_prescribed(maximum_gy, extent, schedule, schedule.prescription_gy))
    return PlanDose(dose, extent, schedule, kind, max(len(plan_uids), 1), beams, tuple(decisions))


def _stated_gy(group: Sequence[ChosenDose]) -> float | None:
    """The prescription by the user's word alone."""
    return agreed("prescription_gy", [one.prescription_gy for one in group])


def _require_plans_as_meant(kind: str, referenced: int, stated: Extent | None) -> None:
    if kind != "MULTI_PLAN" and referenced > 1:
        raise SourceError(
            f"an RTDOSE of summation type {kind} that refers to {referenced} plans, expected 1",
            "Export the dose of each plan, or their sum as MULTI_PLAN.",
        )
    if kind == "MULTI_PLAN" and stated == "fraction":
        raise SourceError(
            "dose_of=fraction is stated of an RTDOSE of summation type MULTI_PLAN",
            "Choose the doses of the plans instead: fractions of several plans cannot be scaled together "
            f"{BY_IMPORT}.",
        )


def _only_units(group: Sequence[ChosenDose]) -> str:
    units = sorted({one.dose.units for one in group})
    if len(units) > 1:
        raise SourceError(
            f"{len(group)} RTDOSE of one plan, some in GY and some in RELATIVE units",
            "Export all of them in Gy.",
        )
    return units[0]
