"""Writing settings into the parameter file, above all presets: two scales of the paper, and a recipe."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ricenet.config.params import parse_params, read_params
from ricenet.runtime.errors import ParamsError
from ricenet.runtime.files import write_text
from ricenet.vocabulary import RECIPE_MARK

SET_LISTS = (
    *(("", "modality_sets"), ("explain", "modality_sets"), ("tuning", "modality_sets")),
    *(("robustness", "modality_sets"), ("evidence", "repeat_sets"), ("evidence.learning_curve", "sets")),
)
"""Section, dotted, and key of every list of modality sets."""

PRESETS = ("demo", "paper", "small_cohort")


def use_preset(name: str, path: Path) -> int:
    """Write a preset's settings into a parameter file, keeping its comments and all else.

    demo, paper: the paper's recipe at either scale. small_cohort: another recipe, at the scale as it is. A
    recipe of the same name under `recipes` is removed, with the sets that name it: what was trained beside
    the main recipe is the main one now.
    Returns how many settings changed.
    Raises ParamsError: unknown preset, or a file that is not valid before or after.
    """
    if name not in PRESETS:
        raise ParamsError(path.name, [f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}"])
    text = resources.files("ricenet.config.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    preset = _round_trip_yaml().load(text)

    def apply(content: Any) -> int:
        if content["network"].get("name", "resnet18") != preset["network"]["name"]:
            # no setting of another network would have a meaning
            content["network"].clear()
        recipe = preset["training"]["recipe"]
        if (content.get("recipes") or {}).pop(recipe, None) is not None:
            # a mapping that became empty would keep its comments, which ruamel writes as no YAML
            content["recipes"] = content["recipes"] or {}
            _remove_sets(content, recipe)
        return _merge(content, preset)

    return _changed(path, apply)


def _remove_sets(content: Any, recipe: str) -> None:
    """Remove the modality sets of a recipe wherever they are listed."""
    of_recipe = RECIPE_MARK + recipe
    for section, key in SET_LISTS:
        of_section = functools.reduce(
            lambda found, part: found[part], filter(None, section.split(".")), content
        )
        names = of_section.get(key) or []
        for place in reversed(range(len(names))):
            if names[place].endswith(of_recipe):
                del names[place]


def change_settings(path: Path, changes: Mapping[str, Any]) -> int:
    """Write some settings into a parameter file, keeping its comments and all else.

    changes: nested as in the file. Returns how many settings changed.
    Raises ParamsError: a file that is not valid before or after; it is then left as it was.
    """
    return _changed(path, lambda content: _merge(content, changes))


def _changed(path: Path, apply: Callable[[Any], int]) -> int:
    read_params(path)
    content = _round_trip_yaml().load(path)
    changed = apply(content)
    parse_params(content, path.name)
    write_text(path, _dump(content))
    return changed


def to_yaml(content: dict[str, Any]) -> str:
    """Settings as YAML text."""
    return _dump(content)


def _merge(target: Any, preset: Any) -> int:
    changed = 0
    for key, value in preset.items():
        if isinstance(value, dict):
            changed += _merge(target[key], value)
        elif key not in target or target[key] != value:
            target[key] = value
            changed += 1
    return changed


def _round_trip_yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    # ruamel writes None as an empty value by default, which reads like a forgotten one
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _dump(content: Any) -> str:
    stream = io.StringIO()
    _round_trip_yaml().dump(content, stream)
    return stream.getvalue()
