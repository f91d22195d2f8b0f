"""What a network sees of a subject: the whole head, or a crop of it; and which of them a set gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from ricenet.config.types import Probability, Section, Spacing
from ricenet.vocabulary import VolumeSpec

InputName = Literal["head", "crop", "crop_by_change"]
"""head: the cube around the brain. crop: around the high-dose region. crop_by_change: around the place where
the MRIs of the first and the last session differ most, found without the dose."""

InputRule = Literal["auto", "head", "crop", "crop_by_change"]
"""One input for every set; or auto: each set gets what its own volumes can place (`input_of`)."""

INPUTS: tuple[InputName, ...] = get_args(InputName)


class CropParams(Section):
    """The crops beside the whole head (docs/training.md).

    isodose: share of the dose plateau (the 99th percentile in the brain) that bounds the high-dose region.
    """

    voxels: Annotated[int, Field(ge=8)]
    spacing_mm: Spacing
    isodose: Annotated[Probability, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class InputGrid:
    """The grid of one input. voxels: along each axis."""

    name: InputName
    voxels: int
    spacing_mm: float

    @property
    def suffix(self) -> str:
        """What its files have between name and extension: nothing for the whole head."""
        return "" if self.name == "head" else f".{self.name}"


def input_of(rule: InputRule, members: Sequence[VolumeSpec]) -> InputName:
    """The input of a modality set. members: its volumes.

    auto: a crop placed by what the set itself holds. With a dose the crop follows the dose; with MRIs of two
    sessions and no dose, their change; a set of one session's MRIs sees the whole head, since another crop's
    place would tell it of volumes that it does not have.
    """
    if rule != "auto":
        return rule
    if any(spec.kind == "dose" for spec in members):
        return "crop"
    sessions = {spec.session for spec in members if spec.kind == "mri"}
    return "crop_by_change" if len(sessions) > 1 else "head"
