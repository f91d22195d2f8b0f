"""Where a raw cohort keeps its files (BIDS where BIDS reaches)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ricenet.vocabulary import PAPER_VOLUMES, Volumes

PARTICIPANTS_TABLE = "participants.tsv"
DATASET_DESCRIPTION = "dataset_description.json"
GROUND_TRUTH = "ground_truth"
"""Folder in which a synthetic cohort keeps what only its maker can know."""


@dataclass(frozen=True)
class RawSubject:
    """Paths of one subject's raw files; nothing is read or checked."""

    cohort: Path
    subject: str
    volumes: Volumes = PAPER_VOLUMES

    @property
    def folder(self) -> Path:
        """The subject's folder."""
        return self.cohort / self.subject

    def scan(self, name: str) -> Path:
        """The NIfTI file of a declared volume, on its own grid and in its own space."""
        spec = self.volumes[name]
        folder = self.folder / f"ses-{spec.session}" / ("rt" if spec.kind == "dose" else "anat")
        return folder / f"{self.subject}_ses-{spec.session}_{spec.suffix}.nii.gz"

    @property
    def dose_sidecar(self) -> Path:
        """JSON beside the dose: DoseUnits, DoseSummationType, NumberOfFractions, PrescriptionGy."""
        path = self.scan("dose")
        return path.with_name(path.name.removesuffix(".nii.gz") + ".json")

    @property
    def brain_mask(self) -> Path:
        """A brain mask on a grid in the post-op scan's space; optional, for scans without their skull."""
        anat = self.scan("post_op")
        return anat.with_name(f"{self.subject}_ses-postop_desc-brain_mask.nii.gz")

    @property
    def lesion_mask(self) -> Path:
        """The new lesion on a grid in the event scan's space; optional, for the audit of shortcuts."""
        anat = self.scan("event")
        return anat.with_name(f"{self.subject}_ses-event_label-lesion_mask.nii.gz")

    @property
    def cavity_mask(self) -> Path:
        """The resection cavity on a grid in the post-op scan's space; optional, for that audit too."""
        anat = self.scan("post_op")
        return anat.with_name(f"{self.subject}_ses-postop_label-cavity_mask.nii.gz")

    def known_masks(self) -> list[Path]:
        """The masks of cavity and lesion that there are, those of a synthetic cohort's maker included."""
        truth = self.cohort / GROUND_TRUTH / self.subject
        masks = (self.lesion_mask, self.cavity_mask, truth / "lesion.nii.gz", truth / "cavity.nii.gz")
        return [mask for mask in masks if mask.is_file()]

    @property
    def planning_ct(self) -> Path:
        """A copy of the planning CT in the post-op scan's space; optional, to check the dose by."""
        return self.scan("dose").with_name(f"{self.subject}_ses-postop_ct.nii.gz")
