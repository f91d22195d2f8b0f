"""DVC sees a library module only where it is listed: each stage lists all that decide its results."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src"

# how work is spread, logged, stored or shown decides no result
INDIFFERENT = ("cli", "config", "display", "runtime", "__init__")
SIDE_EFFECTS = {
    "train": ("tracking", "inference", "evaluation", "report", "screening"),
    "tune": ("tracking", "inference", "evaluation", "report", "screening"),
    "report": ("tracking",),
    "vote": ("tracking",),
}
"""Modules that a stage calls only to show its results in MLflow."""


def stages() -> dict[str, dict[str, object]]:
    yaml = YAML(typ="safe")
    main, demo = (yaml.load(PROJECT / name)["stages"] for name in ("dvc.yaml", "src/stages/dvc.yaml"))
    return {**demo, **main}


def module_file(name: str) -> Path | None:
    path = SOURCE.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imported(file: Path) -> frozenset[Path]:
    """Library files that a file imports, also inside functions, but not for type checking alone."""
    found: set[Path] = set()
    tree = ast.parse(file.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {path for name in names if name.startswith("ricenet") and (path := module_file(name))}
    return frozenset(found)


def closure(start: Path, ignored: tuple[str, ...]) -> set[Path]:
    """All library files that a stage's script reaches, apart from ignored ones and what only they reach."""

    def counts(path: Path) -> bool:
        first = path.relative_to(SOURCE / "ricenet").parts[0].removesuffix(".py")
        decides = first not in ignored or path.stem == "randomness"
        return decides and path.name != "__init__.py"

    reached: set[Path] = set()
    waiting = [start]
    while waiting:
        for path in imported(waiting.pop()):
            if path not in reached and counts(path):
                reached.add(path)
                waiting.append(path)
    return reached


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_lists_every_module_that_decides_its_result(name: str) -> None:
    stage = stages()[name]
    if stage.get("always_changed"):
        pytest.skip("runs every time, whatever changed")
    script = (
        SOURCE / "ricenet/phantom/write_cohort.py" if name == "phantom" else SOURCE / "stages" / f"{name}.py"
    )
    listed = [PROJECT / str(dep) for dep in stage["deps"] if str(dep).startswith("src/")]  # type: ignore[attr-defined]
    missing = sorted(
        str(path.relative_to(PROJECT))
        for path in closure(script, INDIFFERENT + SIDE_EFFECTS.get(name, ()))
        if not any(path == dep or dep in path.parents for dep in listed)
    )
    assert missing == []


@pytest.mark.parametrize("name", sorted(stages()))
def test_every_listed_dependency_on_code_exists(name: str) -> None:
    for dep in stages()[name]["deps"]:  # type: ignore[attr-defined]
        if str(dep).startswith("src/") or dep == "requirements.lock":
            assert (PROJECT / str(dep)).exists(), dep
