"""The analysis plan of an external validation: what will be computed, fixed before anybody looks.

Groups of a column are named in the plan, and cuts of numbers stand in it: so no text and no median of the
other hospital's table is part of a result. The ideas are those of TRIPOD+AI (2024; items on evaluation that
is planned ahead) and of registered analyses; the form is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from ricenet.cohort.participants import Participant
from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import MOST_TEXT_BYTES, content_digest, regular_bytes
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError
from ricenet.vocabulary import VariableSpec

MetricName = Literal["macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)

NUMBERS = ("age_years", "days_rt_end_to_event")
CATEGORIES = ("site", "sex", "mgmt", "idh", "rt_modality", "reirradiation", "label_source")
"""Columns of every participants table that may divide subjects; dates and identifiers may not."""

_CORRECT = "Correct the plan (docs/external-validation.md)"
_MOST_GROUPS = 20


class SubgroupPlan(Record):
    """One column that divides the subjects: categories by name, or a number by rising cuts.

    Whoever is in none of the groups is counted together as other or not known.
    """

    column: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    groups: Annotated[tuple[str, ...], Field(max_length=_MOST_GROUPS)] = ()
    cuts: Annotated[tuple[float, ...], Field(max_length=_MOST_GROUPS)] = ()

    @model_validator(mode="after")
    def _groups_or_cuts(self) -> Self:
        if bool(self.groups) == bool(self.cuts):
            raise ValueError("needs either groups (texts) or cuts (rising numbers)")
        if len(set(self.groups)) < len(self.groups) or list(self.cuts) != sorted(set(self.cuts)):
            raise ValueError("has a group twice, or cuts that do not rise")
        return self

    def __str__(self) -> str:
        """As it is typed after `--also subgroup=`."""
        return f"{self.column}:{','.join(self.groups or (f'{cut:g}' for cut in self.cuts))}"


class AnalysisPlan(Record):
    """What is computed. primary: the outcome that counts. seed, resamples: of every bootstrap.

    least_subjects: labelled ones, below which nothing is computed. smallest_cell: counts of subjects below it
    are never part of a result.
    """

    primary: MetricName = "macro_f1"
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = METRICS
    calibration: bool = True
    three_way: bool = True
    label_sets: bool = True
    subgroups: tuple[SubgroupPlan, ...] = (
        SubgroupPlan(column="sex", groups=("F", "M")),
        SubgroupPlan(column="age_years", cuts=(60.0,)),
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 9_999
    least_subjects: Annotated[int, Field(ge=4)] = 20
    smallest_cell: Annotated[int, Field(ge=3)] = 5

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = [subgroup.column for subgroup in self.subgroups]
        for what, names in (("metrics", self.metrics), ("subgroups", columns)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: one of them stands there twice")
        if self.primary not in self.metrics:
            raise ValueError(f"primary: {self.primary} is not among the metrics")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of its content, whatever its layout."""
        return content_digest(self.model_dump(mode="json"))


def read_plan(path: Path) -> AnalysisPlan:
    """A plan as JSON; what it leaves out is as in `AnalysisPlan`.

    Raises StudyError: no such file, no JSON, or anything in it that is not known. FormatError: of another
    format.
    """
    try:
        return AnalysisPlan.parse(regular_bytes(path, MOST_TEXT_BYTES), path.name, "Write the plan again")
    except ValidationError as error:
        raise StudyError(
            f"{path.name}: {'; '.join(_problem(dict(e)) for e in error.errors())}. {_CORRECT}"
        ) from None
    except JsonError as error:
        raise StudyError(f"{path.name} {error}. {_CORRECT}") from None


def require_known_columns(subgroups: Sequence[SubgroupPlan], variables: Sequence[VariableSpec]) -> None:
    """Refuse columns by which nobody can be divided. variables: those that the model declares.

    Raises StudyError.
    """
    numbers, categories = _columns(variables)
    for subgroup in subgroups:
        if subgroup.column not in {*numbers, *categories}:
            raise StudyError(
                f"the plan's subgroups: {subgroup.column} is no column that divides subjects; known are "
                f"{', '.join([*categories, *numbers])}. {_CORRECT}"
            )
        if (subgroup.column in numbers) != bool(subgroup.cuts):
            needed = (
                "a number, so it needs cuts" if subgroup.column in numbers else "a text, so it needs groups"
            )
            raise StudyError(f"the plan's subgroups: {subgroup.column} is {needed}. {_CORRECT}")


def _columns(variables: Sequence[VariableSpec]) -> tuple[list[str], list[str]]:
    stated = [spec for spec in variables if not spec.measured and spec.name not in Participant.model_fields]
    numbers = [spec.name for spec in stated if spec.kind == "number"]
    return [*NUMBERS, *numbers], [*CATEGORIES, *(spec.name for spec in stated if spec.kind == "category")]


def with_also(
    plan: AnalysisPlan, also: Sequence[str], variables: Sequence[VariableSpec]
) -> tuple[tuple[MetricName, ...], tuple[SubgroupPlan, ...]]:
    """Metrics and subgroups that are asked for beyond a plan. also: `metric=auc`, `subgroup=sex:F,M`.

    Raises StudyError: anything else, or what the plan holds already.
    """
    metrics, subgroups = list[MetricName](), list[SubgroupPlan]()
    for text in also:
        kind, _, asked = text.partition("=")
        if kind == "metric" and asked in METRICS:
            metrics += [name for name in METRICS if name == asked]
        elif kind == "subgroup":
            subgroups.append(_typed_subgroup(asked, variables))
        else:
            raise StudyError(
                f"--also {text}: expected metric=NAME, NAME one of {', '.join(METRICS)}, or "
                "subgroup=COLUMN:GROUP,GROUP, or subgroup=COLUMN:CUT,CUT of a number. Correct it"
            )
    asked_for = [*metrics, *(subgroup.column for subgroup in subgroups)]
    known = {*plan.metrics, *(subgroup.column for subgroup in plan.subgroups)}
    if twice := sorted({name for name in asked_for if name in known or asked_for.count(name) > 1}):
        # two divisions of one column could be subtracted from each other
        raise StudyError(f"--also: {', '.join(twice)} is in the plan, or asked for twice. Leave it out")
    require_known_columns(subgroups, variables)
    return tuple(metrics), tuple(subgroups)


def _typed_subgroup(text: str, variables: Sequence[VariableSpec]) -> SubgroupPlan:
    column, _, listed = text.partition(":")
    parts = tuple(part.strip() for part in listed.split(",") if part.strip())
    try:
        if column in _columns(variables)[0]:
            return SubgroupPlan(column=column, cuts=tuple(float(part) for part in parts))
        return SubgroupPlan(column=column, groups=parts)
    except ValueError:
        raise StudyError(
            f"--also subgroup={text}: expected COLUMN:GROUP,GROUP, or rising numbers after the colon. "
            "Correct it"
        ) from None


def _problem(error: dict[str, object]) -> str:
    place = ".".join(str(part) for part in error["loc"]) if isinstance(error["loc"], tuple) else ""
    said = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        said = "is no part of a plan"
    return f"{place}: {said}".removeprefix(": ")
