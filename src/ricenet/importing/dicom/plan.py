"""RTPLAN objects: fractions, prescription, beams and what they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ricenet.importing.dicom.datasets import (
    EXPORT_AGAIN,
    code,
    day,
    items,
    number,
    quietly,
    read_dataset,
    text,
    texts,
)
from ricenet.importing.dicom.datasets import whole_number as whole
from ricenet.importing.dicom.instances import Instance
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_KEYWORDS = (
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "RTPlanDate",
    "ApprovalStatus",
    "PlanIntent",
    "DoseReferenceSequence",
    "FractionGroupSequence",
    "BeamSequence",
    "IonBeamSequence",
    "ReferencedStructureSetSequence",
)

_TREATS = frozenset({"", "TREATMENT", "CONTINUATION"})
"""TreatmentDeliveryTypes of beams that give dose; the others image or verify. Old plans state none."""


_APPROVALS = frozenset({"APPROVED", "UNAPPROVED", "REJECTED"})
"""Defined terms of ApprovalStatus. Source: DICOM PS3.3 C.8.8.16."""

_INTENTS = frozenset(
    {"CURATIVE", "PALLIATIVE", "PROPHYLACTIC", "VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE"}
)
"""Defined terms of PlanIntent. Source: DICOM PS3.3 C.8.8.9."""


@dataclass(frozen=True)
class PlanObject:
    """One RTPLAN. fractions: NumberOfFractionsPlanned of its one fraction group, None where not stated;
    may be 0, which the gate refuses. fraction_groups: how many there are.

    date: RTPlanDate, None where missing.
    prescription_gy: the largest TargetPrescriptionDose of a TARGET dose reference, None where none is stated.
    beams: numbers of the treatment beams (set-up beams are left out).
    approval, intent: ApprovalStatus and PlanIntent; empty where absent or no term that DICOM defines.
    """

    sop_instance_uid: str
    date: date | None
    fractions: int | None
    fraction_groups: int
    prescription_gy: float | None
    beams: frozenset[int]
    structure_set_uids: tuple[str, ...]
    frame_of_reference_uid: str
    approval: str = ""
    intent: str = ""


@quietly()
def read_plan(instance: Instance) -> PlanObject:
    """Read an RTPLAN file, of photons or ions.

    A prescription to a SITE or VOLUME outranks one to a point: a plan's points are for calculation, and
    their dose follows from where they lie.
    Raises SourceError: unreadable, or without fractions, beams and prescription.
    Source: DICOM PS3.3 C.8.8.10 (prescription), C.8.8.13 (fraction scheme), C.8.8.14, C.8.8.25 (beams).
    """
    dataset = read_dataset(instance.path, _KEYWORDS)
    references, groups = items(dataset, "DoseReferenceSequence"), items(dataset, "FractionGroupSequence")
    beams = items(dataset, "BeamSequence") + items(dataset, "IonBeamSequence")
    if not (references or groups or beams):
        raise SourceError("an RTPLAN without fractions, beams and prescription", EXPORT_AGAIN)
    return PlanObject(
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        date=day(dataset, "RTPlanDate"),
        fractions=whole(groups[0], "NumberOfFractionsPlanned") if len(groups) == 1 else None,
        fraction_groups=len(groups),
        prescription_gy=_prescription_gy(references),
        beams=_treatment_beams(beams),
        structure_set_uids=texts(
            items(dataset, "ReferencedStructureSetSequence"), "ReferencedSOPInstanceUID"
        ),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        approval=_defined(dataset, "ApprovalStatus", _APPROVALS),
        intent=_defined(dataset, "PlanIntent", _INTENTS),
    )


def _defined(dataset: Dataset, keyword: str, terms: frozenset[str]) -> str:
    # free text, as some systems write there, may say more than whether a plan was used
    term = code(dataset, keyword)
    return term if term in terms else ""


def _prescription_gy(references: Sequence[Dataset]) -> float | None:
    to_volumes: list[float] = []
    to_points: list[float] = []
    for reference in references:
        prescribed = number(reference, "TargetPrescriptionDose")
        # 0 is what templates hold where nothing is prescribed
        if code(reference, "DoseReferenceType") != "TARGET" or not prescribed:
            continue
        is_volume = code(reference, "DoseReferenceStructureType") in ("SITE", "VOLUME")
        (to_volumes if is_volume else to_points).append(prescribed)
    return max(to_volumes or to_points, default=None)


def _treatment_beams(beams: Sequence[Dataset]) -> frozenset[int]:
    numbers = [whole(beam, "BeamNumber") for beam in beams if code(beam, "TreatmentDeliveryType") in _TREATS]
    known = frozenset(value for value in numbers if value is not None)
    if len(known) != len(numbers):
        raise SourceError("an RTPLAN whose beams are not numbered, each differently", EXPORT_AGAIN)
    return known
