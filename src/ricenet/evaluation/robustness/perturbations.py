"""What is done to a subject's input: which modalities it changes, how, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ricenet.config.evidence import RobustnessParams
from ricenet.evaluation.robustness.degradation import with_bias_field, with_noise
from ricenet.evaluation.robustness.given import DonorLabel, Given
from ricenet.evaluation.robustness.moves import DIRECTIONS, rotated, shifted
from ricenet.evaluation.robustness.raw_scale import MRIS
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import MODALITIES, Modality

if TYPE_CHECKING:
    import torch

DRAWS = 3
"""Trials of what is random voxel by voxel or field by field."""

Change = Callable[[Given, Modality, int], "torch.Tensor"]
"""A subject's modality (X, Y, Z), changed for the given trial."""


def _always(given: Given) -> bool:
    return True


@dataclass(frozen=True)
class Perturbation:
    """One way and strength. strength: None where there is but one; unit: "" then.

    modalities: changed together, as far as a modality set has them. possible: for this subject?
    """

    name: str
    title: str
    strength: float | None
    unit: str
    modalities: tuple[Modality, ...]
    trials: int
    change: Change
    possible: Callable[[Given], bool] = _always


def perturbations(params: RobustnessParams) -> list[Perturbation]:
    """All that the parameters ask for, in the order in which they are shown."""
    return [
        *(dose_shift(mm) for mm in params.dose_shift_mm),
        *(dose_rotation(degrees) for degrees in params.dose_rotation_degrees),
        dose_of_another("same"),
        dose_of_another("other"),
        *(noise(sd) for sd in params.noise_sd),
        *(bias_field(share) for share in params.bias_field),
        *(missing(modality) for modality in MODALITIES),
    ]


def dose_shift(shift_mm: float) -> Perturbation:
    """The dose moved along the six directions of the cube's axes."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        axis, sense = DIRECTIONS[trial]
        return shifted(given.channel(modality), sense * shift_mm / given.spacing_mm, axis)

    return Perturbation("dose_shift", "dose shifted", shift_mm, "mm", ("dose",), len(DIRECTIONS), change)


def dose_rotation(angle_deg: float) -> Perturbation:
    """The dose turned about the three axes, either way."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        axis, sense = DIRECTIONS[trial]
        return rotated(given.channel(modality), sense * angle_deg, axis)

    return Perturbation(
        "dose_rotation", "dose rotated", angle_deg, "degrees", ("dose",), len(DIRECTIONS), change
    )


def dose_of_another(label: DonorLabel) -> Perturbation:
    """Another subject's dose as it lies in that subject's cube: two patients' plans taken for each other."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        return given.donor_doses[label]

    title = f"dose of a subject with the {label} label"
    return Perturbation(
        f"dose_of_{label}_label",
        title,
        None,
        "",
        ("dose",),
        1,
        change,
        lambda given: label in given.donor_doses,
    )


def noise(sd: float) -> Perturbation:
    """Noise in every MRI; a trial's noise is the same at every strength, so that strengths compare."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        source = generator_for("robustness noise", given.seed, given.subject, modality, trial)
        return with_noise(given.channel(modality), given.brain, sd, source)

    return Perturbation("noise", "noise in the MRIs", sd, "SD", MRIS, DRAWS, change)


def bias_field(share: float) -> Perturbation:
    """A sensitivity that varies over the brain, differently in every MRI, alike at every strength."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        source = generator_for("robustness bias field", given.seed, given.subject, modality, trial)
        mean_sd = given.brain_mean_sd[modality]
        return with_bias_field(given.channel(modality), given.brain, share, mean_sd, source)

    return Perturbation("bias_field", "bias field in the MRIs", share, "of intensity", MRIS, DRAWS, change)


def missing(modality: Modality) -> Perturbation:
    """A modality that is 0 everywhere."""

    def change(given: Given, modality: Modality, trial: int) -> torch.Tensor:
        import torch

        return torch.zeros_like(given.channel(modality))

    title = f"{modality.replace('_', '-')} missing"
    return Perturbation(f"missing_{modality}", title, None, "", (modality,), 1, change)
