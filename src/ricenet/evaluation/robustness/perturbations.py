"""What is done to a subject's input: which volumes it changes, how, and how often."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ricenet.config.evidence import RobustnessParams
from ricenet.evaluation.robustness.altered_volumes import (
    rotated,
    shifted,
    standardised_as,
    with_bias_field,
    with_noise,
)
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import Volumes, VolumeSpec

if TYPE_CHECKING:
    import torch

DonorLabel = Literal["same", "other"]
"""Whether the subject whose dose is taken has the same label."""

DIRECTIONS = tuple(itertools.product((0, 1, 2), (1, -1)))
"""(axis, sense) of the six trials: along or about +x, -x, +y, -y, +z, -z."""

DRAWS = 3
"""Trials of what is random voxel by voxel or field by field."""


@dataclass(frozen=True)
class Given:
    """One subject's input and surroundings, on the device that computes.

    volumes: (X, Y, Z) float32 by name: MRIs in SDs of the brain (quantitative ones in their unit), 0 outside
    it; dose. brain: (X, Y, Z) bool. spacing_mm: of the voxels, the same along all axes.
    brain_mean_sd: the raw MRIs' mean in the brain, in SDs of the brain.
    donor_doses: (X, Y, Z) other subjects' doses; without an entry where the fold has no such subject.
    seed: of everything random.
    """

    subject: str
    volumes: Mapping[str, torch.Tensor]
    brain: torch.Tensor
    spacing_mm: float
    brain_mean_sd: Mapping[str, float]
    donor_doses: Mapping[DonorLabel, torch.Tensor]
    seed: int


Change = Callable[[Given, VolumeSpec, int], "torch.Tensor"]
"""A subject's volume (X, Y, Z), changed for the given trial."""


@dataclass(frozen=True)
class Perturbation:
    """One way and strength. strength: None where there is but one; unit: "" then.

    volumes: changed together, as far as a modality set has them. donor: whose dose is needed, if anyone's.
    """

    name: str
    title: str
    volumes: tuple[VolumeSpec, ...]
    trials: int
    change: Change
    strength: float | None = None
    unit: str = ""
    donor: DonorLabel | None = None

    def possible(self, given: Given) -> bool:
        """Whether a subject's fold has the donor."""
        return self.donor is None or self.donor in given.donor_doses


def perturbations(params: RobustnessParams, volumes: Volumes) -> list[Perturbation]:
    """All that the parameters ask for, in the order in which they are shown."""
    of_dose = [
        *(dose_shift(volumes.dose, mm) for mm in params.dose_shift_mm),
        *(dose_rotation(volumes.dose, degrees) for degrees in params.dose_rotation_degrees),
        dose_of_another(volumes.dose, "same"),
        dose_of_another(volumes.dose, "other"),
    ] if volumes.dose else []  # fmt: skip
    return [
        *of_dose,
        *(noise(volumes.mris, sd) for sd in params.noise_sd),
        *(bias_field(volumes.mris, share) for share in params.bias_field),
        *(missing(spec) for spec in volumes),
    ]


def dose_shift(dose: VolumeSpec, shift_mm: float) -> Perturbation:
    """The dose moved along the six directions of the cube's axes."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        axis, sense = DIRECTIONS[trial]
        return shifted(given.volumes[spec.name], sense * shift_mm / given.spacing_mm, axis)

    return Perturbation("dose_shift", "dose shifted", (dose,), len(DIRECTIONS), change, shift_mm, "mm")


def dose_rotation(dose: VolumeSpec, angle_deg: float) -> Perturbation:
    """The dose turned about the three axes, either way."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        axis, sense = DIRECTIONS[trial]
        return rotated(given.volumes[spec.name], sense * angle_deg, axis)

    of = (dose,), len(DIRECTIONS), change
    return Perturbation("dose_rotation", "dose rotated", *of, angle_deg, "degrees")


def dose_of_another(dose: VolumeSpec, label: DonorLabel) -> Perturbation:
    """Another subject's dose as it lies in that subject's cube: two patients' plans taken for each other."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        return given.donor_doses[label]

    title = f"dose of a subject with the {label} label"
    return Perturbation(f"dose_of_{label}_label", title, (dose,), 1, change, donor=label)


def noise(mris: tuple[VolumeSpec, ...], sd: float) -> Perturbation:
    """Noise in every MRI; a trial's noise is the same at every strength, so that strengths compare."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        source = generator_for("robustness noise", given.seed, given.subject, spec.name, trial)
        mri, brain = given.volumes[spec.name], given.brain
        if spec.scale is None:
            return standardised_as(mri[brain], with_noise(mri, sd, source), brain)
        of_brain = float(mri[brain].std(correction=0))
        return with_noise(mri, sd * of_brain, source).masked_fill(~brain, 0.0)

    return Perturbation("noise", "noise in the MRIs", mris, DRAWS, change, sd, "SD")


def bias_field(mris: tuple[VolumeSpec, ...], share: float) -> Perturbation:
    """A sensitivity that varies over the brain, differently in every MRI, alike at every strength."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        source = generator_for("robustness bias field", given.seed, given.subject, spec.name, trial)
        mri, brain = given.volumes[spec.name], given.brain
        if spec.scale is None:
            raw = given.brain_mean_sd[spec.name] + mri
            return standardised_as(mri[brain], with_bias_field(raw, brain, share, source), brain)
        return with_bias_field(mri, brain, share, source).masked_fill(~brain, 0.0)

    return Perturbation("bias_field", "bias field in the MRIs", mris, DRAWS, change, share, "of intensity")


def missing(spec: VolumeSpec) -> Perturbation:
    """A volume that is 0 everywhere."""

    def change(given: Given, spec: VolumeSpec, trial: int) -> torch.Tensor:
        volume = given.volumes[spec.name]
        return volume.new_zeros(volume.shape)

    return Perturbation(f"missing_{spec.name}", f"{spec.title} missing", (spec,), 1, change)
