"""How raw volumes become the network's input: registration, brain, cube and crops."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ricenet.config.inputs import CROPS, CropParams, InputGrid, InputName
from ricenet.config.types import Positive, Section, Spacing

MODEL_SPACING_MM = 1.5
"""Of the images on which HD-BET was trained."""

COARSEST_OF_AUTO_MM, VOXELS_OF_CUBE = 2.0, 3
"""`auto` gives HD-BET three voxels along each of the cube's, within these bounds (docs/preprocessing.md)."""


class RegistrationParams(Section):
    """Registration by ANTs."""

    spacing_mm: Spacing
    metric: Literal["mattes", "cross_correlation"]
    transform: Literal["rigid", "affine"] = "rigid"


class BrainParams(Section):
    """Brain extraction by HD-BET; mode, precision and spacing are those of the engine `minimal`.

    spacing_mm: of the network's grid. The parameter file may say auto (`PreprocessingParams`).
    """

    mode: Literal["fast", "accurate"]
    mirroring: bool
    precision: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Literal["minimal", "original"] = "minimal"
    spacing_mm: Annotated[float, Field(ge=1, le=3)] = MODEL_SPACING_MM


class PreprocessingParams(Section):
    """From raw grids to the network's cube.

    crop: the crops beside the whole head; None for none. eqd2_alpha_beta_gy: left out of records and content
    keys where it is off, so that they are those of versions that did not know it.
    """

    cube_voxels: Annotated[int, Field(ge=8)]
    spacing_mm: Spacing
    interpolation: Literal["linear", "bspline"]
    dose_unit_gy: Positive
    eqd2_alpha_beta_gy: Positive | None = Field(default=None, exclude_if=lambda value: value is None)
    crop: CropParams | None = Field(default=None, exclude_if=lambda value: value is None)
    registration: RegistrationParams
    brain: BrainParams

    @model_validator(mode="before")
    @classmethod
    def _as_fine_as_needed(cls, content: Any) -> Any:
        """`brain.spacing_mm: auto` becomes what the cube's spacing asks for."""
        if not isinstance(content, dict) or not isinstance(brain := content.get("brain"), dict):
            return content
        cube_mm = content.get("spacing_mm")
        if brain.get("spacing_mm") != "auto" or not isinstance(cube_mm, int | float):
            return content
        spacing_mm = min(COARSEST_OF_AUTO_MM, max(MODEL_SPACING_MM, cube_mm / VOXELS_OF_CUBE))
        return {**content, "brain": {**brain, "spacing_mm": spacing_mm}}

    @property
    def grids(self) -> dict[InputName, InputGrid]:
        """The grid of every input that files are made of, by name."""
        head = InputGrid("head", self.cube_voxels, self.spacing_mm)
        if self.crop is None:
            return {"head": head}
        crops = [InputGrid(name, self.crop.voxels, self.crop.spacing_mm) for name in CROPS]
        return {grid.name: grid for grid in (head, *crops)}
