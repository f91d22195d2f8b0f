"""What all tests share: cohorts, a phantom head and its templates, and the order of files.

Files that take long begin first, so that no worker ends alone with one.
"""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cohorts import write_tiny_cohort
from heads import write_head

from ricenet.phantom import anatomy
from ricenet.phantom.anatomy import Anatomy
from ricenet.runtime.files import atomic_folder, atomic_path, locked

if TYPE_CHECKING:
    from orthanc_server import Orthanc
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


@pytest.fixture(scope="session")
def orthanc_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS without sign-in; tests use `orthanc`."""
    from orthanc_server import orthanc_server

    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="session")
def closed_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS with sign-in."""
    from orthanc_server import orthanc_server

    with orthanc_server(tmp_path_factory.mktemp("closed-orthanc"), signed_in=True) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_once: Orthanc) -> Orthanc:
    """A PACS without sign-in that is empty."""
    orthanc_once.clear()
    return orthanc_once


@pytest.fixture(autouse=True)
def _no_store_of_others() -> Iterator[None]:
    """MLflow notes in the environment which store it was told of, where the next test would find it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


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


def of_this_run(factory: pytest.TempPathFactory) -> Path:
    """The folder that the workers of one run have in common."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def phantom_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of one phantom head of 3 mm with cavity and lesion, `sub-001`, shared by all: read it only."""
    folder = of_this_run(tmp_path_factory) / "phantom-head"
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with atomic_folder(folder) as temporary:
                write_head(temporary)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _templates_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The phantom's template takes longer to make than ten heads: one worker's serves all of a run."""
    with pytest.MonkeyPatch.context() as patched:
        kept = functools.partial(kept_template, of_this_run(tmp_path_factory), anatomy.load_template)
        patched.setattr(anatomy, "load_template", kept)
        yield


def kept_template(folder: Path, make: Callable[[float], Anatomy], spacing_mm: float) -> Anatomy:
    path = folder / f"template-{spacing_mm}.npz"
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            with atomic_path(path) as temporary:
                anatomy.write_template(make(spacing_mm), temporary)
    return anatomy.read_template(path)
