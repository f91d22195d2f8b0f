"""The section `tuning` of the parameter file: which modality sets are tuned, over what, and how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict

from ricenet.config.problems import rising_pair
from ricenet.config.types import Count, ModalitySets, NotNegative, Positive, Probability, Section

Scale = Literal["logarithmic", "uniform", "whole"]
"""How values are drawn: uniformly by their logarithm, uniformly, or uniformly among whole numbers."""


def storage_address(address: str) -> str:
    """The address of the searches' database, unless it is of another kind or says who logs in.

    Raises ValueError; the message leaves the address out, since it may hold a password.
    """
    if not re.fullmatch(r"sqlite:///\S+|postgresql://\S+", address):
        raise ValueError(
            "expected null for a sqlite file of the project, or an address that starts with sqlite:/// or "
            "postgresql://"
        )
    if "@" in address or re.search(r"[?&](user|password)=", address):
        raise ValueError(
            "the address holds a user's name or password, which logs would show; leave it out up to the @, "
            "and set PGUSER and PGPASSWORD in the environment, or write it into ~/.pgpass"
        )
    return address


def _rising(limits: list[float]) -> list[float]:
    # of fewer or more than two, another message tells
    return rising_pair(limits) if len(limits) == 2 else limits


_Pair = (Field(min_length=2, max_length=2), AfterValidator(_rising))
Angles = Annotated[list[Annotated[float, Field(ge=0, le=180)]], *_Pair]
BatchSizes = Annotated[list[Annotated[int, Field(ge=2)]], *_Pair]
Positives = Annotated[list[Positive], *_Pair]
Probabilities = Annotated[list[Probability], *_Pair]
Shares = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], *_Pair]
Strengths = Annotated[list[NotNegative], *_Pair]

SearchSpace = TypedDict(
    "SearchSpace",
    {
        "training.learning_rate": Positives,
        "training.weight_decay": Positives,
        "training.batch_size": BatchSizes,
        "augmentation.rotation_degrees": Angles,
        "augmentation.scaling": Shares,
        "augmentation.elastic_mm": Strengths,
        "augmentation.noise_sd": Strengths,
        "augmentation.brightness": Strengths,
        "augmentation.gamma": Shares,
        "augmentation.probability.rotation": Probabilities,
        "augmentation.probability.scaling": Probabilities,
        "augmentation.probability.elastic": Probabilities,
        "augmentation.probability.noise": Probabilities,
        "augmentation.probability.brightness": Probabilities,
        "augmentation.probability.gamma": Probabilities,
    },
    total=False,
)
"""Least and largest value of each setting that is searched, within what the setting itself allows."""
SearchSpace.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]

_NOT_UNIFORM: Mapping[str, Scale] = {
    "training.learning_rate": "logarithmic",
    "training.weight_decay": "logarithmic",
    "training.batch_size": "whole",
}
SEARCHED: Mapping[str, Scale] = {
    name: _NOT_UNIFORM.get(name, "uniform") for name in SearchSpace.__annotations__
}
"""Every setting that can be searched, by its dotted name, and how."""


class TuningParams(Section):
    """The optional search for settings of each modality set.

    modality_sets: those to tune; none by default. epochs: of a trial; None for those of training.
    storage: None for a sqlite file of the project.
    """

    modality_sets: ModalitySets
    trials: Count
    epochs: Count | None
    pruner: Literal["wilcoxon", "median", "none"]
    nested: bool
    storage: Annotated[str, AfterValidator(storage_address)] | None
    space: Annotated[SearchSpace, Field(min_length=1)]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Dotted name -> least and largest value."""
        space = cast(Mapping[str, list[float]], self.space)
        return {name: (low, high) for name, (low, high) in space.items()}
