"""What another version means for a project's params.yaml, which is the user's own: told, never written."""

from __future__ import annotations

import copy
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ricenet.config.params import parse_params
from ricenet.config.yaml_file import read_yaml
from ricenet.project.carried import source_folder
from ricenet.runtime.errors import ParamsError

KeyPath = tuple[str, ...]

NEEDED = "add it, `dvc repro` needs it"
"""How the line of a setting ends without which a stage does not run."""

_PIPELINES = ("dvc.yaml", "src/stages/dvc.yaml")


def settings_news(file: Path) -> list[str]:
    """Lines on a parameter file: settings of the installed version that it lacks, and what is refused in it.

    A setting is told where the file would take it: none of another network, for example. Needed is one that
    has no default, or that a stage lists under `params`: DVC stops where the file lacks it, whatever its
    default.
    Raises ParamsError: no such file, or no YAML.
    """
    content, ours = read_yaml(file), read_yaml(source_folder() / "params.yaml")
    if not isinstance(content, dict):
        raise ParamsError(file.name, ["holds no settings"])
    problems, listed = _problems(content, file.name), _listed_by_stages(source_folder())
    news = {
        ".".join(path): _in_one_line(value)
        for path, value in _lacking(content, ours)
        if len(_problems(_with(content, path, value), file.name)) <= len(problems)
    }
    missing = {name for name in news if any(problem.startswith(f"{name}: missing") for problem in problems)}
    needed = missing | {name for name in news if _holds_any(name, listed)}
    told = [
        f"new, not in yours: {name} (as delivered: {value})" + (f"; {NEEDED}" if name in needed else "")
        for name, value in news.items()
    ]
    refused = [problem for problem in problems if problem.split(": missing")[0] not in missing]
    return told + [f"this version refuses it: {problem}" for problem in refused]


def _listed_by_stages(folder: Path) -> set[str]:
    """Dotted names of the parameters that the stages of the installed version list."""
    pipelines = (read_yaml(folder / name) for name in _PIPELINES)
    stages = (stage for pipeline in pipelines for stage in pipeline["stages"].values())
    return {name for stage in stages for name in stage.get("params", ())}


def _holds_any(name: str, listed: Collection[str]) -> bool:
    """Whether one of the listed parameters is this one, or lies in this section."""
    return any(other == name or other.startswith(f"{name}.") for other in listed)


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


def _in_one_line(value: Any) -> str:
    """A value as YAML, to be copied."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width = True, 2**20
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump([value], text)
    return text.getvalue().strip()[1:-1]
