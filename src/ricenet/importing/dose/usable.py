"""RTDOSE objects one by one: whether each can be a dose of this patient's course at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ricenet.cohort.dose_sidecar import SUMMATION_TYPES
from ricenet.importing.dicom.dose import DoseObject
from ricenet.importing.dicom.plan import PlanObject, StructureSet
from ricenet.runtime.errors import SourceError

BY_IMPORT = "(for predict: leave them out of the folder, or use ricenet import dicom and predict-cohort)"

_UNITS = {"GY", "RELATIVE"}
_TYPES = {"PHYSICAL", "EFFECTIVE"}
_SUMMABLE = {"PLAN", "MULTI_PLAN", "FRACTION", "BEAM"}


def require_usable(doses: Sequence[DoseObject]) -> None:
    """Refuse doses that no rule can make the course's dose.

    Raises SourceError: none chosen; units, dose type or summation type that mean something else;
    voxels that are no dose.
    Source: DICOM PS3.3 C.8.8.3.
    """
    if not doses:
        raise SourceError("no RTDOSE is chosen", "Give an RTDOSE of the course the dose's role in the map.")
    for number, one in enumerate(doses, start=1):
        if faults := _faults(one):
            found, remedy = faults[0]
            raise SourceError(f"RTDOSE {number} of {len(doses)} chosen: {found}", remedy)
    if len({one.dose_type for one in doses}) > 1:
        raise SourceError(
            f"PHYSICAL and EFFECTIVE dose mixed among {len(doses)} RTDOSE",
            "Choose doses of one type: a sum of both has no meaning.",
        )


def require_one_frame(
    doses: Sequence[DoseObject], plans: Mapping[str, PlanObject], structures: Mapping[str, StructureSet]
) -> None:
    """Refuse doses that do not lie in one space, which is also their plans' and structure sets'.

    plans, structures: those at hand, by SOP instance UID. What states no frame contradicts none.
    Raises SourceError.
    """
    frames = {one.frame_of_reference_uid for one in doses}
    if "" in frames:
        raise SourceError(
            "an RTDOSE without a frame of reference",
            "Export it again from the planning system: without one its place in the head is unknown.",
        )
    if len(frames) > 1:
        raise SourceError(
            f"{len(doses)} RTDOSE in {len(frames)} frames of reference",
            "Choose doses of one planning CT; doses in different spaces are not summed.",
        )
    for name, stated in (
        *(("RTPLAN", {plan.frame_of_reference_uid} - {""}) for plan in plans.values()),
        *(("RTSTRUCT", set(one.frame_of_reference_uids) - {""}) for one in structures.values()),
    ):
        if stated and not frames & stated:
            raise SourceError(
                f"the dose and the {name} that it refers to lie in different frames of reference",
                "Export plan, structures and dose of one planning together.",
            )


def _faults(dose: DoseObject) -> list[tuple[str, str]]:
    """What is wrong with a dose, with the remedies; words are repeated only where DICOM defines them."""
    values, faults = dose.values.data, []
    if dose.units not in _UNITS:
        faults.append(("units other than GY and RELATIVE", "Export the dose in Gy from the planning system."))
    if dose.dose_type not in _TYPES:
        word = "ERROR" if dose.dose_type == "ERROR" else "neither PHYSICAL nor EFFECTIVE"
        faults.append((f"dose type {word}", "Choose the dose itself, not a difference or another quantity."))
    if dose.summation_type not in _SUMMABLE:
        known = dose.summation_type in SUMMATION_TYPES
        remedy = (
            f"Choose doses of summation type {', '.join(sorted(_SUMMABLE))}; others are parts of a delivery "
            "that cannot be completed to the course."
        )
        faults.append((f"summation type {dose.summation_type if known else 'missing or unknown'}", remedy))
    again = "Export the dose again from the planning system."
    if unreal := int((~np.isfinite(values)).sum()):
        faults.append((f"{unreal} voxel(s) that are NaN or infinite", again))
    if negative := int((values < 0).sum()):
        faults.append((f"{negative} voxel(s) of negative dose", again))
    if not values.any():
        faults.append(("every voxel is 0", again))
    return faults
