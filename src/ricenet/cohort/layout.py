"""Where a raw cohort keeps its files (BIDS where BIDS reaches)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.visit_names import later_sample, session_at, sessions_table
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

PARTICIPANTS_TABLE = "participants.tsv"
DATASET_DESCRIPTION = "dataset_description.json"
GROUND_TRUTH = "ground_truth"
"""Folder in which a synthetic cohort keeps what only its maker can know."""

MECHANISM_FILE = "mechanism.json"
"""In GROUND_TRUTH: by which mechanism the subjects' labels were drawn."""

SIDE_FILES = ("brain_mask", "cavity_mask", "lesion_mask", "dose_sidecar", "planning_ct")
"""What may lie beside the volumes; the last two belong to the dose."""

ScanDigests = dict[str, str]
"""SHA-256 of a subject's files: of each volume by its name, and of what lies beside (`side_files`)."""


def is_there(path: Path) -> bool:
    """Whether a cohort has a file, be it a link whose content is missing: that is a fault, not an absence."""
    return os.path.lexists(path)


def without_ending(path: Path) -> str:
    """A NIfTI file's name without .nii.gz or .nii.

    >>> without_ending(Path("rt/sub-001_dose.nii.gz"))
    'sub-001_dose'
    """
    return path.name.removesuffix(".gz").removesuffix(".nii")


def uncompressed(path: Path) -> Path:
    """The name under which a .nii.gz file would lie uncompressed."""
    return path.with_name(path.name.removesuffix(".gz"))


@dataclass(frozen=True)
class RawSubject:
    """Paths of one subject's raw files, as the volumes are declared.

    subject: of a patient with several visits, the sample of one of them, such as `sub-001v2`.
    """

    cohort: Path
    subject: str
    volumes: Volumes = PAPER_VOLUMES

    @property
    def patient(self) -> str:
        """Whose files they are: the subject, or of a later visit its participant."""
        return self._patient_and_visit[0]

    @property
    def visit(self) -> int:
        """Which of the patient's visits it is, from 1."""
        return self._patient_and_visit[1]

    @property
    def folder(self) -> Path:
        """The patient's folder."""
        return self.cohort / self.patient

    def scan(self, name: str) -> Path:
        """The NIfTI file of a declared volume, on its own grid and in its own space: .nii.gz, or .nii where
        that is there alone.
        """
        spec = self.volumes[name]
        return self._file(spec.session, "rt" if spec.kind == "dose" else "anat", f"{spec.suffix}.nii.gz")

    @property
    def dose_sidecar(self) -> Path:
        """JSON beside the dose: DoseUnits, DoseSummationType, NumberOfFractions, PrescriptionGy."""
        path = self.scan(self._dose.name)
        return path.with_name(without_ending(path) + ".json")

    @property
    def planning_ct(self) -> Path:
        """A copy of the planning CT in the dose's space; optional, to check the dose by."""
        return self._file(self._dose.session, "rt", "ct.nii.gz")

    @property
    def brain_mask(self) -> Path:
        """A brain mask in the reference MRI's space; optional, for scans without their skull."""
        return self._file(self.volumes.reference.session, "anat", "desc-brain_mask.nii.gz")

    @property
    def cavity_mask(self) -> Path:
        """The resection cavity in the reference MRI's space; optional, for the audit of shortcuts."""
        own = self._file(self.volumes.reference.session, "anat", "label-cavity_mask.nii.gz")
        return self._or_truth(own, "cavity.nii.gz")

    @property
    def lesion_mask(self) -> Path:
        """The new lesion in the space of the last session's MRI; optional, for the audit of shortcuts."""
        own = self._file(self.volumes.last_session_reference.session, "anat", "label-lesion_mask.nii.gz")
        return self._or_truth(own, "lesion.nii.gz")

    @property
    def side_files(self) -> dict[str, Path]:
        """What may lie beside the volumes, by name; all but the dose's sidecar is optional."""
        names = SIDE_FILES if self.volumes.dose is not None else SIDE_FILES[:3]
        return {name: getattr(self, name) for name in names}

    @property
    def files(self) -> dict[str, Path]:
        """Every file of the subject that is there, by its volume's name or its own."""
        known = {name: self.scan(name) for name in self.volumes.names} | self.side_files
        return {name: path for name, path in known.items() if is_there(path)}

    @property
    def _patient_and_visit(self) -> tuple[str, int]:
        named = later_sample(self.subject)
        # a participant may be called like a visit: then it has a folder, and the other no table of visits
        if named is None or (self.cohort / self.subject).is_dir():
            return self.subject, 1
        patient = named[0]
        return named if is_there(self.cohort / patient / sessions_table(patient)) else (self.subject, 1)

    @property
    def _dose(self) -> VolumeSpec:
        if self.volumes.dose is None:
            raise ValueError("no dose is declared among the volumes")
        return self.volumes.dose

    def _file(self, session: str, kind: str, ending: str) -> Path:
        patient, visit = self._patient_and_visit
        session = session_at(session, visit)
        path = self.cohort / patient / f"ses-{session}" / kind / f"{patient}_ses-{session}_{ending}"
        plain = uncompressed(path)
        return plain if is_there(plain) and not is_there(path) else path

    def _or_truth(self, own: Path, truth: str) -> Path:
        """The cohort's own mask, or where it has none that of a synthetic cohort's maker."""
        known = self.cohort / GROUND_TRUTH / self.subject / truth
        return known if is_there(known) and not is_there(own) else own
