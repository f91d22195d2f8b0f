"""What is wrong with the content of a parameter file: one line a problem, by dotted path."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ricenet.config.label_checks import misfit_labels
from ricenet.vocabulary import (
    PAPER_VOLUMES,
    RECIPE_MARK,
    VariableSpec,
    Volumes,
    VolumeSpec,
    volumes_and_recipe,
)

TAKEN_LABELS = ("all", "indeterminate", "unlabelled")
"""Words that tables and answers use beside the labels."""

KeyPath = tuple[int | str, ...]
"""Keys and positions that lead to a value, such as ("split", "folds")."""


def problems_in(content: Any, errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every problem of a parameter file: refused values, and values that do not fit one another.

    errors: pydantic's, of the same content. Two values are compared where neither was refused,
    whatever else was.
    """
    refused: list[KeyPath] = [tuple(error["loc"]) for error in errors]
    return [_describe(error) for error in errors] + _misfits(content, refused)


def distinct_sets(names: list[str]) -> list[str]:
    """The names, unless one occurs twice. Raises ValueError."""
    if len(set(names)) < len(names):
        raise ValueError(f"a modality set is named twice: {', '.join(names)}")
    return names


def distinct_variables(specs: tuple[VariableSpec, ...]) -> tuple[VariableSpec, ...]:
    """The declarations, unless a name occurs twice. Raises ValueError."""
    names = [spec.name for spec in specs]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"variable declared twice: {', '.join(repeated)}")
    return specs


def usable_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes, two at least, unless one occurs twice or is taken. Raises ValueError."""
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"label declared twice: {', '.join(repeated)}")
    if taken := [name for name in names if name in TAKEN_LABELS]:
        raise ValueError(f"{', '.join(taken)}: the name has another meaning; choose another one")
    if len(names) < 2:
        raise ValueError("a classification needs two labels at least, such as [recurrence, rice]")
    return names


def distinct(seeds: list[int]) -> list[int]:
    """The seeds, unless one occurs twice. Raises ValueError."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed is named twice: {', '.join(map(str, seeds))}")
    return seeds


def folder_of_the_project(folder: str) -> str:
    """The folder, unless it could lie outside the project or be the project. Raises ValueError."""
    path = PurePosixPath(folder.strip())
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(
            "not a folder inside the project; write it relative to params.yaml, such as data/mine"
        )
    return folder


def shares_of_a_whole(shares: list[float]) -> list[float]:
    """The shares, unless one occurs twice or none is below 1. Raises ValueError."""
    if len(set(shares)) < len(shares):
        raise ValueError(f"a share is named twice: {', '.join(f'{share:g}' for share in shares)}")
    if not any(share < 1 for share in shares):
        raise ValueError("no share is below 1; write some, such as [0.25, 0.5, 0.75]")
    return shares


