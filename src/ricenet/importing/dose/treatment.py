"""A patient's radiotherapy objects, each parsed once, and what they state of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Generic, Self, TypeVar

from ricenet.importing.dicom.dose import DoseHeader, read_dose_header
from ricenet.importing.dicom.instances import Instance, Kind, Series
from ricenet.importing.dicom.plan import PlanObject, StructureSet, read_plan, read_structures
from ricenet.importing.dose.statement import NOT_FOR_TREATMENT
from ricenet.runtime.errors import SourceError

Content = TypeVar("Content")

RT_MODALITIES = {"PHOTON": "photon", "PROTON": "proton", "ION": "ion"}
"""Words of participants.tsv by RadiationType. Source: DICOM PS3.3 C.8.8.14, C.8.8.25."""


@dataclass(frozen=True)
class Parsed(Generic[Content]):
    """An object and what it states; where it cannot be read, `content` is None and `error` says why."""

    instance: Instance
    content: Content | None
    error: SourceError | None = None

    @classmethod
    def by(cls, read: Callable[[Instance], Content], instance: Instance) -> Self:
        """Parse an object, keeping the error where it cannot be read."""
        try:
            return cls(instance, read(instance))
        except SourceError as error:
            return cls(instance, None, error)

    @property
    def uid(self) -> str:
        """SOPInstanceUID."""
        return self.instance.sop_instance_uid

    def required(self) -> Content:
        """What it states. Raises SourceError: it cannot be read."""
        if self.content is None:
            assert self.error is not None
            raise self.error
        return self.content


@dataclass(frozen=True)
class Treatment:
    """Doses without their voxels, plans and structure sets of a patient."""

    doses: tuple[Parsed[DoseHeader], ...]
    plans: tuple[Parsed[PlanObject], ...]
    structures: tuple[Parsed[StructureSet], ...]

    @classmethod
    def read(
        cls, doses: Iterable[Instance], plans: Iterable[Instance], structures: Iterable[Instance]
    ) -> Self:
        """Parse every object once; the unreadable ones are kept as such."""
        return cls(
            tuple(Parsed.by(read_dose_header, one) for one in doses),
            tuple(Parsed.by(read_plan, one) for one in plans),
            tuple(Parsed.by(read_structures, one) for one in structures),
        )

    def with_plans(self, plan_uids: Mapping[str, str]) -> Treatment:
        """The same, with doses of these plans, by the doses' uids, whatever their files name."""
        doses = tuple(
            replace(one, content=replace(one.content, plan_uids=(plan_uids[one.uid],)))
            if one.content is not None and one.uid in plan_uids
            else one
            for one in self.doses
        )
        return replace(self, doses=doses)

    @classmethod
    def of_series(cls, series: Sequence[Series]) -> Self:
        """All radiotherapy objects among a patient's series."""
        return cls.read(*(instances_of(series, kind) for kind in ("RTDOSE", "RTPLAN", "RTSTRUCT")))

    @property
    def referenced_plans(self) -> tuple[Parsed[PlanObject], ...]:
        """The plans that a dose refers to."""
        uids = {uid for dose in self.doses if dose.content for uid in dose.content.plan_uids}
        return tuple(plan for plan in self.plans if plan.uid in uids)

    @property
    def further_plans(self) -> tuple[Parsed[PlanObject], ...]:
        """Plans that no dose refers to and that may have been delivered; those that cannot be read may."""
        referenced = self.referenced_plans
        return tuple(
            plan
            for plan in self.plans
            if plan not in referenced and not is_rejected(plan) and not is_not_for_treatment(plan)
        )

    @property
    def planned_on(self) -> tuple[date, date] | None:
        """First and last date on which the doses were planned: by their plans, or else by their studies."""
        return date_range(map(date_of, self.referenced_plans)) or date_range(
            dose.instance.date for dose in self.doses
        )

    @property
    def rt_modality(self) -> str | None:
        """Radiation of the treatment beams of the doses' plans; None where not stated or mixed."""
        plans = [plan.content for plan in self.referenced_plans if plan.content is not None]
        types = frozenset[str]().union(*(plan.radiation_types for plan in plans))
        return RT_MODALITIES.get("".join(types)) if len(types) == 1 else None

    def drawn_on(self, structure_set_uids: Iterable[str]) -> frozenset[str]:
        """Series of the images on which these structure sets were drawn."""
        wanted = set(structure_set_uids)
        used = [one.content for one in self.structures if one.uid in wanted and one.content is not None]
        return frozenset(uid for one in used for uid in one.image_series_uids)

    def structure_sets_of(self, doses: Iterable[Parsed[DoseHeader]]) -> frozenset[str]:
        """Structure sets that doses and their plans refer to, by uid."""
        headers = [dose.content for dose in doses if dose.content is not None]
        plan_uids = {uid for header in headers for uid in header.plan_uids}
        plans = [plan.content for plan in self.plans if plan.content is not None and plan.uid in plan_uids]
        of_doses = frozenset(uid for header in headers for uid in header.structure_set_uids)
        return of_doses.union(*(plan.structure_set_uids for plan in plans))


def required_of(parsed: Iterable[Parsed[Content]], uids: Iterable[str]) -> dict[str, Content]:
    """Those of some uids, as far as they are there. Raises SourceError: one that cannot be read."""
    wanted = set(uids)
    return {one.uid: one.required() for one in parsed if one.uid in wanted}


def date_of(plan: Parsed[PlanObject]) -> date | None:
    """The plan's own date, or its study's."""
    own = plan.content.date if plan.content is not None else None
    return own or plan.instance.date


def date_range(days: Iterable[date | None]) -> tuple[date, date] | None:
    """First and last of the known dates; None where none is known."""
    known = [day for day in days if day is not None]
    return (min(known), max(known)) if known else None


def is_rejected(plan: Parsed[PlanObject]) -> bool:
    """Whether a plan says that it was rejected."""
    return plan.content is not None and plan.content.approval == "REJECTED"


def is_not_for_treatment(plan: Parsed[PlanObject]) -> bool:
    """Whether a plan says that it treats nobody."""
    return plan.content is not None and plan.content.intent in NOT_FOR_TREATMENT


def instances_of(series: Sequence[Series], kind: Kind) -> tuple[Instance, ...]:
    """All instances of a kind."""
    return tuple(instance for one in series if one.kind == kind for instance in one.instances)
