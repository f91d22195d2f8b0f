"""Simple classifiers in the network's own folds: what can be known without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.evaluation.evidence.scalars import DOSE, INTENSITY, MASKS, SITE, TIME, Scalars

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class ScalarModel:
    """A logistic regression on some scalars."""

    name: str
    title: str
    features: tuple[str, ...]


SCALAR_MODELS = (
    ScalarModel("dose", "dose scalars", DOSE),
    ScalarModel("time", "time since radiotherapy", TIME),
    ScalarModel("site", "site or scanner", SITE),
    ScalarModel("masks", "volumes of lesion and cavity", MASKS),
    ScalarModel("intensity", "mean intensities", INTENSITY),
    ScalarModel("all", "all scalars together", (*DOSE, *TIME, *SITE, *MASKS, *INTENSITY)),
)


def usable_features(model: ScalarModel, scalars: Mapping[str, Scalars]) -> tuple[str, ...]:
    """Those of a model's features that differ between subjects at all."""
    return tuple(
        name
        for name in model.features
        if len({values[name] for values in scalars.values() if values[name] is not None}) > 1
    )


def incomplete(features: tuple[str, ...], scalars: Mapping[str, Scalars]) -> int:
    """Of how many subjects one of the features is missing."""
    return sum(any(values[name] is None for name in features) for values in scalars.values())


def held_out_p_rice(
    features: tuple[str, ...], scalars: Mapping[str, Scalars], held_out: HeldOut
) -> NDArray[np.float64]:
    """Each subject's p_rice by a regression that was fitted to the other folds (N,).

    Imputation, standardisation and encoding are fitted to them too, so nothing of a fold reaches its judge.
    """
    table = _table(features, scalars, held_out)
    p_rice = np.empty(len(held_out.subjects))
    for fold in held_out.folds:
        inside = held_out.fold == fold
        model = _regression(table, features).fit(table[~inside], held_out.is_rice[~inside])
        p_rice[inside] = model.predict_proba(table[inside])[:, 1]
    return p_rice


def _table(features: tuple[str, ...], scalars: Mapping[str, Scalars], held_out: HeldOut) -> pd.DataFrame:
    import pandas as pd

    rows = [[scalars[subject][name] for name in features] for subject in held_out.subjects]
    table = pd.DataFrame(rows, columns=list(features), dtype=object)
    for name in features:
        if _is_category(table, name):
            table[name] = table[name].where(table[name].notna(), "not stated").astype(str)
        else:
            table[name] = table[name].astype(np.float64)
    return table


def _regression(table: pd.DataFrame, features: tuple[str, ...]) -> Pipeline:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = [name for name in features if _is_category(table, name)]
    numbers = [name for name in features if name not in categories]
    numeric = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    columns = make_column_transformer(
        (numeric, numbers), (OneHotEncoder(handle_unknown="ignore"), categories)
    )
    # balanced, as the network's sampler is
    return make_pipeline(columns, LogisticRegression(class_weight="balanced", max_iter=1000))


def _is_category(table: pd.DataFrame, name: str) -> bool:
    return any(isinstance(value, str) for value in table[name])
