"""Writing settings into the parameter file, above all the two scales of the one protocol."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ricenet.config.params import parse_params, read_params
from ricenet.runtime.errors import ParamsError
from ricenet.runtime.files import write_text

SCALES = ("demo", "paper")


def use_scale(scale: str, path: Path) -> int:
    """Write a preset's settings into a parameter file, keeping its comments and all else.

    Returns how many settings changed.
    Raises ParamsError: unknown scale, or a file that is not valid before or after.
    """
    if scale not in SCALES:
        raise ParamsError(path.name, [f"unknown scale {scale!r}; expected {' or '.join(SCALES)}"])
    preset = resources.files("ricenet.config.presets").joinpath(f"{scale}.yaml").read_text(encoding="utf-8")
    return change_settings(path, _round_trip_yaml().load(preset))


def change_settings(path: Path, changes: Mapping[str, Any]) -> int:
    """Write some settings into a parameter file, keeping its comments and all else.

    changes: nested as in the file. Returns how many settings changed.
    Raises ParamsError: a file that is not valid before or after; it is then left as it was.
    """
    read_params(path)
    content = _round_trip_yaml().load(path)
    changed = _merge(content, changes)
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
