"""The analysis plan: what it may name, and what is asked for beyond it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ricenet.runtime.errors import FormatError, StudyError
from ricenet.study.plan import (
    METRICS,
    AnalysisPlan,
    SubgroupPlan,
    read_plan,
    require_known_columns,
    with_also,
)
from ricenet.vocabulary import VariableSpec

VARIABLES = (
    VariableSpec(name="ki67", kind="number", unit="%"),
    VariableSpec(name="resection", kind="category"),
    VariableSpec(name="dose_mean_gy", kind="number", measured=True),
)


def written(folder: Path, content: object) -> Path:
    path = folder / "plan.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_plan_that_says_nothing_is_the_default_one(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, {}))
    assert plan == AnalysisPlan() and plan.metrics == METRICS and plan.primary == "macro_f1"


def test_its_digest_is_that_of_what_it_says_not_of_its_layout(tmp_path: Path) -> None:
    one = read_plan(written(tmp_path, '{"seed": 7,  "resamples": 9999}'))
    assert one.digest == AnalysisPlan().digest
    assert read_plan(written(tmp_path, {"seed": 8})).digest != one.digest


def test_the_plan_in_the_documentation_is_the_default_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/external-validation.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.S)
    assert read_plan(written(tmp_path, shown)) == AnalysisPlan()
    assert set(json.loads(shown)) == set(AnalysisPlan.model_fields)


REFUSED: list[tuple[Any, str]] = [
    ({"metrics": ["macro_f1", "f7"]}, "metrics.1: Input should be 'macro_f1', 'balanced_accuracy'"),
    ({"metrics": ["auc"]}, "primary: macro_f1 is not among the metrics"),
    ({"metrics": ["auc", "auc"], "primary": "auc"}, "metrics: one of them stands there twice"),
    ({"outcome": "auc"}, "outcome: is no part of a plan"),
    ({"subgroups": [{"column": "sex"}]}, "needs either groups"),
    ({"subgroups": [{"column": "age_years", "cuts": [60, 50]}]}, "cuts that do not rise"),
    ({"subgroups": [{"column": "sex", "groups": ["F"]}] * 2}, "subgroups: one of them stands there twice"),
    ({"smallest_cell": 1}, "smallest_cell"),
    ({"resamples": 10}, "resamples"),
    ("[]", "plan.json: Input should be an object"),
    ("{", "plan.json is not well-formed JSON (line 1)"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_no_plan_may_say_is_named(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(StudyError) as refused:
        read_plan(written(tmp_path, content))
    assert said in str(refused.value) and "docs/external-validation.md" in str(refused.value)


def test_a_plan_of_a_newer_format_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"plan\.json is of format 2"):
        read_plan(written(tmp_path, {"format": 2}))


@pytest.mark.parametrize(
    ("subgroup", "said"),
    [
        (SubgroupPlan(column="hospital", groups=("a",)), "hospital is no column that divides subjects"),
        (SubgroupPlan(column="event_date", groups=("a",)), "event_date is no column"),
        (SubgroupPlan(column="participant_id", groups=("sub-001",)), "participant_id is no column"),
        (SubgroupPlan(column="dose_mean_gy", cuts=(30.0,)), "dose_mean_gy is no column"),
        (SubgroupPlan(column="age_years", groups=("old",)), "age_years is a number, so it needs cuts"),
        (SubgroupPlan(column="resection", cuts=(1.0,)), "resection is a text, so it needs groups"),
    ],
)
def test_columns_that_divide_nobody_are_refused(subgroup: SubgroupPlan, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        require_known_columns([subgroup], VARIABLES)


def test_columns_of_the_table_and_declared_variables_may_divide() -> None:
    known = [
        ("site", ("a",), ()),
        ("age_years", (), (50.0,)),
        ("ki67", (), (10.0,)),
        ("resection", ("STR",), ()),
    ]
    require_known_columns([SubgroupPlan(column=c, groups=g, cuts=cuts) for c, g, cuts in known], VARIABLES)


def test_more_can_be_asked_for_as_it_is_typed() -> None:
    plan = AnalysisPlan(metrics=("macro_f1",))
    metrics, subgroups = with_also(
        plan, ["metric=auc", "subgroup=ki67:5,20", "subgroup=resection:GTR,STR"], VARIABLES
    )
    assert metrics == ("auc",)
    assert [str(one) for one in subgroups] == ["ki67:5,20", "resection:GTR,STR"]
    assert subgroups[0].cuts == (5.0, 20.0)


@pytest.mark.parametrize(
    ("also", "said"),
    [
        (["auc"], "--also auc: expected metric=NAME"),
        (["metric=f7"], "--also metric=f7: expected metric=NAME, NAME one of macro_f1"),
        (["metric=auc"], "--also: auc is in the plan"),
        (["subgroup=sex:F,M"], "--also: sex is in the plan"),
        (["subgroup=site:a", "subgroup=site:b"], "site is in the plan, or asked for twice"),
        (["subgroup=ki67:many"], "expected COLUMN:GROUP,GROUP, or rising numbers"),
        (["subgroup=site"], "expected COLUMN:GROUP,GROUP"),
        (["subgroup=hospital:a"], "hospital is no column"),
    ],
)
def test_what_cannot_be_added_to_a_plan_is_named(also: list[str], said: str) -> None:
    with pytest.raises(StudyError) as refused:
        with_also(AnalysisPlan(), also, VARIABLES)
    assert said in str(refused.value)
