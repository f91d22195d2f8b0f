"""What all tests share: a cohort, a phantom head, and the order of files.

Files that take long begin first, so that no worker ends alone with one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cohorts import write_tiny_cohort
from heads import write_head

from ricenet.runtime.files import atomic_folder, locked

if TYPE_CHECKING:
    from registered_project import Registered


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid cohort of four, to be read or copied, never changed."""
    return write_tiny_cohort(tmp_path_factory.mktemp("cohorts") / "tiny")


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 24 without a leak, its store filled; to be read or copied, never changed."""
    from guarded_cohorts import guards_of, write_guarded_project

    project = tmp_path_factory.mktemp("guarded")
    write_guarded_project(project)
    guards_of(project)
    return project


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


@pytest.fixture(scope="session")
def phantom_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of one phantom head of 3 mm with cavity and lesion, `sub-001`, shared by all: read it only."""
    base = tmp_path_factory.getbasetemp()
    # workers of one run have the parent folder in common
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "phantom-head"
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with atomic_folder(folder) as temporary:
                write_head(temporary)
    return folder
