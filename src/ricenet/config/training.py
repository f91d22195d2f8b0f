"""The sections `training` and `augmentation` of the parameter file."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ricenet.config.inputs import InputRule
from ricenet.config.types import Count, NotNegative, Positive, Probability, RecipeName, Section

Optimiser = Literal["adam", "adamw"]
"""adamw: weight decay shrinks the weights by itself, instead of joining the gradient."""

Schedule = Literal["constant", "cosine"]
"""Of the learning rate, step by step; cosine: half a cosine, down to 0."""

FusionRule = Literal["none", "mean", "fitted", "products"]
"""Whether a group-wise regression answers beside each network: by equal weights, or by fitted ones; products:
by equal weights, and the regression sees products of dose and MRIs too."""


class TrainingOverride(Section):
    """Settings that a modality set or a recipe has of its own; those not named are the common ones."""

    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None
    optimiser: Optimiser | None = None
    schedule: Schedule | None = None
    fusion: FusionRule | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("epochs and steps: give one of them")
        return self


class TrainingParams(Section):
    """Optimisation of one fold.

    recipe: the name of these settings, of `network` and of `augmentation`, in tables and figures. input: what
    the network sees. steps: of the optimiser, in place of epochs; a whole number of epochs comes nearest.
    checkpoint_pause_s: for how long at least no checkpoint follows another.
    samples_at_once: how many samples of a batch go through the network together; None for the whole
    batch. memory: where the volumes are kept while the network trains. fusion: what
    answers beside the network.
    """

    recipe: RecipeName = "paper"
    input: InputRule = "head"
    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    optimiser: Optimiser = "adam"
    schedule: Schedule = "constant"
    fusion: FusionRule = "none"
    checkpoint_every_epochs: Count
    checkpoint_pause_s: NotNegative = 0.0
    samples_at_once: Count | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    compile: Literal["auto", "off"] = "off"
    deterministic: bool = False
    memory: Literal["auto", "device", "streamed"] = "auto"
    overrides: dict[str, TrainingOverride]

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("epochs and steps: give one of them, and null for the other")
        return self

    def of_set(self, modality_set: str) -> TrainingParams:
        """The settings in force for one modality set."""
        return self.changed_by(self.overrides.get(modality_set, TrainingOverride()), overrides={})

    def changed_by(self, override: TrainingOverride, **more: Any) -> TrainingParams:
        """With the settings that an override names, and some more, in the place of these."""
        changes = override.stated()
        if changes.keys() & {"epochs", "steps"}:
            changes = {"epochs": None, "steps": None} | changes
        return self.model_copy(update={**changes, **more})

    def epochs_for(self, subjects: int) -> int:
        """How many epochs are trained, with so many training subjects."""
        if self.epochs is not None:
            return self.epochs
        assert self.steps is not None
        return max(1, round(self.steps / math.ceil(subjects / self.batch_size)))


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

    mirroring: how often left and right change places. probability: one number stands for the other six
    kinds.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    scaling: Annotated[float, Field(ge=0, lt=1)]
    elastic_mm: NotNegative
    noise_sd: NotNegative
    brightness: NotNegative
    gamma: Annotated[float, Field(ge=0, lt=1)]
    mirroring: Probability = 0.0
    probability: Annotated[AugmentationProbabilities, BeforeValidator(_for_every_kind)]


class AugmentationOverride(Section):
    """Settings of augmentation that a recipe has of its own; those not named are the common ones."""

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] | None = None
    scaling: Annotated[float, Field(ge=0, lt=1)] | None = None
    elastic_mm: NotNegative | None = None
    noise_sd: NotNegative | None = None
    brightness: NotNegative | None = None
    gamma: Annotated[float, Field(ge=0, lt=1)] | None = None
    mirroring: Probability | None = None
    probability: Annotated[AugmentationProbabilities, BeforeValidator(_for_every_kind)] | None = None
