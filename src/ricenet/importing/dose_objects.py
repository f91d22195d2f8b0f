"""The chosen RTDOSE objects one by one: whether each can be a dose of this patient's course at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ricenet.cohort.dose_sidecar import SUMMATION_TYPES
from ricenet.importing.dicom.dose import DoseObject
from ricenet.importing.dicom.plan import PlanObject, StructureSet
from ricenet.runtime.errors import SourceError

IN_THE_MAP = "in the map (for predict: --dose-of, --fractions, --prescription)"
BY_IMPORT = "(for predict: leave them out of the folder, or use ricenet import dicom and predict-cohort)"

_UNITS = {"GY", "RELATIVE"}
_TYPES = {"PHYSICAL", "EFFECTIVE"}
_SUMMABLE = {"PLAN", "MULTI_PLAN", "FRACTION", "BEAM"}


@dataclass(frozen=True)
class ChosenDose:
    """An RTDOSE as read, and what the user states of it (None: nothing), as in `sources.DoseChoice`."""

    dose: DoseObject
    course: str | None = None
    dose_of: Literal["course", "fraction"] | None = None
    fractions: int | None = None
    prescription_gy: float | None = None

    @property
    def plan_uids(self) -> tuple[str, ...]:
        """The plans that the dose refers to, each once."""
        return tuple(dict.fromkeys(self.dose.plan_uids))


def require_usable(chosen: Sequence[ChosenDose]) -> None:
    """Refuse doses that no rule can make the course's dose.

    Raises SourceError: none chosen; units, dose type or summation type that mean something else;
    voxels that are no dose; statements that are no numbers of fractions or Gy.
    Source: DICOM PS3.3 C.8.8.3.
    """
    if not chosen:
        raise SourceError("no RTDOSE is chosen", "Give an RTDOSE of the course the role dose in the map.")
    for number, one in enumerate(chosen, start=1):
        name = f"RTDOSE {number} of {len(chosen)} chosen"
        _require_words(one.dose, name)
        _require_dose_values(one.dose, name)
        _require_sensible_statements(one, name)
    if len({one.dose.dose_type for one in chosen}) > 1:
        raise SourceError(
            f"PHYSICAL and EFFECTIVE dose mixed among {len(chosen)} RTDOSE",
            "Choose doses of one type: a sum of both has no meaning.",
        )


def require_one_frame(
    chosen: Sequence[ChosenDose], plans: Mapping[str, PlanObject], structures: Mapping[str, StructureSet]
) -> None:
    """Refuse doses that do not lie in one space, which is also their plans' and structure sets'.

    plans, structures: those at hand, by SOP instance UID. What states no frame contradicts none.
    Raises SourceError.
    """
    frames = {one.dose.frame_of_reference_uid for one in chosen}
    if "" in frames:
        raise SourceError(
            "an RTDOSE without a frame of reference",
            "Export it again from the planning system: without one its place in the head is unknown.",
        )
    if len(frames) > 1:
        raise SourceError(
            f"{len(chosen)} RTDOSE in {len(frames)} frames of reference",
            "Choose doses of one planning CT; doses in different spaces are not summed.",
        )
    (frame,) = frames
    for name, stated in (
        *(("RTPLAN", {plan.frame_of_reference_uid} - {""}) for plan in plans.values()),
        *(("RTSTRUCT", set(one.frame_of_reference_uids) - {""}) for one in structures.values()),
    ):
        if stated and frame not in stated:
            raise SourceError(
                f"the dose and the {name} that it refers to lie in different frames of reference",
                "Export plan, structures and dose of one planning together.",
            )


def _require_words(dose: DoseObject, name: str) -> None:
    if dose.units not in _UNITS:
        raise SourceError(
            f"{name}: units other than GY and RELATIVE", "Export the dose in Gy from the planning system."
        )
    if dose.dose_type not in _TYPES:
        word = dose.dose_type if dose.dose_type == "ERROR" else "neither PHYSICAL nor EFFECTIVE"
        raise SourceError(
            f"{name}: dose type {word}", "Choose the dose itself, not a difference or another quantity."
        )
    if dose.summation_type not in _SUMMABLE:
        known = dose.summation_type in SUMMATION_TYPES
        raise SourceError(
            f"{name}: summation type {dose.summation_type if known else 'missing or unknown'}",
            f"Choose doses of summation type {', '.join(sorted(_SUMMABLE))}; others are parts of a "
            "delivery that cannot be completed to the course.",
        )


def _require_dose_values(dose: DoseObject, name: str) -> None:
    values = dose.values.data
    remedy = "Export the dose again from the planning system."
    if unreal := int((~np.isfinite(values)).sum()):
        raise SourceError(f"{name}: {unreal} voxel(s) that are NaN or infinite", remedy)
    if negative := int((values < 0).sum()):
        raise SourceError(f"{name}: {negative} voxel(s) of negative dose", remedy)
    if not values.any():
        raise SourceError(f"{name}: every voxel is 0", remedy)


def _require_sensible_statements(one: ChosenDose, name: str) -> None:
    if one.fractions is not None and one.fractions < 1:
        raise SourceError(
            f"{name}: fractions {one.fractions} is stated", f"State a positive whole number {IN_THE_MAP}."
        )
    gy = one.prescription_gy
    if gy is not None and not (math.isfinite(gy) and gy > 0):
        raise SourceError(
            f"{name}: prescription_gy {gy:g} is stated", f"State a positive number of Gy {IN_THE_MAP}."
        )
