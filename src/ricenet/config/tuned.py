"""Settings that tuning found, by modality set and fold, and how they join those of the parameter file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ricenet.config.params import PARAMS_FILE
from ricenet.config.training import AugmentationParams, TrainingOverride, TrainingParams
from ricenet.config.tuning import SEARCHED
from ricenet.runtime.errors import ParamsError, TrainingError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import MODALITY_SETS

Values = Mapping[str, float | int]
"""Dotted name -> value, such as training.learning_rate or augmentation.probability.noise."""

_MAKE_AGAIN = "The stage `tune` makes it: delete it and run `dvc repro`"


@dataclass(frozen=True)
class Tuned:
    """What tuning found. folds_of: modality set -> the values of each fold (equal ones unless nested)."""

    folds_of: Mapping[str, Sequence[Values]] = field(default_factory=dict)

    def settings(
        self, modality_set: str, fold: int, training: TrainingParams, augmentation: AugmentationParams
    ) -> tuple[TrainingParams, AugmentationParams]:
        """The settings in force for one fold: those of the file, with the tuned ones in their place.

        Raises TrainingError: tuning knew fewer folds, or found a value that is refused.
        """
        if modality_set not in self.folds_of:
            return training, augmentation
        values = self.folds_of[modality_set]
        if fold >= len(values):
            raise TrainingError(
                f"{modality_set}: settings were tuned for {len(values)} folds only. {_MAKE_AGAIN}"
            )
        try:
            return with_values(values[fold], training, augmentation)
        except ValidationError as error:
            (name, *_), wrong = error.errors()[0]["loc"], error.errors()[0]["msg"]
            raise TrainingError(f"{modality_set}: tuned settings: {name}: {wrong}. {_MAKE_AGAIN}") from None

    def differing(self, modality_set: str) -> frozenset[str]:
        """Dotted names of the settings that a nested search gave each fold of its own."""
        values = self.folds_of.get(modality_set, ())
        names = {name for of_fold in values for name in of_fold}
        return frozenset(name for name in names if len({of_fold.get(name) for of_fold in values}) > 1)

    def refuse_overridden(
        self, overrides: Mapping[str, TrainingOverride], modality_sets: Iterable[str]
    ) -> None:
        """Make sure that no setting of these sets is both tuned and set for the set in the parameter file.

        Raises ParamsError: naming each.
        """
        refuse_overridden(
            {
                name: {key for values in self.folds_of[name] for key in values}
                for name in modality_sets
                if name in self.folds_of
            },
            overrides,
        )


def refuse_overridden(tuned: Mapping[str, Iterable[str]], overrides: Mapping[str, TrainingOverride]) -> None:
    """Make sure that no setting is both tuned and set for its modality set in the parameter file.

    tuned: modality set -> dotted names. Raises ParamsError: naming each.
    """
    problems = [
        f"training.overrides.{modality_set}.{key}: tuned for this set as well; remove it here, or "
        f"training.{key} from tuning.space, or {modality_set} from tuning.modality_sets"
        for modality_set, names in tuned.items()
        for key in overrides.get(modality_set, TrainingOverride()).model_dump(exclude_none=True)
        if f"training.{key}" in set(names)
    ]
    if problems:
        raise ParamsError(PARAMS_FILE.name, problems)


def read_tuned(path: Path) -> Tuned:
    """Read what the stage `tune` found. path: work/tuning/best.json, `{}` where nothing is tuned.

    Raises TrainingError: missing, damaged, or with a setting that cannot be tuned.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise TrainingError(f"{path} is missing. The stage `tune` makes it: run `dvc repro`") from None
    except ValueError:
        raise TrainingError(f"{path} is damaged: it is not JSON. {_MAKE_AGAIN}") from None
    if problem := _problem(content):
        raise TrainingError(f"{path} is damaged: {problem}. {_MAKE_AGAIN}")
    return Tuned({modality_set: found["folds"] for modality_set, found in content.items()})


def _problem(content: Any) -> str | None:
    if not isinstance(content, dict):
        return "it does not hold an entry a modality set"
    for modality_set, found in content.items():
        if modality_set not in MODALITY_SETS:
            return f"unknown modality set {modality_set!r}"
        folds = found.get("folds") if isinstance(found, dict) else None
        if not isinstance(folds, list) or not folds or not all(isinstance(f, dict) and f for f in folds):
            return f"{modality_set} has no list of settings by fold"
        for name, value in ((name, value) for values in folds for name, value in values.items()):
            if name not in SEARCHED:
                return f"{modality_set} has the unknown setting {name!r}"
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                return f"{modality_set}, {name}: {value!r} is no number"
    return None


def with_values(
    values: Values, training: TrainingParams, augmentation: AugmentationParams
) -> tuple[TrainingParams, AugmentationParams]:
    """Settings with some values replaced, validated again.

    Raises pydantic.ValidationError: a value is beyond what its setting allows.
    """
    content: dict[str, Any] = {
        "training": training.model_dump(),
        "augmentation": augmentation.model_dump(),
    }
    for name, value in values.items():
        *sections, key = name.split(".")
        section = content
        for step in sections:
            section = section[step]
        section[key] = value
    return (
        TrainingParams.model_validate(content["training"]),
        AugmentationParams.model_validate(content["augmentation"]),
    )
