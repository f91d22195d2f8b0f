"""Kinds of values in the parameter file, and what every section of it has in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ricenet.config.validation import count_or_auto, distinct_sets, rising_pair

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Spacing = Annotated[float, Field(ge=0.1, le=20)]
"""In mm; beyond these it is no voxel of a head, but a wrong unit or a slip."""

Limits = Annotated[list[NotNegative], Field(min_length=2, max_length=2), AfterValidator(rising_pair)]
"""The least and the largest value that is not remarkable."""

Share = Annotated[int | Literal["auto"], BeforeValidator(count_or_auto)]
"""Of the machine: a number, or as many as it has."""

RecipeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Of a recipe of training; it follows the @ in the name of a modality set."""

ModalitySets = Annotated[list[str], AfterValidator(distinct_sets)]


MechanismName = Literal[
    "clinical",
    "dose_height",
    "post_op_only",
    "event_core",
    "dose_at_lesion",
    "interaction",
    "outside_field",
    "none",
]
"""How the phantom's labels come about (docs/phantom.md)."""


DivideBy = Literal["subject", "site"]
"""Into folds: subjects stratified by label, or every fold the subjects of one site (leave-one-site-out)."""


class Section(BaseModel):
    """Base of every section: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def stated(self) -> dict[str, Any]:
        """The settings that are not None, as they are."""
        return {name: value for name, value in self if value is not None}
