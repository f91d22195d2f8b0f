"""The parameter file as one frozen, strict model, read once; every error in it shown together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ricenet.errors import ParamsError
from ricenet.modalities import MODALITY_SETS

PARAMS_FILE = Path("params.yaml")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base of every section: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CohortParams(Section):
    """Which raw cohort is used, and what happens to its faulty subjects."""

    root: str
    exclude_faulty: bool


class EvidenceParams(Section):
    """Coefficients of the phantom's label mechanism (docs/phantom.md), log-odds of RICE."""

    dose: Finite
    post_op: Finite
    event: Finite
    intercept: Finite


class PhantomParams(Section):
    """The synthetic demo cohort."""

    subjects: Annotated[int, Field(ge=2)]
    seed: Seed
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    spacing_mm: Annotated[float, Field(ge=0.5, le=4)]
    single_fraction_share: Probability
    evidence: EvidenceParams


class RegistrationParams(Section):
    """Rigid registration by ANTs."""

    spacing_mm: Positive
    metric: Literal["mattes", "cross_correlation"]


class BrainParams(Section):
    """Brain extraction by HD-BET."""

    mode: Literal["fast", "accurate"]
    mirroring: bool
    precision: Literal["auto", "float32", "bfloat16"]


class PreprocessingParams(Section):
    """From raw grids to the network's cube."""

    cube_voxels: Annotated[int, Field(ge=8)]
    spacing_mm: Positive
    interpolation: Literal["linear", "bspline"]
    dose_unit_gy: Positive
    registration: RegistrationParams
    brain: BrainParams


class SplitParams(Section):
    """Folds of the cross-validation and the independent test set."""

    folds: Annotated[int, Field(ge=2)]
    test_fraction: Annotated[float, Field(ge=0, lt=1)]


class NetworkParams(Section):
    """Width and stem of the 3D ResNet-18."""

    widen_factor: Positive
    stem_stride: Annotated[int, Field(ge=1, le=4)]


class TrainingOverride(Section):
    """Settings that one modality set has of its own; those left out are the common ones."""

    epochs: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None


class TrainingParams(Section):
    """Optimisation of one fold."""

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    checkpoint_every_epochs: Count
    overrides: dict[str, TrainingOverride]

    @field_validator("overrides")
    @classmethod
    def _known_sets(cls, value: dict[str, TrainingOverride]) -> dict[str, TrainingOverride]:
        for name in value:
            _require_known_set(name)
        return value

    def of_set(self, modality_set: str) -> TrainingParams:
        """The settings in force for one modality set."""
        override = self.overrides.get(modality_set, TrainingOverride())
        return self.model_copy(update={**override.model_dump(exclude_none=True), "overrides": {}})


class AugmentationParams(Section):
    """Largest strength of each kind of augmentation, and how often it is applied."""

    rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    scaling: Annotated[float, Field(ge=0, lt=1)]
    elastic_mm: NotNegative
    noise_sd: NotNegative
    brightness: NotNegative
    gamma: Annotated[float, Field(ge=0, lt=1)]
    probability: Probability


class ExplainParams(Section):
    """Occlusion sensitivity."""

    modality_sets: list[str]
    subjects_per_label: Annotated[int, Field(ge=0)]
    cube_voxels: Count
    stride_voxels: Count

    @field_validator("modality_sets")
    @classmethod
    def _known_sets(cls, value: list[str]) -> list[str]:
        return _distinct_known_sets(value)

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if self.stride_voxels > self.cube_voxels:
            raise ValueError(
                f"stride_voxels {self.stride_voxels} is larger than cube_voxels {self.cube_voxels}: "
                "the cubes would leave gaps"
            )
        return self


class ExecutionParams(Section):
    """How independent work (subjects, folds) is spread."""

    backend: Literal["serial", "processes", "ray"]
    workers: Count
    threads_per_worker: Count


class TrackingParams(Section):
    """Where runs and models are recorded."""

    experiment: Annotated[str, Field(min_length=1)]
    uri: str | None
    model_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]


class Params(Section):
    """The whole parameter file."""

    seed: Seed
    cohort: CohortParams
    phantom: PhantomParams
    preprocessing: PreprocessingParams
    split: SplitParams
    modality_sets: Annotated[list[str], Field(min_length=1)]
    network: NetworkParams
    training: TrainingParams
    augmentation: AugmentationParams
    explain: ExplainParams
    execution: ExecutionParams
    tracking: TrackingParams

    @field_validator("modality_sets")
    @classmethod
    def _known_sets(cls, value: list[str]) -> list[str]:
        return _distinct_known_sets(value)

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        problems = [
            f"explain.modality_sets: {name} is not trained (modality_sets)"
            for name in self.explain.modality_sets
            if name not in self.modality_sets
        ]
        if self.explain.cube_voxels > self.preprocessing.cube_voxels:
            problems.append(
                f"explain.cube_voxels: {self.explain.cube_voxels} is larger than the volume "
                f"(preprocessing.cube_voxels {self.preprocessing.cube_voxels})"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate a parameter file (YAML 1.2: `1e-3` is a number, `no` is a string).

    Raises ParamsError: missing file, not YAML, or any refused value, all listed with dotted paths.
    """
    return parse_params(read_yaml(path), path.name)


def parse_params(content: Any, source: str) -> Params:
    """Validate the content of a parameter file.

    Raises ParamsError: any refused value, all listed with dotted paths.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(source, [_describe(dict(e)) for e in error.errors()]) from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain Python values.

    Raises ParamsError: missing file, not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise ParamsError(
            path.name,
            [
                f"file not found in {path.parent.absolute().name or '.'}; "
                "run the command in the project's folder"
            ],
        )
    try:
        return YAML(typ="safe", pure=True).load(path)
    except YAMLError as error:
        raise ParamsError(path.name, [f"not valid YAML: {' '.join(str(error).split())}"]) from None


def _describe(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; remove it or mend its spelling"
        case "missing":
            return f"{where}: missing; add it (docs/protocol.md lists every key)"
        case "value_error":
            message = error["msg"].removeprefix("Value error, ")
            return f"{where}: {message}" if where else message
        case _:
            return f"{where}: {error['msg']} (found {error['input']!r})"


def _require_known_set(name: str) -> None:
    if name not in MODALITY_SETS:
        raise ValueError(f"unknown modality set {name!r}; expected one of {', '.join(MODALITY_SETS)}")


def _distinct_known_sets(value: list[str]) -> list[str]:
    for name in value:
        _require_known_set(name)
    if len(set(value)) < len(value):
        raise ValueError(f"a modality set is named twice: {', '.join(value)}")
    return value
