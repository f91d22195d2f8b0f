"""The parameter file as one frozen, strict model, read once; every error in it shown together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic import ValidationInfo as Info

from ricenet.config.evidence import EvidenceParams, GuardParams, ReportParams, RobustnessParams
from ricenet.config.network_params import Network
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe, RecipeParams, recipes_by_name
from ricenet.config.training import AugmentationParams, TrainingParams
from ricenet.config.tuning import TuningParams
from ricenet.config.types import (
    Count,
    DivideBy,
    Limits,
    MechanismName,
    ModalitySets,
    Positive,
    Probability,
    RecipeName,
    Section,
    Seed,
    Share,
)
from ricenet.config.validation import (
    address_with_scheme,
    distinct_sets,
    distinct_variables,
    folder_of_the_project,
    problems_in,
    usable_labels,
)
from ricenet.config.yaml_file import read_yaml
from ricenet.runtime.errors import ParamsError
from ricenet.vocabulary import LABELS, PAPER_VOLUMES, LabelName, VariableSpec, Volumes

PARAMS_FILE = Path("params.yaml")


class CohortParams(Section):
    """Which raw cohort is used, and what happens to its faulty subjects.

    root: a folder inside the project, since DVC follows what it holds.
    """

    root: Annotated[str, AfterValidator(folder_of_the_project)]
    exclude_faulty: bool


class PhantomSites(Section):
    """Sites of the demo cohort, whose scanners differ (docs/phantom.md).

    contrast: by how much the exponent of the signal differs from 1. noise, bias: factors of their SDs, and
    their inverse. resolution_mm: of the bluntest. rice_shares: share of RICE at each site; None: alike.
    """

    count: Annotated[int, Field(ge=2, le=20)]
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.25
    noise: Annotated[float, Field(ge=1, le=10)] = 2.0
    bias: Annotated[float, Field(ge=1, le=10)] = 2.0
    resolution_mm: Annotated[float, Field(ge=0, le=10)] = 3.0
    rice_shares: list[Probability] | None = None

    @model_validator(mode="after")
    def _a_share_a_site(self) -> PhantomSites:
        if self.rice_shares is not None and len(self.rice_shares) != self.count:
            raise ValueError(
                f"rice_shares has {len(self.rice_shares)} values for count {self.count}; write one a site"
            )
        return self


class PhantomParams(Section):
    """The synthetic demo cohort. mechanism: what its labels follow from (docs/phantom.md).

    rice_share: share of RICE, to the nearest subject, by the mechanism's intercept; None: the mechanism's
    own intercept, which gives the paper's share on average. visits: most follow-ups of a subject. controls:
    further subjects, without a lesion at the event, labelled stable.
    """

    subjects: Annotated[int, Field(ge=2)]
    seed: Seed
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    spacing_mm: Annotated[float, Field(ge=0.5, le=4)]
    single_fraction_share: Probability
    mechanism: MechanismName
    rice_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    visits: Annotated[int, Field(ge=1, le=9)] = 1
    controls: Annotated[int, Field(ge=0)] = 0
    sites: PhantomSites | None = None

    @model_validator(mode="after")
    def _shares_of_sites_add_up(self) -> PhantomParams:
        shares = self.sites.rice_shares if self.sites else None
        if shares is None:
            return self
        mean = sum(shares) / len(shares)
        if self.rice_share is None or abs(mean - self.rice_share) > 0.02:
            raise ValueError(
                f"the mean of sites.rice_shares is {mean:.3g}, and rice_share {self.rice_share}; sites are "
                f"of one size, so set phantom.rice_share to {mean:.3g}, or change the shares"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _named_mechanism(cls, content: Any) -> Any:
        if isinstance(content, dict) and "evidence" in content:
            raise ValueError(
                "evidence is not a section any more; write `mechanism: dose_height` in its place for the "
                "coefficients 4.5, -2.5, 1.2 and -1.0 and the doses of before, or another mechanism's name, "
                f"one of {', '.join(get_args(MechanismName))} (docs/phantom.md)"
            )
        return content


class QualityParams(Section):
    """Limits of quality control (docs/quality.md); a subject beyond one is marked, never excluded by it."""

    least_mutual_information: Annotated[float, Field(ge=1, le=2)]
    most_rotation_deg: Annotated[float, Field(gt=0, le=180)]
    most_shift_mm: Positive
    brain_ml: Limits
    least_brain_overlap: Probability
    least_coverage: Probability
    dose_max_gy: Limits
    dose_of_prescription: Limits
    most_dose_outside_brain: Probability


class SplitParams(Section):
    """Folds of the cross-validation and the independent test set.

    by: what a fold holds. folds: how many, where that is by subject; by site there are as many as sites.
    """

    by: DivideBy = "subject"
    folds: Annotated[int, Field(ge=2)]
    test_fraction: Annotated[float, Field(ge=0, lt=1)]


Fill = Literal["background", "brain_mean", "blurred"]
"""What a hidden cube holds (docs/explain.md)."""


class ExplainParams(Section):
    """Occlusion sensitivity.

    subjects_per_label: None explains everyone outside the test set. refine_above: a share of the coarse map's
    largest value. memory_mb: of the cubes that are computed together.
    """

    modality_sets: ModalitySets
    subjects_per_label: Annotated[int, Field(ge=0)] | None
    cube_voxels: Count
    stride_voxels: Count
    each_modality: bool = True
    fill: Fill = "background"
    within_brain: bool = False
    refine_above: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_mb: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 256

    @field_validator("stride_voxels")
    @classmethod
    def _no_gaps(cls, stride_voxels: int, info: Info) -> int:
        cube_voxels = info.data.get("cube_voxels", stride_voxels)
        if stride_voxels > cube_voxels:
            raise ValueError(
                f"{stride_voxels} is larger than explain.cube_voxels {cube_voxels}: "
                "the cubes would leave gaps"
            )
        return stride_voxels

    @field_validator("refine_above")
    @classmethod
    def _no_gaps_in_the_coarse_map(cls, refine_above: float | None, info: Info) -> float | None:
        cube_voxels, stride_voxels = info.data.get("cube_voxels"), info.data.get("stride_voxels")
        if refine_above is not None and cube_voxels and stride_voxels and 2 * stride_voxels > cube_voxels:
            raise ValueError(
                f"{refine_above:g} asks for a coarse map of twice the stride, {2 * stride_voxels} voxels, "
                f"whose cubes of {cube_voxels} would leave gaps; take an explain.stride_voxels of "
                f"{cube_voxels // 2} at most, or null"
            )
        return refine_above


class ExecutionParams(Section):
    """How independent work (subjects, folds, trials) is spread.

    gpus_per_worker: the share of a GPU that Ray sets aside for each; 0.5 lets two share one.
    """

    backend: Literal["serial", "processes", "ray"]
    workers: Share
    threads_per_worker: Share
    gpus_per_worker: Annotated[float, Field(gt=0, le=8)] | Literal["auto"] = "auto"

    @field_validator("gpus_per_worker")
    @classmethod
    def _whole_gpus(cls, value: float | Literal["auto"]) -> float | Literal["auto"]:
        if value != "auto" and value > 1 and value % 1:
            raise ValueError(f"{value:g}: above one GPU, only whole GPUs can be set aside")
        return value


class TrackingParams(Section):
    """Where runs and models are recorded.

    ledger_names_people: whether a look at the test set is recorded with user@host. vote_past_gate: let a
    champion vote that was moved past a failed gate by hand.
    """

    experiment: Annotated[str, Field(min_length=1)]
    uri: Annotated[str, AfterValidator(address_with_scheme)] | None
    model_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    ledger_names_people: bool = False
    vote_past_gate: bool = False


class Params(Section):
    """The whole parameter file. labels: the classes. controls: those of them whose subjects have no event."""

    seed: Seed
    volumes: Volumes = PAPER_VOLUMES
    variables: Annotated[
        tuple[VariableSpec, ...], Field(strict=False), AfterValidator(distinct_variables)
    ] = ()
    labels: Annotated[tuple[LabelName, ...], Field(strict=False), AfterValidator(usable_labels)] = LABELS
    controls: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()
    cohort: CohortParams
    phantom: PhantomParams
    preprocessing: PreprocessingParams
    quality: QualityParams
    split: SplitParams
    guards: GuardParams
    modality_sets: Annotated[list[str], Field(min_length=1), AfterValidator(distinct_sets)]
    network: Network
    training: TrainingParams
    augmentation: AugmentationParams
    recipes: dict[RecipeName, RecipeParams] = Field(default_factory=dict)
    tuning: TuningParams
    explain: ExplainParams
    evidence: EvidenceParams
    robustness: RobustnessParams
    report: ReportParams
    execution: ExecutionParams
    tracking: TrackingParams

    @property
    def by_recipe(self) -> dict[str, Recipe]:
        """Every recipe of training, by the name that follows the @ of a modality set; the main one as ""."""
        return recipes_by_name(self.network, self.training, self.augmentation, self.recipes)


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate a parameter file (YAML 1.2: `1e-3` is a number, `no` is a string).

    Raises ParamsError: missing file, not YAML, or any refused value, all listed with dotted paths.
    """
    return parse_params(read_yaml(path), path.name)


def parse_params(content: Any, source: str) -> Params:
    """Validate the content of a parameter file.

    Raises ParamsError: any refused value, all listed with dotted paths.
    """
    params, errors = _validated(content)
    problems = problems_in(content, errors)
    if params is None or problems:
        raise ParamsError(source, problems)
    return params


def _validated(content: Any) -> tuple[Params | None, list[dict[str, Any]]]:
    try:
        return Params.model_validate(content), []
    except ValidationError as error:
        return None, [dict(e) for e in error.errors()]
