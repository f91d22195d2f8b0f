"""Subgroups of a plan: scores of the groups that may be shown, and marks in place of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ricenet.study.answers import CohortAnswers
from ricenet.study.cohort import StudyCohort, groups_of
from ricenet.study.evaluate import group_scores
from ricenet.study.plan import AnalysisPlan, SubgroupPlan
from ricenet.study.result import GroupResult, SubgroupResult
from ricenet.study.small_cells import hidden_groups
from ricenet.vocabulary import LABELS, VariableSpec, VariableValue

Values = list[VariableValue] | None
"""Of a column; None: the table lacks it."""


def subgroup_results(
    answers: CohortAnswers,
    cohort: StudyCohort,
    plan: AnalysisPlan,
    also: Sequence[SubgroupPlan],
    variables: tuple[VariableSpec, ...],
) -> Iterator[SubgroupResult]:
    """Every column of the plan, then those asked for beyond it."""
    for subgroup in (*plan.subgroups, *also):
        values = cohort.values(subgroup, variables)
        yield subgroup_result(answers, subgroup, values, plan, subgroup in plan.subgroups)


def subgroup_result(
    answers: CohortAnswers, subgroup: SubgroupPlan, values: Values, plan: AnalysisPlan, planned: bool
) -> SubgroupResult:
    """One column. values: of the judged subjects, in order."""
    if values is None:
        absent = "the cohort's table has no such column"
        return SubgroupResult(column=subgroup.column, planned=planned, withheld=absent)
    groups = {name: np.array(inside, np.bool_) for name, inside in groups_of(subgroup, values).items()}
    counts = {
        name: tuple(int((answers.is_rice[inside] == (label == "rice")).sum()) for label in LABELS)
        for name, inside in groups.items()
    }
    marks = hidden_groups(counts, plan.smallest_cell).marks
    if marks is None:
        few = f"withheld: groups with fewer than {plan.smallest_cell} subjects of a label could be told"
        return SubgroupResult(column=subgroup.column, planned=planned, withheld=few)
    return SubgroupResult(
        column=subgroup.column,
        planned=planned,
        groups=tuple(
            GroupResult(group=name, mark=mark)
            if mark
            else GroupResult(
                group=name,
                n=dict(zip(LABELS, counts[name], strict=True)),
                **group_scores(answers, groups[name], plan.seed, plan.resamples) if any(counts[name]) else {},
            )
            for name, mark in marks.items()
        ),
    )
