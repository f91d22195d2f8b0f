"""A dose from the user's choice to its place in the MRI's space, with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ricenet.cohort.dose_limits import Extent
from ricenet.importing.dicom.dose import DoseHeader, DoseObject
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dose.statement import NOTHING_STATED, DoseStatement
from ricenet.volume import Volume


@dataclass(frozen=True)
class ChosenDose:
    """One RTDOSE that the user chose, and what the user states of it."""

    instance: Instance
    stated: DoseStatement = NOTHING_STATED

    @property
    def objects(self) -> tuple[Instance, ...]:
        """The files that hold it: one, or one a plane."""
        return (self.instance, *self.instance.planes)


@dataclass(frozen=True)
class ReadDose:
    """A chosen dose as read."""

    content: DoseObject
    stated: DoseStatement = NOTHING_STATED

    @property
    def plan_uids(self) -> tuple[str, ...]:
        """The plans that the dose refers to, each once; the user's word counts first."""
        return plans_of(self.content, self.stated)

    @property
    def decisions(self) -> tuple[str, ...]:
        """How the dose was read, and whose plan it is by the user's word."""
        plan_uid, named = self.stated.plan_uid, self.content.plan_uids
        if plan_uid is None or named == (plan_uid,):
            return self.content.decisions
        before = f"names {len(named)} other RTPLAN(s), which this corrects" if named else "names none"
        return (*self.content.decisions, f"RTPLAN of the dose: as stated by the user; the RTDOSE {before}.")


def plans_of(dose: DoseHeader, stated: DoseStatement) -> tuple[str, ...]:
    """SOPInstanceUIDs of the plans of a dose: the one that the user states, else those that it names."""
    return (stated.plan_uid,) if stated.plan_uid else tuple(dict.fromkeys(dose.plan_uids))


@dataclass(frozen=True)
class CourseDose:
    """A dose with all that is known of it: of a plan, of the course, in the end placed in the MRI's space.

    dose: Gy, of one fraction or of all as `stated.dose_of` says, on its own grid (RAS).
    summation_types: of the RTDOSE objects. plans, beams: how many it holds the dose of (beams: 0 where none
    were summed here). decisions: sentences, free of identifiers. drawn_on: series on which the structures of
    its plans were drawn, the planning CT among them. placement: how the dose came into the MRI's space; None
    before that. planning_ct: an isotropic copy in that space, for people to check; None where no CT was
    followed.
    """

    dose: Volume
    stated: DoseStatement
    dose_type: str
    summation_types: tuple[str, ...]
    frame_of_reference_uid: str
    drawn_on: frozenset[str] = frozenset()
    plans: int = 1
    beams: int = 0
    decisions: tuple[str, ...] = ()
    placement: Mapping[str, object] | None = None
    planning_ct: Volume | None = None

    def decided(self, *decisions: str) -> CourseDose:
        """The same, with further decisions written down."""
        return replace(self, decisions=(*self.decisions, *decisions))

    @property
    def extent(self) -> Extent:
        """Whether the voxels hold the dose of one fraction or of all."""
        return self.stated.dose_of or "course"

    @property
    def of_all_fractions(self) -> Volume:
        """The dose of all fractions, in Gy."""
        if self.extent == "course" or self.stated.fractions is None:
            return self.dose
        scaled = self.dose.data.astype(np.float64) * self.stated.fractions
        return Volume(scaled.astype(np.float32), self.dose.grid)

    @property
    def sidecar(self) -> dict[str, object]:
        """Content of the dose's JSON, free of identifiers."""
        known = {
            "NumberOfFractions": self.stated.fractions,
            "PrescriptionGy": self.stated.prescription_gy,
            "PlansSummed": self.plans if self.plans > 1 else None,
            "BeamsSummed": self.beams or None,
            "DosePlacement": self.placement and dict(self.placement),
        }
        return {
            "DoseUnits": "GY",
            "DoseSummationType": "FRACTION" if self.extent == "fraction" else "PLAN",
            "DoseType": self.dose_type,
            "SourceSummationType": "+".join(self.summation_types),
            "Decisions": list(self.decisions),
            **{key: value for key, value in known.items() if value is not None},
        }
