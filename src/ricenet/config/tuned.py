"""Settings that tuning found, by modality set and fold, and how they join those of the parameter file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from ricenet.config.params import PARAMS_FILE
from ricenet.config.training import AugmentationParams, TrainingOverride, TrainingParams
from ricenet.config.tuning import SEARCHED
from ricenet.runtime.errors import ParamsError, TrainingError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes
from ricenet.runtime.formats import FIRST
from ricenet.runtime.records import write_again
from ricenet.runtime.strict_json import JsonError, parse_json
from ricenet.vocabulary import Volumes, volumes_and_recipe

Values = Mapping[str, float | int]
"""Dotted name -> value, such as training.learning_rate or augmentation.probability.noise."""


Searched = Literal["not searched", "nested", "same folds"]
"""How a set's settings were found: taken from the parameter file, by a search within each fold's training
subjects, or on the folds that judge them, which makes their scores optimistic."""


def _searched(name: str) -> str:
    if name not in SEARCHED:
        raise ValueError("no setting that can be tuned")
    return name


_Searched = Annotated[str, AfterValidator(_searched)]
_Number = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]

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

    def refuse_unknown(self, volumes: Volumes) -> None:
        """Make sure that all sets are of declared volumes. Raises TrainingError."""
        if unknown := [name for name in self.folds_of if volumes_and_recipe(name)[0] not in volumes.sets]:
            raise TrainingError(f"tuned settings of the unknown modality set {unknown[0]!r}. {_MAKE_AGAIN}")

    def differing(self, modality_set: str) -> frozenset[str]:
        """Dotted names of the settings that a nested search gave each fold of its own."""
        folds = self.folds_of.get(modality_set, ())
        return frozenset(n for n in self.names(modality_set) if len({values.get(n) for values in folds}) > 1)

    def searched(self, modality_set: str) -> Searched:
        """How the settings of a set were found."""
        if modality_set not in self.folds_of:
            return "not searched"
        return "nested" if self.differing(modality_set) else "same folds"

    def names(self, modality_set: str) -> frozenset[str]:
        """Dotted names of the settings that were tuned for a set."""
        return frozenset(name for values in self.folds_of.get(modality_set, ()) for name in values)


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


class _Found(BaseModel):
    """An entry of best.json; what else it says is for people."""

    folds: Annotated[list[Annotated[dict[_Searched, _Number], Field(min_length=1)]], Field(min_length=1)]


_FOUND = TypeAdapter(dict[str, _Found])


def read_tuned(path: Path) -> Tuned:
    """Read what the stage `tune` found. path: work/tuning/best.json, `{}` where nothing is tuned.

    Raises TrainingError: missing, damaged, or with a setting that cannot be tuned. FormatError: of another
    version.
    """
    try:
        # strictly first, for pydantic takes the last of two values of a key
        content = FIRST.content(
            parse_json(regular_bytes(path, MOST_TEXT_BYTES)), path.name, write_again("tune")
        )
        found = _FOUND.validate_json(json.dumps(content))
    except JsonError as error:
        raise TrainingError(f"{path} is damaged: it {error}. {_MAKE_AGAIN}") from None
    except FileNotFoundError:
        raise TrainingError(f"{path} is missing. The stage `tune` makes it: run `dvc repro`") from None
    except ValidationError as error:
        last = error.errors()[-1]
        where = ".".join(str(part) for part in last["loc"] if part != "[key]")
        raise TrainingError(f"{path} is damaged: {where}: {last['msg']}. {_MAKE_AGAIN}") from None
    return Tuned({modality_set: of_set.folds for modality_set, of_set in found.items()})


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
