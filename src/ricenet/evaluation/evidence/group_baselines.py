"""Group-wise regressions in the networks' folds: on scalars, and on random convolutions too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid
from ricenet.evaluation.evidence.baselines import (
    ScalarModel,
    Scalars,
    columns_of,
    harmonised_table,
    sites_of,
    table_of,
)
from ricenet.evaluation.evidence.harmonisation import harmonised
from ricenet.evaluation.held_out import HeldOut
from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.group_regression import FeatureGroup, fit_group_regression

Convolutions = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""Subject -> volume -> pooled random convolutions (F,); without the volumes that a subject lacks."""

FILTERS = 64
"""Random filters of each volume."""


@dataclass(frozen=True)
class GroupModel(ScalarModel):
    """A regression with a prior for each group. groups: of scalars. volumes: whose convolutions it sees."""

    groups: tuple[ScalarModel, ...] = ()
    volumes: tuple[str, ...] = ()


def group_models(models: Sequence[ScalarModel], volumes: Sequence[str]) -> tuple[GroupModel, ...]:
    """The two group-wise models. models: a kind of scalar each, then all together. volumes: convolved."""
    *kinds, everything = models
    features, groups = everything.features, tuple(kinds)
    scalars = GroupModel("grouped", "all scalars, group-wise", features, groups)
    if not volumes:
        return (scalars,)
    title = "all scalars and random convolutions, group-wise"
    return scalars, GroupModel("convolutions", title, features, groups, tuple(volumes))


def cohort_convolutions(
    preprocessed: Path, volumes_of: Mapping[str, Sequence[str]], grid: InputGrid, count: int, seed: int
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Random convolutions of the preprocessed volumes. volumes_of: subject -> names of those it has. grid: of
    the input that is convolved.

    One volume is in memory at a time. Raises ScanError: a volume that cannot be read.
    """
    from ricenet.training.random_convolutions import coarse, random_convolutions

    def convolved(subject: str, name: str) -> NDArray[np.float64]:
        volume = read_volumes(preprocessed / subject, subject, [name], grid)
        found: NDArray[np.float64] = random_convolutions(coarse(volume), name, count, seed).values[0]
        return found

    return {
        subject: {name: convolved(subject, name) for name in names} for subject, names in volumes_of.items()
    }


def grouped_p_rice(
    model: GroupModel,
    scalars: Mapping[str, Scalars],
    convolutions: Convolutions,
    held_out: HeldOut,
    harmonise: Collection[str] = (),
) -> NDArray[np.float64]:
    """Each subject's p_rice by a regression of the other folds (N,).

    Imputation, encoding, standardisation and prior variances are fitted to the other folds alone. The logit
    is that of classes equally frequent in training, as the networks' sampler and the plain regressions have
    it. harmonise: scalars that are harmonised by site; where there are any, convolutions are too.
    """
    from scipy.special import expit

    p_rice = np.empty(len(held_out.subjects))
    for fold in held_out.folds:
        inside = held_out.fold == fold
        groups = list(_groups(model, scalars, convolutions, held_out, ~inside, harmonise))
        fitted = fit_group_regression([group.rows(~inside) for group in groups], held_out.is_rice[~inside])
        p_rice[inside] = expit(fitted.logits([group.rows(inside) for group in groups]) - fitted.log_odds)
    return p_rice


def _groups(
    model: GroupModel,
    scalars: Mapping[str, Scalars],
    convolutions: Convolutions,
    held_out: HeldOut,
    training: NDArray[np.bool_],
    harmonise: Collection[str],
) -> Iterator[FeatureGroup]:
    """All subjects' features, imputed and encoded by the training subjects."""
    from sklearn.impute import SimpleImputer

    sites = sites_of(scalars, held_out)
    for group in model.groups:
        if features := group.usable(scalars):
            table = harmonised_table(table_of(features, scalars, held_out), harmonise, sites, training)
            values = columns_of(table, features).fit(table[training]).transform(table)
            yield _named(group.name, np.asarray(values, np.float64))
    for name in model.volumes:
        rows = [convolutions[subject].get(name) for subject in held_out.subjects]
        if length := _length(rows):
            given = np.array([np.full(length, np.nan) if row is None else row for row in rows])
            given = harmonised(given, sites, training) if harmonise else given
            imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(given[training])
            yield _named(f"{name} convolved", imputer.transform(given))


def _named(name: str, values: NDArray[np.float64]) -> FeatureGroup:
    return FeatureGroup(name, tuple(f"{name} {i}" for i in range(values.shape[1])), values)


def _length(rows: Iterable[NDArray[np.float64] | None]) -> int:
    return next((len(row) for row in rows if row is not None), 0)
