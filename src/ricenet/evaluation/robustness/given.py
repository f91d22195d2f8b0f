"""What a network is given of a held-out subject, and what perturbing it needs to know besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.robustness.raw_scale import brain_means_sd
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.tables import require
from ricenet.vocabulary import MODALITIES, Modality
from ricenet.volume import load_nifti

if TYPE_CHECKING:
    import torch

DonorLabel = Literal["same", "other"]
"""Whether whose dose is taken has the subject's label."""

ALL = "+".join(MODALITIES)


@dataclass(frozen=True)
class Given:
    """One subject's input and surroundings, on the device that computes.

    volumes: (3, X, Y, Z) float32 in the order of MODALITIES: MRIs in SDs of the brain, 0 outside it; dose.
    brain: (X, Y, Z) bool. spacing_mm: of the voxels, the same along all axes.
    brain_mean_sd: the raw MRIs' mean in the brain, in SDs of the brain; empty where nothing asks for it.
    donor_doses: (X, Y, Z) other subjects' doses; without an entry where the fold has no such subject.
    seed: of everything random.
    """

    subject: str
    volumes: torch.Tensor
    brain: torch.Tensor
    spacing_mm: float
    brain_mean_sd: Mapping[Modality, float]
    donor_doses: Mapping[DonorLabel, torch.Tensor]
    seed: int

    def channel(self, modality: Modality) -> torch.Tensor:
        """A modality as it is, (X, Y, Z)."""
        return self.volumes[MODALITIES.index(modality)]


@dataclass(frozen=True)
class Source:
    """Where subjects are read. cube_voxels: of the networks.

    cohort: the raw one, for the scale of its MRIs; None where no bias field asks for it.
    """

    preprocessed: Path
    cohort: Path | None
    cube_voxels: int
    seed: int

    def given(self, subject: str, donors: Mapping[DonorLabel, str], device: torch.device) -> Given:
        """Read a subject and its donors' doses.

        Raises ScanError: volumes missing, damaged or of another size. ResultError: a preprocessed file is
        missing, or a raw scan is not the one that was preprocessed.
        """
        import torch

        volumes = self._read(subject, MODALITIES)
        brain = load_nifti(require(self.preprocessed / subject / "brain.nii.gz", "preprocess"))
        doses = {kind: self._read(donor, ["dose"])[0] for kind, donor in donors.items()}
        means: Mapping[Modality, float] = {}
        if self.cohort is not None:
            means = brain_means_sd(self.cohort, self.preprocessed, subject, brain, volumes)
        return Given(
            subject=subject,
            volumes=torch.from_numpy(volumes).to(device),
            brain=torch.from_numpy(brain.data > 0.5).to(device),
            spacing_mm=float(np.mean(brain.grid.spacing_mm)),
            brain_mean_sd=means,
            donor_doses={kind: torch.from_numpy(dose).to(device) for kind, dose in doses.items()},
            seed=self.seed,
        )

    def _read(self, subject: str, names: Sequence[str]) -> NDArray[np.float32]:
        return read_volumes(self.preprocessed / subject, subject, names, self.cube_voxels).astype(np.float32)
