"""A project that is moved or copied takes its runs, models and promotions along."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from registered_project import Registered
from tracked_project import PREFIX, store_of

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json
from ricenet.tracking import moved_project
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import champions, find_registered, versions
from ricenet.tracking.version_files import ensemble_files
from ricenet.training.ensemble_record import RECORD

OTHER = "rice net ü"
"""A place whose name an address has to encode."""


def moved(registered: Registered, tmp_path: Path) -> Path:
    """The project, used at one place and then moved to another, so that the first is gone."""
    registered.move_alias(version=1)
    first, second = tmp_path / "first", tmp_path / OTHER
    shutil.copytree(registered.project, first)
    store_of(first)
    first.rename(second)
    return second


def places(project: Path) -> list[str]:
    """Every text in the database that names a folder of artifacts, whatever its table."""
    found = []
    with closing(sqlite3.connect(project / "mlflow/mlflow.db")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                found += [str(cell) for cell in row if "mlflow/artifacts" in str(cell)]
    return found


def test_runs_models_and_promotions_stay_and_their_files_are_found(
    registered: Registered, tmp_path: Path
) -> None:
    project = moved(registered, tmp_path)
    store = store_of(project)
    (champion,) = champions(store, PREFIX).values()
    assert champion.version == "1"
    # version 1 lies in MLflow alone: it is fetched from its new place
    files = ensemble_files(project, store, champion)
    assert read_json(files / RECORD)["digest"] == champion.digest
    run = store.client().get_run(str(find_registered(store, PREFIX, None).run_id))
    local = store.client().download_artifacts(run.info.run_id, "gate/dose.json", str(tmp_path))
    assert Path(local).is_file()
    register_ensembles(project, store, PREFIX)
    assert [version.version for version in versions(store, f"{PREFIX}-dose")] == ["1", "2"]


def test_no_place_of_the_database_is_left_behind(registered: Registered, tmp_path: Path) -> None:
    project = moved(registered, tmp_path)
    before = places(project)
    old, here = (tmp_path / "first/mlflow").as_uri(), (project / "mlflow").as_uri()
    at_old = [place for place in before if place.startswith(old)]
    assert len(at_old) > 10
    store_of(project)
    assert places(project) == [place.replace(old, here) for place in before]


def test_a_copy_leaves_the_original_as_it_was(registered: Registered, tmp_path: Path) -> None:
    before = places(registered.project)
    copy = tmp_path / "copy"
    shutil.copytree(registered.project, copy)
    assert store_of(copy).experiment_id == registered.store.experiment_id
    assert places(registered.project) == before
    assert store_of(registered.project) == registered.store


def test_a_project_reached_by_a_link_is_no_moved_one(registered: Registered, tmp_path: Path) -> None:
    before = places(registered.project)
    (tmp_path / "link").symlink_to(registered.project)
    store_of(tmp_path / "link")
    assert places(registered.project) == before


def test_a_folder_whose_name_begins_alike_is_not_renamed(tmp_path: Path) -> None:
    database, here = tmp_path / "mlflow.db", tmp_path / "here/mlflow/artifacts"
    here.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in moved_project.PLACES:
            connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" (id INTEGER)')
            connection.execute(f'ALTER TABLE "{table}" ADD COLUMN "{column}" TEXT')
        for place in (
            "file:///a/mlflow/artifacts",
            "file:///a/mlflow/artifacts/1",
            "file:///a/mlflow/artifacts2",
        ):
            connection.execute("INSERT INTO runs (artifact_uri) VALUES (?)", (place,))
    assert moved_project.follow(database, "file:///a/mlflow/artifacts", here)
    with closing(sqlite3.connect(database)) as connection:
        found = [uri for (uri,) in connection.execute("SELECT artifact_uri FROM runs ORDER BY rowid")]
    assert found == [here.as_uri(), f"{here.as_uri()}/1", "file:///a/mlflow/artifacts2"]


def test_a_database_that_cannot_be_written_is_reported(registered: Registered, tmp_path: Path) -> None:
    project = moved(registered, tmp_path)
    (project / "mlflow/mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(RegistryError, match=r"mlflow\.db: the project was moved.*Make mlflow"):
        moved_project.follow(
            project / "mlflow/mlflow.db", "file:///old/mlflow/artifacts", project / "mlflow/artifacts"
        )
