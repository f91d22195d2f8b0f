"""The code's part of a content address: a digest over everything that a module imports of this library."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1]

INDIFFERENT = frozenset({"config", "runtime"})
"""Folders that decide no result: the values of parameters are part of a key themselves, and how work is
spread, logged and stored changes no number. The module `randomness` does."""


def code_digest(*modules: str) -> str:
    """SHA-256 over the source of modules and of all that they import, also inside functions.

    modules: full names, such as `ricenet.preprocessing.cube`.
    """
    return _digest(frozenset(modules))


@functools.cache
def _digest(modules: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(import_closure(frozenset(module_file(name) for name in modules))):
        name = path.relative_to(SOURCE).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def import_closure(start: frozenset[Path], ignored: frozenset[str] = INDIFFERENT) -> frozenset[Path]:
    """Files of this library that some files reach by imports, with those of them that belong to it.

    ignored: folders and modules at the top of the library that are not followed.
    """
    reached, waiting = set[Path](), list(start)
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += [found for found in _imported(path) if _counts(found, ignored)]
    return frozenset(path for path in reached if path.is_relative_to(SOURCE))


def module_file(name: str) -> Path:
    """The source of a module or package of this library. Raises ModuleNotFoundError: there is none."""
    path = SOURCE.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(name)


def _counts(path: Path, ignored: frozenset[str]) -> bool:
    top = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return top not in ignored or path.stem == "randomness"


@functools.cache
def _imported(file: Path) -> frozenset[Path]:
    found = set[Path]()
    for node in _run_nodes(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ricenet"):
            found |= _files(str(node.module), [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ricenet."):
                    found |= _files(alias.name, [])
    return frozenset(found)


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _run_nodes(child)


def _files(module: str, names: list[str]) -> set[Path]:
    """The module, and those of the names that are modules themselves."""
    found = {module_file(module)}
    for name in names:
        try:
            found.add(module_file(f"{module}.{name}"))
        except ModuleNotFoundError:
            continue
    return found
