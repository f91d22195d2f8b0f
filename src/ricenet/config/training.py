"""The sections `training` and `augmentation` of the parameter file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ricenet.config.types import Count, NotNegative, Positive, Probability, Section


class TrainingOverride(Section):
    """Settings that one modality set has of its own; those that are not named are the common ones."""

    epochs: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None


class TrainingParams(Section):
    """Optimisation of one fold.

    samples_at_once: how many samples of a batch go through the network together; None for the whole
    batch. memory: where the volumes are kept while the network trains.
    """

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    checkpoint_every_epochs: Count
    samples_at_once: Count | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    compile: Literal["auto", "off"] = "off"
    deterministic: bool = False
    memory: Literal["auto", "device", "streamed"] = "auto"
    overrides: dict[str, TrainingOverride]

    def of_set(self, modality_set: str) -> TrainingParams:
        """The settings in force for one modality set."""
        override = self.overrides.get(modality_set, TrainingOverride())
        return self.model_copy(update={**override.model_dump(exclude_none=True), "overrides": {}})


class AugmentationProbabilities(Section):
    """How often each kind of augmentation is applied to a sample."""

    rotation: Probability
    scaling: Probability
    elastic: Probability
    noise: Probability
    brightness: Probability
    gamma: Probability


def _for_every_kind(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= 1:
            raise ValueError(f"expected a number from 0 to 1, or one for each kind, found {value!r}")
        return dict.fromkeys(AugmentationProbabilities.model_fields, value)
    return value


class AugmentationParams(Section):
    """Largest strength of each kind of augmentation, and how often it is applied.

    probability: one number stands for all six kinds.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    scaling: Annotated[float, Field(ge=0, lt=1)]
    elastic_mm: NotNegative
    noise_sd: NotNegative
    brightness: NotNegative
    gamma: Annotated[float, Field(ge=0, lt=1)]
    probability: Annotated[AugmentationProbabilities, BeforeValidator(_for_every_kind)]
