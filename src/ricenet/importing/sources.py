"""What one subject of the raw cohort is made from: the chosen objects of one patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ricenet.importing.dicom.instances import Instance, Series
from ricenet.runtime.errors import SourceError


@dataclass(frozen=True)
class DoseChoice:
    """One RTDOSE, and what the user states of it (None: as its tags and its plan say).

    course: doses of different plans with the same course are summed. dose_of: what the voxels hold.
    fractions, prescription_gy: of the plan or course that this dose belongs to.
    """

    instance: Instance
    course: str | None = None
    dose_of: Literal["course", "fraction"] | None = None
    fractions: int | None = None
    prescription_gy: float | None = None


@dataclass(frozen=True)
class PatientSource:
    """The chosen images and doses of one patient, and all that they may refer to.

    plans, structures: every RTPLAN and RTSTRUCT of the patient. planning_cts: candidates; where the map
    names one, that alone (planning_ct_named).
    """

    post_op: Series
    event: Series
    doses: tuple[DoseChoice, ...]
    plans: tuple[Instance, ...]
    structures: tuple[Instance, ...]
    planning_cts: tuple[Series, ...]
    planning_ct_named: bool = False


def require_one_person(objects: Iterable[Instance]) -> None:
    """Refuse objects of one PatientID that state different birth dates or sexes.

    Exports that give everybody the same PatientID ("ANON", "0") make one patient of many people. What
    states neither contradicts nobody.
    Raises SourceError.
    """
    people = {one.person for one in objects} - {""}
    if len(people) > 1:
        raise SourceError(
            f"objects of one PatientID, chosen together, state {len(people)} different pairs of birth date "
            "and sex: they are of different people, or one is wrong",
            "Choose objects of one person, or correct and export again: every person needs a PatientID of "
            "their own.",
        )
