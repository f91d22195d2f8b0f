"""The section `tuning` of the parameter file: which modality sets are tuned, over what, and how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict

from ricenet.config.training import AugmentationParams, AugmentationProbabilities, TrainingParams
from ricenet.config.types import Count, ModalitySets, Positive, Section
from ricenet.config.validation import rising_pair

Scale = Literal["logarithmic", "uniform", "whole"]
"""How values are drawn: uniformly by their logarithm, uniformly, or uniformly among whole numbers."""

SEARCHED: Mapping[str, Scale] = {
    "training.learning_rate": "logarithmic",
    "training.weight_decay": "logarithmic",
    "training.batch_size": "whole",
    **{
        f"augmentation.{name}": "uniform" for name in AugmentationParams.model_fields if name != "probability"
    },
    **{f"augmentation.probability.{kind}": "uniform" for kind in AugmentationProbabilities.model_fields},
}
"""Every setting that can be searched, by its dotted name, and how."""

_SECTIONS: Mapping[str, type[Section]] = {
    "training": TrainingParams,
    "augmentation": AugmentationParams,
    "augmentation.probability": AugmentationProbabilities,
}


def storage_address(address: str) -> str:
    """The address of the searches' database, unless it is of another kind or says who logs in.

    Raises ValueError; the message omits the address, since it may hold a password.
    """
    if not re.fullmatch(r"sqlite:///\S+|postgresql://\S+", address):
        raise ValueError(
            "expected null for a sqlite file of the project, or an address that starts with sqlite:/// or "
            "postgresql://"
        )
    if "@" in address or re.search(r"[?&](user|password)=", address):
        raise ValueError(
            "the address holds a user's name or password, which logs would show; remove it up to the @, "
            "and set PGUSER and PGPASSWORD in the environment, or write it into ~/.pgpass"
        )
    return address


def _rising(limits: list[float]) -> list[float]:
    # of fewer or more than two, another message reports
    return rising_pair(limits) if len(limits) == 2 else limits


def _range_of(name: str) -> Any:
    """Two values that the setting of this name accepts; a logarithm needs more than 0."""
    section, _, key = name.rpartition(".")
    setting = _SECTIONS[section].model_fields[key]
    one: Any = Annotated[setting.annotation, *setting.metadata]
    value = Positive if SEARCHED[name] == "logarithmic" else one
    values: Any = list[value]  # type: ignore[valid-type]
    return Annotated[values, Field(min_length=2, max_length=2), AfterValidator(_rising)]


SearchSpace = TypedDict("SearchSpace", {name: _range_of(name) for name in SEARCHED}, total=False)  # type: ignore[misc]
"""Least and largest value of each setting that is searched, within what the setting itself allows."""
SearchSpace.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]


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
