"""What a network sees of a subject: the cube, a box or a crop of it; and which of them a set gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ricenet.config.types import Probability, Section, Spacing
from ricenet.runtime.records import Record
from ricenet.vocabulary import VolumeSpec

CropName = Literal["crop", "crop_by_change"]
"""crop: around the high-dose region. crop_by_change: around the place where the MRIs of the first and the
last session differ most, found without the dose."""

InputName = Literal["head", "brain", CropName]
"""head: the cube around the brain. brain: of this cube the box that holds the brain of every subject. Or a
crop."""

InputRule = Literal["auto", InputName]
"""One input for every set; or auto: each set gets what its own volumes can place (`input_of`)."""

CROPS: tuple[CropName, ...] = get_args(CropName)


Corner = tuple[int, int, int]
"""A number along each axis."""

Place = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]

Part = tuple[slice, slice, slice]


class CropParams(Section):
    """The crops beside the whole head (docs/training.md).

    isodose: share of the dose plateau (the 99th percentile in the brain) that bounds the high-dose region.
    """

    voxels: Annotated[int, Field(ge=8)]
    spacing_mm: Spacing
    isodose: Annotated[Probability, Field(gt=0, lt=1)]


class Box(Record):
    """Part of a cube, in its voxels. first: the lowest along each axis. shape: how many there are."""

    first: tuple[Place, Place, Place]
    shape: tuple[Length, Length, Length]

    @property
    def part(self) -> Part:
        """The box as slices of a volume (X, Y, Z)."""
        x, y, z = (slice(low, low + n) for low, n in zip(self.first, self.shape, strict=True))
        return x, y, z


@dataclass(frozen=True)
class InputGrid:
    """The grid of one input. voxels: of the cube in its files along each axis. box: what is seen of it; None:
    all.
    """

    name: InputName
    voxels: int
    spacing_mm: float
    box: Box | None = None

    @property
    def suffix(self) -> str:
        """What its files have between name and extension: nothing for the cube around the brain."""
        return f".{self.name}" if self.name in CROPS else ""

    @property
    def shape(self) -> Corner:
        """Voxels that are seen, along each axis."""
        return self.box.shape if self.box else (self.voxels,) * 3

    @property
    def part(self) -> Part:
        """What is seen, as slices of the cube in the files."""
        return self.box.part if self.box else (slice(0, self.voxels),) * 3

    @property
    def whole(self) -> InputGrid:
        """The same without its box: the cube in the files."""
        return replace(self, box=None)

    @property
    def content(self) -> dict[str, Any]:
        """For content keys; without a box they are those of versions that knew none."""
        box = {"box": self.box.model_dump()} if self.box else {}
        return {"name": self.name, "voxels": self.voxels, "spacing_mm": self.spacing_mm, **box}

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape)) if self.box else str(self.voxels)
        return f"{size} voxels of {self.spacing_mm:g} mm"


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
