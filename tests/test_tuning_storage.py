"""The searches' database: whatever is wrong with it is reported with what to do, and without a traceback."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from small_searches import SERIAL, Scores, small_search, trials_of

from ricenet.runtime.errors import TrainingError
from ricenet.training.tuning.searching import search_settings
from ricenet.training.tuning.storage import database_errors, open_storage


def refusal(address: str) -> str:
    with pytest.raises(TrainingError) as refused:
        open_storage(address, 60)
    return str(refused.value)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    execute(path, "CREATE TABLE experiments (name TEXT)")
    before = path.read_bytes()
    assert (
        "mlflow.db is another program's, with the tables experiments; expected none or those of Optuna. "
        "Name a database for the searches alone in tuning.storage"
    ) in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuning.db").write_text("no database at all" * 100)
    reported = refusal(f"sqlite:///{tmp_path / 'tuning.db'}")
    assert "tuning.db cannot be used: file is not a database. Trials that have ended are kept" in reported


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    assert "cannot be used: unable to open database file" in refusal(f"sqlite:///{tmp_path}")


def test_a_database_of_another_version_of_optuna_is_refused(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'tuning.db'}"
    sqlalchemy.create_engine(address)
    open_storage(address, 60)
    execute(tmp_path / "tuning.db", "UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    reported = refusal(address.replace("tuning.db", "./tuning.db"))
    assert "was made by another version of Optuna. Move it away, or run `optuna storage upgrade" in reported


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[None]:
    """Whatever makes a sqlite file larger gets a full disk."""

    def limit(connection: sqlite3.Connection, _: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", limit)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)


def test_a_full_disk_stops_the_search_and_is_reported(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    scores = Scores(tmp_path / "calls.txt")
    search = small_search(tmp_path, trials=2)
    search_settings([search], SERIAL, score_fold=scores)
    request.getfixturevalue("small_disk")
    # another path to the same file, since the connections to this one are open already
    again = replace(search, trials=400, storage=search.storage.replace("tuning.db", "./tuning.db"))
    with pytest.raises(
        TrainingError, match=r"cannot be used: database or disk is full. .*make room on its disk"
    ):
        search_settings([again], SERIAL, score_fold=scores)
    assert len(trials_of(search)) >= 2


def test_a_missing_driver_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    reported = refusal("postgresql://db.example.org/tuning")
    assert "postgresql://db.example.org/tuning, and the driver psycopg is not installed" in reported
    assert "pip install 'ricenet[postgres]', or set tuning.storage to null" in reported


def test_a_server_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGPASSWORD", "secret")
    reported = refusal("postgresql://127.0.0.1:1/tuning")
    assert "the database postgresql://127.0.0.1:1/tuning cannot be used: connection failed" in reported
    assert "Check that the server is up" in reported and "secret" not in reported


def test_a_heartbeat_that_the_database_misses_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(self: RDBStorage, trial_id: int) -> None:
        raise StorageInternalError("no answer")

    storage = open_storage(f"sqlite:///{tmp_path / 'tuning.db'}", 60)
    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "record_heartbeat", away)
        storage.record_heartbeat(0)
    assert "the database of the searches does not answer: no answer" in caplog.text


def test_errors_of_the_program_are_not_taken_for_the_databases() -> None:
    with pytest.raises(RuntimeError, match="a fault"), database_errors("sqlite:///tuning.db"):
        raise RuntimeError("a fault")
    with pytest.raises(ImportError), database_errors("sqlite:///tuning.db"):
        raise ImportError("a module")
