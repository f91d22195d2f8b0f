"""Simple classifiers in the network's own folds: what can be known without one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.evidence.harmonisation import harmonised
from ricenet.evaluation.evidence.lesion_dose import LESION_DOSE
from ricenet.evaluation.held_out import HeldOut
from ricenet.preprocessing.measurements import SHAPE
from ricenet.vocabulary import VariableSpec, Volumes

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from ricenet.evaluation.labels.held_out import LabelHeldOut

Scalars = Mapping[str, float | str | None]
"""Feature -> value of one subject; None where it is not known. Text is a category."""

DOSE = ("dose_max_gy", "dose_mean_gy", "v20", "v40", "v60", "ptv_ml", *SHAPE)
TIME = ("days_rt_end_to_event",)
SCANNER = ("scanner", "manufacturer", "field_strength_t")
SITE = ("site", *SCANNER)
RADIATION = ("rt_modality",)
MASKS = ("lesion_ml", "cavity_ml", *LESION_DOSE)


@dataclass(frozen=True)
class ScalarModel:
    """A logistic regression on some scalars."""

    name: str
    title: str
    features: tuple[str, ...]

    def usable(self, scalars: Mapping[str, Scalars]) -> tuple[str, ...]:
        """Those of the features that differ between subjects at all."""
        return tuple(name for name in self.features if len(_known(name, scalars)) > 1)

    def why_unusable(self, scalars: Mapping[str, Scalars]) -> str:
        """Why no feature differs between subjects."""
        known = any(_known(name, scalars) for name in self.features)
        return "it is the same in all" if known else "no subject has it"

    def incomplete(self, scalars: Mapping[str, Scalars]) -> int:
        """Of how many subjects a usable feature is missing."""
        used = self.usable(scalars)
        return sum(any(values.get(name) is None for name in used) for values in scalars.values())


def scalar_models(volumes: Volumes, variables: Sequence[VariableSpec]) -> tuple[ScalarModel, ...]:
    """A model for each kind of scalar, one for the declared variables, and one for all together."""
    models = (
        ScalarModel("dose", "dose scalars", DOSE if volumes.dose else ()),
        ScalarModel("time", "time since radiotherapy", TIME),
        ScalarModel("site", "site or scanner", SITE),
        ScalarModel("masks", "lesion and cavity", MASKS),
        ScalarModel("intensity", "mean intensities", intensity_features(volumes)),
        ScalarModel("variables", "declared variables", tuple(spec.name for spec in variables)),
    )
    features = dict.fromkeys(name for model in models for name in model.features)
    return (*models, ScalarModel("all", "all scalars together", tuple(features)))


def source_models(scalars: Mapping[str, Scalars], others: Sequence[ScalarModel]) -> tuple[ScalarModel, ...]:
    """Models that know where a subject comes from and nothing else: the site, the scanner, the radiation.

    Those that see what none of the others sees alone, so that no model is told twice.
    """
    alone = (
        ScalarModel("site_alone", "site alone", ("site",)),
        ScalarModel("scanner_alone", "scanner alone", SCANNER),
        ScalarModel("radiation_alone", "kind of radiation alone", RADIATION),
    )
    seen = {model.usable(scalars) for model in others}
    return tuple(model for model in alone if (used := model.usable(scalars)) and used not in seen)


def intensity_features(volumes: Volumes) -> tuple[str, ...]:
    """Mean and SD of each raw MRI in the brain, and its mean z-score in the planning target volume."""
    whole = [f"{mri.name}_{of}" for mri in volumes.mris for of in ("mean", "sd")]
    return (*whole, *(f"{mri.name}_in_ptv" for mri in volumes.mris if volumes.dose))


def held_out_p_rice(
    features: tuple[str, ...],
    scalars: Mapping[str, Scalars],
    held_out: HeldOut,
    harmonise: Collection[str] = (),
) -> NDArray[np.float64]:
    """Each subject's p_rice by a regression that was fitted to the other folds (N,).

    Imputation, standardisation and encoding are fitted to them too, so nothing of a fold reaches its judge.
    harmonise: features that are harmonised by site, likewise (`ricenet.evaluation.evidence.harmonisation`).
    """
    given = table_of(features, scalars, held_out)
    sites = sites_of(scalars, held_out)
    p_rice = np.empty(len(held_out.subjects))
    for fold in held_out.folds:
        inside = held_out.fold == fold
        table = harmonised_table(given, harmonise, sites, ~inside)
        model = _regression(table, features).fit(table[~inside], held_out.is_rice[~inside])
        p_rice[inside] = model.predict_proba(table[inside])[:, 1]
    return p_rice


def table_of(
    features: tuple[str, ...], scalars: Mapping[str, Scalars], held_out: HeldOut | LabelHeldOut
) -> pd.DataFrame:
    """A row a subject and a column a feature: numbers, or text where one is text."""
    import pandas as pd

    rows = [[scalars[subject].get(name) for name in features] for subject in held_out.subjects]
    table = pd.DataFrame(rows, columns=list(features), dtype=object)
    for name in features:
        if _is_category(table, name):
            table[name] = table[name].where(table[name].notna(), "not stated").astype(str)
        else:
            table[name] = table[name].astype(np.float64)
    return table


def harmonised_table(
    table: pd.DataFrame,
    harmonise: Collection[str],
    sites: Sequence[str | None],
    training: NDArray[np.bool_],
) -> pd.DataFrame:
    """The table with those of its columns that are to be harmonised so, by the training subjects (N,)."""
    columns = [name for name in table.columns if name in harmonise]
    if not columns:
        return table
    values = harmonised(table[columns].to_numpy(np.float64), sites, training)
    return table.assign(**dict(zip(columns, values.T, strict=True)))


def sites_of(scalars: Mapping[str, Scalars], held_out: HeldOut) -> list[str | None]:
    """The site of each subject, None where it is not known."""
    found = [scalars[subject].get("site") for subject in held_out.subjects]
    return [None if site is None else str(site) for site in found]


def columns_of(table: pd.DataFrame, features: tuple[str, ...]) -> ColumnTransformer:
    """Imputes the median and standardises, or encodes categories; to be fitted to training subjects."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = [name for name in features if _is_category(table, name)]
    numbers = [name for name in features if name not in categories]
    numeric = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((numeric, numbers), (encoder, categories))


def _regression(table: pd.DataFrame, features: tuple[str, ...]) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # balanced, as the network's sampler is
    balanced = LogisticRegression(class_weight="balanced", max_iter=1000)
    return make_pipeline(columns_of(table, features), balanced)


def _is_category(table: pd.DataFrame, name: str) -> bool:
    return any(isinstance(value, str) for value in table[name])


def _known(name: str, scalars: Mapping[str, Scalars]) -> set[float | str]:
    return {value for values in scalars.values() if (value := values.get(name)) is not None}
