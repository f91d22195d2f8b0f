"""Scores of the best set by subgroup: site, sex, age, declared variables, lesion size and certainty.

Numbers are cut at the median of the held-out subjects who have them, since a cut that is chosen by the scores
finds a difference in any cohort. Groups are not compared by tests: with some dozens of subjects they say
where to look, and their intervals how little is known.

Source: TRIPOD+AI item 12e (performance in subgroups); STARD 2015 item 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Resampling
from ricenet.evaluation.evidence.baselines import Scalars
from ricenet.evaluation.evidence.record import Subgroup
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Probabilities, Truth, exact_bounds, or_bound, share_of
from ricenet.evaluation.scores import auc
from ricenet.training.predictions import THRESHOLD
from ricenet.vocabulary import VariableSpec

UNKNOWN_GROUP = "not known"
_ALWAYS = (("site", "site", ""), ("sex", "sex", ""), ("age_years", "age", "years"))
_LAST = (("lesion_ml", "lesion", "ml"), ("label_certainty", "certainty of the label", ""))

Groups = Mapping[str, NDArray[np.bool_]]
"""Which subjects (N,) are in a group, by its name."""


def subgroup_scores(
    held_out: HeldOut,
    name: str,
    scalars: Mapping[str, Scalars],
    variables: Sequence[VariableSpec],
    seed: int,
    resamples: int,
) -> tuple[Subgroup, ...]:
    """Scores of the classification `name` in every group of every variable that tells subjects apart."""
    p_rice, is_rice = held_out.p_rice[name], held_out.is_rice
    return tuple(
        _scored(title, group, p_rice[inside], is_rice[inside], seed, resamples)
        for variable, title, unit in _described(variables)
        for group, inside in groups_of([scalars[s].get(variable) for s in held_out.subjects], unit).items()
    )


def groups_of(values: Sequence[float | str | None], unit: str = "") -> Groups:
    """The groups of a variable: categories as they are, numbers below the median and from it on.

    None where it does not tell subjects apart. values: None is not known, and a group of its own.
    """
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return {}
    if any(isinstance(value, str) for value in known):
        groups = {
            str(level): np.array([v == level for v in values]) for level in sorted(set(map(str, known)))
        }
    else:
        numbers = np.array([np.nan if v is None else float(v) for v in values])
        middle = float(np.nanmedian(numbers))
        said = f"{middle:.4g} {unit}".rstrip()
        groups = {f"below {said}": numbers < middle, f"{said} or more": numbers >= middle}
    unknown = np.array([value is None for value in values])
    return {name: inside for name, inside in {**groups, UNKNOWN_GROUP: unknown}.items() if inside.any()}


def _described(variables: Iterable[VariableSpec]) -> Iterator[tuple[str, str, str]]:
    """Name, title and unit of each variable, none twice."""
    declared = [(spec.name, spec.title or spec.name, spec.unit or "") for spec in variables]
    names = {name for name, _, _ in declared}
    yield from (described for described in _ALWAYS if described[0] not in names)
    yield from declared
    yield from (described for described in _LAST if described[0] not in names)


def _scored(
    variable: str, group: str, p_rice: Probabilities, is_rice: Truth, seed: int, resamples: int
) -> Subgroup:
    says_rice, rice = p_rice >= THRESHOLD, int(is_rice.sum())
    area = None
    if min(rice, len(is_rice) - rice) >= 2:
        (area,) = Resampling.of(is_rice, seed, resamples).estimates([auc(p_rice, is_rice)])
        area = or_bound(area, exact_bounds(p_rice, is_rice)["auc"]) if area.value in (0, 1) else area
    return Subgroup(
        variable=variable,
        group=group,
        n=len(is_rice),
        rice=rice,
        sensitivity=share_of(says_rice[is_rice]) if rice else None,
        specificity=share_of(~says_rice[~is_rice]) if rice < len(is_rice) else None,
        auc=area,
    )