def count_or_auto(value: Any) -> Any:
    """A number of at least 1, or "auto". Raises ValueError."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"expected auto or a whole number of at least 1, found {value!r}")


def address_with_scheme(uri: str) -> str:
    """The address of an MLflow store, unless it does not say how to reach it. Raises ValueError.

    The message leaves the address out: one of a database may hold a password.
    """
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", uri):
        raise ValueError(
            "an address without a scheme; write null for the local store, or an address that starts with "
            "sqlite:///, http://, https://, postgresql:// or mysql://"
        )
    return uri


def rising_pair(limits: list[float]) -> list[float]:
    """Two limits, unless the first is not below the second. Raises ValueError."""
    low, high = limits
    if not low < high:
        raise ValueError(f"{low:g} is not below {high:g}; write the lower limit first")
    return limits


def _describe(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; remove it or mend its spelling"
        case "missing":
            return f"{where}: missing; add it (`git diff params.yaml` shows what was removed)"
        case "value_error":
            return f"{where}: {error['msg'].removeprefix('Value error, ')}"
        case _:
            message = f"{error['msg']} (found {error['input']!r})"
            return f"{where}: {message}" if where else message


def _misfits(content: Any, refused: Iterable[KeyPath]) -> list[str]:
    """Values of different sections that contradict one another; refused ones are excluded."""
    locations = tuple(refused)

    def accepted(*path: str) -> bool:
        # an error above a value refuses it, and so does one inside it
        return not any(loc[: len(path)] == path[: len(loc)] for loc in locations)

    problems = []
    if accepted("seed") and accepted("evidence", "repeat_fold_seeds"):
        problems += [
            f"evidence.repeat_fold_seeds: {seed} is the project's own seed, which gives the same folds"
            for seed in content["evidence"]["repeat_fold_seeds"]
            if seed == content["seed"]
        ]
    if accepted("split", "by") and accepted("evidence", "repeat_fold_seeds"):
        by, seeds = content["split"].get("by"), content["evidence"]["repeat_fold_seeds"]
        if by == "site" and seeds:
            problems.append(
                f"evidence.repeat_fold_seeds: {seeds} asks for other divisions into folds, and split.by: "
                "site has one alone; write []"
            )
    problems += _misfit_sets(content, accepted)
    problems += misfit_labels(content, accepted)
    if all(
        accepted(n) for n in ("network", "preprocessing", "training", "augmentation", "recipes", "variables")
    ):
        problems += _misfit_recipes(content)
    if accepted("explain", "cube_voxels") and accepted("preprocessing", "cube_voxels"):
        cube, preprocessing = content["explain"]["cube_voxels"], content["preprocessing"]
        sizes = {"cube_voxels": preprocessing["cube_voxels"]}
        if accepted("preprocessing", "crop") and preprocessing.get("crop"):
            sizes["crop.voxels"] = preprocessing["crop"]["voxels"]
        name = min(sizes, key=lambda setting: int(sizes[setting]))
        if cube > sizes[name]:
            problems.append(
                f"explain.cube_voxels: {cube} is larger than the volume (preprocessing.{name} {sizes[name]})"
            )
    return problems


def _misfit_recipes(content: Any) -> list[str]:
    """Networks that cannot work with other sections, and inputs that are not made, recipe by recipe."""
    # their types are made of this module's checks
    from ricenet.config.inputs import CROPS
    from ricenet.config.network_params import network_by_name

    preprocessing, training = content["preprocessing"], content["training"]
    main = {"input": training.get("input", "head"), "network": content["network"]}
    others: Mapping[str, Any] = content.get("recipes") or {}
    problems = []
    if (name := training.get("recipe", "paper")) in others:
        problems.append(f"recipes.{name}: the main recipe (training.recipe) has the same name; rename one")
    for name, recipe in {"": main, **others}.items():
        rule, crop = recipe["input"], preprocessing.get("crop")
        if (cropped := rule not in ("head", "brain")) and crop is None:
            setting = f"recipes.{name}.input" if name else "training.input"
            problems.append(f"{setting}: {rule} needs preprocessing.crop, which is null")
            continue
        network = network_by_name(recipe["network"])
        sizes = {} if rule in CROPS else {"preprocessing.cube_voxels": (preprocessing["cube_voxels"],)}
        sizes |= {"preprocessing.crop.voxels": (crop["voxels"],)} if cropped else {}
        found = network.misfits(sizes, training.get("samples_at_once"), bool(content.get("variables")))
        problems += [f"{problem} (recipe {name})" if name else problem for problem in found]
    return problems


def _misfit_sets(content: Any, accepted: Callable[..., bool]) -> list[str]:
    """Modality sets of undeclared volumes; if there is none, sets of other sections that are not trained."""
    undeclared = []
    for path in (("modality_sets",), ("evidence", "repeat_sets")):
        names = functools.reduce(lambda value, key: value[key], path, content) if accepted(*path) else []
        if accepted("volumes"):
            undeclared += _undeclared_sets(content.get("volumes", PAPER_VOLUMES), ".".join(path), names)
        if accepted("recipes"):
            undeclared += _undeclared_recipes(content.get("recipes") or {}, ".".join(path), names)
    if undeclared or not accepted("modality_sets"):
        return undeclared
    asked = [
        (f"{section}.modality_sets", name)
        for section in ("explain", "tuning", "robustness")
        if accepted(section, "modality_sets")
        for name in content[section]["modality_sets"] or []
    ]
    if accepted("evidence", "learning_curve"):
        curves = content["evidence"]["learning_curve"]["sets"]
        asked += [("evidence.learning_curve.sets", name) for name in curves]
    if accepted("training", "overrides"):
        asked += [(f"training.overrides.{name}", name) for name in content["training"]["overrides"]]
    return [
        f"{where}: {name} is not trained (modality_sets)"
        for where, name in asked
        if name not in content["modality_sets"]
    ]


def _undeclared_sets(specs: Iterable[Any], path: str, names: Iterable[str]) -> list[str]:
    """Modality sets that name an undeclared volume, or their members in another order."""
    volumes = Volumes(VolumeSpec.model_validate(spec) for spec in specs)
    problems = []
    for name in dict.fromkeys(names):
        try:
            volumes.members(name)
        except ValueError as error:
            problems.append(f"{path}: {error}")
    return problems


def _undeclared_recipes(recipes: Mapping[str, Any], path: str, names: Iterable[str]) -> list[str]:
    """Modality sets that ask for a recipe that the parameter file does not have."""
    asked = {name: volumes_and_recipe(name)[1] for name in dict.fromkeys(names)}
    return [
        f"{path}: {name}: the recipe {recipe!r} is not declared under recipes "
        f"({', '.join(recipes) or 'there is none'})"
        for name, recipe in asked.items()
        if (RECIPE_MARK in name) and recipe not in recipes
    ]
