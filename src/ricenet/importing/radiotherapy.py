"""What a patient's radiotherapy objects state of each other, read without any voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ricenet.importing.dicom.dose import DoseHeader, read_dose_header
from ricenet.importing.dicom.instances import Instance, Kind, Series
from ricenet.importing.dicom.plan import PlanObject, StructureSet, read_plan, read_structures
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError


@dataclass(frozen=True)
class KnownDose:
    """An RTDOSE and what it states; `header` is None where it cannot be read."""

    instance: Instance
    header: DoseHeader | None


@dataclass(frozen=True)
class KnownPlan:
    """An RTPLAN, when it was made, and what it states; `content` is None where it cannot be read."""

    instance: Instance
    content: PlanObject | None

    @property
    def date(self) -> date | None:
        """The plan's own date, or its study's."""
        own = self.content.date if self.content is not None else None
        return own or self.instance.date


@dataclass(frozen=True)
class Radiotherapy:
    """All doses, plans and readable structure sets of a patient."""

    doses: tuple[KnownDose, ...]
    plans: tuple[KnownPlan, ...]
    structures: tuple[StructureSet, ...]

    @property
    def referenced_plans(self) -> tuple[KnownPlan, ...]:
        """The plans that a dose refers to."""
        uids = {uid for dose in self.doses if dose.header for uid in dose.header.plan_uids}
        return tuple(plan for plan in self.plans if plan.instance.sop_instance_uid in uids)

    @property
    def planned_on(self) -> tuple[date, date] | None:
        """First and last date on which the doses were planned: by their plans, or else by their studies."""
        planned = [plan.date for plan in self.referenced_plans]
        for dates in (planned, [dose.instance.date for dose in self.doses]):
            if known := [day for day in dates if day is not None]:
                return min(known), max(known)
        return None

    def drawn_on(self, doses: Sequence[KnownDose]) -> frozenset[str]:
        """Series on which the structure sets of these doses, and of their plans, were drawn."""
        headers = [dose.header for dose in doses if dose.header]
        plans = {uid for header in headers for uid in header.plan_uids}
        wanted = {uid for header in headers for uid in header.structure_set_uids} | {
            uid
            for plan in self.plans
            if plan.content is not None and plan.instance.sop_instance_uid in plans
            for uid in plan.content.structure_set_uids
        }
        used = [one for one in self.structures if one.sop_instance_uid in wanted]
        return frozenset(uid for one in used for uid in one.image_series_uids)


def read_radiotherapy(series: Sequence[Series]) -> Radiotherapy:
    """Read the radiotherapy objects among a patient's series; the unreadable ones are kept as such."""
    return Radiotherapy(
        tuple(KnownDose(one, _dose(one)) for one in instances_of(series, "RTDOSE")),
        tuple(KnownPlan(one, _plan(one)) for one in instances_of(series, "RTPLAN")),
        tuple(found for one in instances_of(series, "RTSTRUCT") if (found := _structures(one))),
    )


def treatment_of(source: PatientSource) -> Radiotherapy:
    """The chosen doses and the patient's plans, as they state each other."""
    return Radiotherapy(
        tuple(KnownDose(one.instance, _dose(one.instance)) for one in source.doses),
        tuple(KnownPlan(one, _plan(one)) for one in source.plans),
        (),
    )


def instances_of(series: Sequence[Series], kind: Kind) -> tuple[Instance, ...]:
    """All instances of a kind."""
    return tuple(instance for one in series if one.kind == kind for instance in one.instances)


def _dose(instance: Instance) -> DoseHeader | None:
    try:
        return read_dose_header(instance)
    except SourceError:
        return None


def _plan(instance: Instance) -> PlanObject | None:
    try:
        return read_plan(instance)
    except SourceError:
        return None


def _structures(instance: Instance) -> StructureSet | None:
    try:
        return read_structures(instance)
    except SourceError:
        return None
