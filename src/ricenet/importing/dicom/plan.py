"""RTPLAN and RTSTRUCT objects: fractions, prescription and beams; which images a plan was made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, Elements, quietly, read_file, texts
from ricenet.importing.dicom.dates import day_of
from ricenet.importing.dicom.instances import Instance
from ricenet.runtime.errors import SourceError

_PLAN_KEYWORDS = (
    *("SOPInstanceUID", "FrameOfReferenceUID", "RTPlanDate", "ApprovalStatus", "PlanIntent"),
    *("DoseReferenceSequence", "FractionGroupSequence", "BeamSequence", "IonBeamSequence"),
    "ReferencedStructureSetSequence",
)
_STRUCTURE_KEYWORDS = (
    *("SOPInstanceUID", "FrameOfReferenceUID"),
    *("ReferencedFrameOfReferenceSequence", "StructureSetROISequence"),
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
    may be 0, which the import refuses. fraction_groups: how many there are.

    date: RTPlanDate, None where missing or not true (`dates.can_be_true`).
    prescription_gy: the largest TargetPrescriptionDose of a TARGET dose reference, None where none is stated.
    beams: numbers of the treatment beams, without those for set-up. radiation_types: of the same beams, as
    DICOM has them (PHOTON, PROTON, ION and others).
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
    radiation_types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StructureSet:
    """References of one RTSTRUCT. image_series_uids: SeriesInstanceUIDs of the contoured images."""

    sop_instance_uid: str
    frame_of_reference_uids: tuple[str, ...]
    image_series_uids: tuple[str, ...]


@quietly()
def read_plan(instance: Instance) -> PlanObject:
    """Read an RTPLAN file, of photons or ions.

    A prescription to a SITE or VOLUME outranks one to a point: a plan's points are for calculation, and
    their dose follows from where they lie.
    Raises SourceError: unreadable, or without fractions, beams and prescription.
    Source: DICOM PS3.3 C.8.8.10 (prescription), C.8.8.13 (fraction scheme), C.8.8.14, C.8.8.25 (beams).
    """
    file = read_file(instance.path, _PLAN_KEYWORDS)
    targets, groups = file.items("DoseReferenceSequence"), file.items("FractionGroupSequence")
    beams = file.items("BeamSequence") + file.items("IonBeamSequence")
    treating = [beam for beam in beams if beam.code("TreatmentDeliveryType") in _TREATS]
    if not (targets or groups or beams):
        raise SourceError("an RTPLAN without fractions, beams and prescription", EXPORT_AGAIN)
    return PlanObject(
        sop_instance_uid=file.text("SOPInstanceUID"),
        date=day_of(file, "RTPlanDate"),
        fractions=groups[0].whole_number("NumberOfFractionsPlanned") if len(groups) == 1 else None,
        fraction_groups=len(groups),
        prescription_gy=_prescription_gy(targets),
        beams=_numbers(treating),
        structure_set_uids=file.references("ReferencedStructureSetSequence"),
        frame_of_reference_uid=file.text("FrameOfReferenceUID"),
        approval=_defined(file, "ApprovalStatus", _APPROVALS),
        intent=_defined(file, "PlanIntent", _INTENTS),
        radiation_types=frozenset(beam.code("RadiationType") for beam in treating) - {""},
    )


@quietly()
def read_structures(instance: Instance) -> StructureSet:
    """Read an RTSTRUCT file's references; contours are not needed.

    frame_of_reference_uids: of the images first, then of regions drawn without any.
    Raises SourceError: unreadable, or without any reference.
    Source: DICOM PS3.3 C.8.8.5.
    """
    file = read_file(instance.path, _STRUCTURE_KEYWORDS)
    spaces, regions = (
        file.items(name) for name in ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence")
    )
    frames = (
        *texts(spaces, "FrameOfReferenceUID"),
        *texts(regions, "ReferencedFrameOfReferenceUID"),
    )
    studies_and_series = ("RTReferencedStudySequence", "RTReferencedSeriesSequence")
    series = [one for space in spaces for one in space.items(*studies_and_series)]
    if not frames and not series:
        raise SourceError("an RTSTRUCT that refers to no images and no frame of reference", EXPORT_AGAIN)
    return StructureSet(
        sop_instance_uid=file.text("SOPInstanceUID"),
        frame_of_reference_uids=tuple(dict.fromkeys(frames)),
        image_series_uids=texts(series, "SeriesInstanceUID"),
    )


def _defined(file: Elements, keyword: str, terms: frozenset[str]) -> str:
    # free text, as some systems write there, may say more than whether a plan was used
    term = file.code(keyword)
    return term if term in terms else ""


def _prescription_gy(references: Sequence[Elements]) -> float | None:
    to_volumes: list[float] = []
    to_points: list[float] = []
    for reference in references:
        prescribed = reference.number("TargetPrescriptionDose")
        # 0 is what templates hold where nothing is prescribed
        if reference.code("DoseReferenceType") != "TARGET" or not prescribed:
            continue
        is_volume = reference.code("DoseReferenceStructureType") in ("SITE", "VOLUME")
        (to_volumes if is_volume else to_points).append(prescribed)
    return max(to_volumes or to_points, default=None)


def _numbers(beams: Sequence[Elements]) -> frozenset[int]:
    numbers = {number for beam in beams if (number := beam.whole_number("BeamNumber")) is not None}
    if len(numbers) != len(beams):
        raise SourceError("an RTPLAN whose beams are not numbered, each differently", EXPORT_AGAIN)
    return frozenset(numbers)
