"""Recipes of training beside the main one, and what is in force for a modality set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ricenet.config.inputs import InputName, InputRule, input_of
from ricenet.config.network_params import Network, NetworkParams
from ricenet.config.training import (
    AugmentationOverride,
    AugmentationParams,
    TrainingOverride,
    TrainingParams,
)
from ricenet.config.types import Section
from ricenet.vocabulary import VolumeSpec


class RecipeParams(Section):
    """A recipe beside the main one: its input and network, and the settings in which it differs otherwise."""

    input: InputRule
    network: Network
    training: TrainingOverride = TrainingOverride()
    augmentation: AugmentationOverride = AugmentationOverride()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: what it sees, what it is, its optimisation and augmentation."""

    input: InputRule
    network: NetworkParams
    training: TrainingParams
    augmentation: AugmentationParams

    def input_of(self, members: Sequence[VolumeSpec]) -> InputName:
        """What the networks of a modality set see."""
        return input_of(self.input, members)


def recipes_by_name(
    network: NetworkParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    others: Mapping[str, RecipeParams],
) -> dict[str, Recipe]:
    """Every recipe as a whole, by the name that follows the @; the main one as ""."""
    recipes = {"": Recipe(training.input, network, training, augmentation)}
    for name, other in others.items():
        recipes[name] = Recipe(
            other.input,
            other.network,
            training.changed_by(other.training, recipe=name, input=other.input),
            augmentation.model_copy(update=other.augmentation.stated()),
        )
    return recipes
