"""What is costly and shared by files, and their order: those that take long begin first."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from registered_project import Registered


@pytest.fixture(scope="session")
def registered_once(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """A project with registered ensembles, which takes long to make; tests use `registered`."""
    from registered_project import Registered

    return Registered(tmp_path_factory.mktemp("registered") / "project")


@pytest.fixture
def registered(registered_once: Registered, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """The project as it was made, entered. Version 2 of dose is at hand, version 1 in MLflow alone."""
    registered_once.reset()
    monkeypatch.chdir(registered_once.project)
    return registered_once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # a stable sort: what is in a file keeps its order
    slowness = defaultdict[object, float](float)
    for item in items:
        slowness[item.path] = max(slowness[item.path], _slowness(item))
    items.sort(key=lambda item: -slowness[item.path])


def _slowness(item: pytest.Item) -> float:
    timeout = item.get_closest_marker("timeout")
    if timeout is not None:
        return float(timeout.args[0])
    return 1.0 if item.get_closest_marker("slow") else 0.0
