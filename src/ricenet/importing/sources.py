"""What one subject of the raw cohort is made from: the chosen objects of one patient."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from ricenet.importing.dicom.instances import Instance, Series
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import content_digest
from ricenet.vocabulary import Volumes

_TOOLS = ("antspyx", "nibabel", "numpy", "pydicom", "python-gdcm", "scipy")


@dataclass(frozen=True)
class PatientSource:
    """The chosen images and doses of one patient, and all that they may refer to.

    images: MR series by the volume's name; optional volumes may lack. plans, structures: every RTPLAN and
    RTSTRUCT of the patient. planning_cts: candidates; where the map names one, that alone
    (planning_ct_named).
    """

    volumes: Volumes
    images: Mapping[str, Series]
    doses: tuple[ChosenDose, ...] = ()
    plans: tuple[Instance, ...] = ()
    structures: tuple[Instance, ...] = ()
    planning_cts: tuple[Series, ...] = ()
    planning_ct_named: bool = False

    @property
    def reference(self) -> Series:
        """The reference MRI."""
        return self.images[self.volumes.reference.name]

    @property
    def last_visit(self) -> Series | None:
        """The reference MRI of the last session, that shows the new lesion; None where it lacks."""
        return self.images.get(self.volumes.last_session_reference.name)

    @property
    def dose_reference(self) -> Series:
        """The MRI into whose space the dose is brought."""
        dose = self.volumes.dose
        return self.reference if dose is None else self.images[self.volumes.reference_of(dose).name]

    @property
    def other_sessions(self) -> list[Series]:
        """MRIs of other sessions than the dose's."""
        dose = self.volumes.dose
        return [
            one for name, one in self.images.items() if dose and self.volumes[name].session != dose.session
        ]

    @property
    def chosen(self) -> list[Instance]:
        """Every file of the images, and the doses."""
        files = [instance for one in self.images.values() for instance in one.instances]
        return files + [instance for dose in self.doses for instance in dose.objects]


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


@functools.cache
def code_of(writer: str) -> str:
    """Digest of the module that writes subjects, of all it imports, and of their tools' versions."""
    return content_digest({"code": code_digest(writer), "tools": {tool: version(tool) for tool in _TOOLS}})
