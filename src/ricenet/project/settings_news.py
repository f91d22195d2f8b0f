"""What another version means for a project's params.yaml, which is the user's own: told, never written."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ricenet.config.params import parse_params
from ricenet.config.yaml_file import read_yaml
from ricenet.project.carried import source_folder
from ricenet.runtime.errors import ParamsError

KeyPath = tuple[str, ...]


def settings_news(file: Path) -> list[str]:
    """Lines on a parameter file: settings of the installed version that it lacks, and what is refused in it.

    A setting is told where the file would take it: none of another network, for example.
    Raises ParamsError: no such file, or no YAML.
    """
    content, ours = read_yaml(file), read_yaml(source_folder() / "params.yaml")
    if not isinstance(content, dict):
        raise ParamsError(file.name, ["holds no settings"])
    problems = _problems(content, file.name)
    news = [
        f"new, not in yours: {'.'.join(path)} (as delivered: {_short(value)})"
        for path, value in _lacking(content, ours)
        if len(_problems(_with(content, path, value), file.name)) <= len(problems)
    ]
    return news + [f"this version refuses it: {problem}" for problem in problems]


def _lacking(
    content: Mapping[str, Any], ours: Mapping[str, Any], at: KeyPath = ()
) -> Iterator[tuple[KeyPath, Any]]:
    """Keys, and their values, that the one has and the other lacks; of a whole section its name alone."""
    for key, value in ours.items():
        if key not in content:
            yield (*at, key), value
        elif isinstance(value, dict) and isinstance(content[key], dict):
            yield from _lacking(content[key], value, (*at, key))


def _with(content: dict[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    section = changed
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return changed


def _problems(content: Any, name: str) -> list[str]:
    try:
        parse_params(content, name)
    except ParamsError as error:
        return error.problems
    return []


def _short(value: Any) -> str:
    """A value in one line; a section by its keys."""
    return f"a section of {', '.join(map(str, value))}" if isinstance(value, dict) and value else repr(value)
