"""Benchmarks run by hand, so that a module which moved would be missed first by whoever measures."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
EARLIER_BUILD = "base_"
"""How functions are called that run with an earlier commit's code."""


def imported(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """What a script takes from the library, also inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name.startswith(EARLIER_BUILD):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").startswith("ricenet"):
            yield child
        yield from imported(child)


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_everything_that_a_benchmark_takes_from_the_library_is_there(script: Path) -> None:
    for one in imported(ast.parse(script.read_text())):
        module = importlib.import_module(str(one.module))
        for name in (alias.name for alias in one.names):
            if not hasattr(module, name):
                importlib.import_module(f"{one.module}.{name}")
