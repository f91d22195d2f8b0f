"""An MLflow server that is killed and started again: nothing is lost or doubled."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from outcomes import contents, leftovers, tracked
from project_runs import Project, ended
from tally import OTHERS
from tracked_project import empty_database
from tracking_servers import Server, wait_until
from undisturbed import Reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.database.write_bytes(empty_database())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def project(reference: Reference, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project that has to train again, and records that at the server."""
    project = reference.copy(reference.ended, tmp_path_factory.mktemp("served") / "copy")
    shutil.rmtree(project.folder / "work/store/folds")
    project.set({"tracking": {"uri": server.uri}})
    return project


def count(server: Server, of: str) -> int:
    with closing(sqlite3.connect(server.database)) as database:
        return int(database.execute(f"SELECT COUNT(*) FROM {of}").fetchone()[0])


def test_training_goes_on_without_the_server(
    project: Project, server: Server, reference: Reference, record_property: Callable[[str, object], None]
) -> None:
    running = project.start(*project.stage("train"))
    wait_until(lambda: running.poll() is not None or count(server, "metrics") > 0, 120)
    server.kill()
    assert running.poll() is None, ended(running).said
    done = ended(running)
    assert done.code == 0 and "Traceback" not in done.said, done.said[-3000:]
    server.start()
    before = {
        name: digest for name, digest in reference.outcome.contents.items() if "models/ensembles" in name
    }
    now = contents(project.folder)
    assert {name for name, digest in before.items() if now.get(name) != digest} == set()
    record_property(OTHERS, "server killed: train")


@pytest.mark.parametrize("when", ["runs WHERE status = 'FINISHED'", "logged_models", "model_versions"])
def test_registering_can_be_repeated_after_the_server_was_killed(
    project: Project, server: Server, when: str, record_property: Callable[[str, object], None]
) -> None:
    before = count(server, when)
    running = project.start(*project.stage("register"), MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    wait_until(lambda: running.poll() is not None or count(server, when) > before, 120)
    server.kill()
    done = ended(running)
    assert done.code == 1 and "Traceback" not in done.said, done.said[-3000:]
    assert "cannot be used" in done.said and "tracking.uri" in done.said
    server.start()
    record_property(OTHERS, f"server killed: register, {when.split(maxsplit=1)[0]}")


def test_in_the_end_the_server_holds_each_run_and_version_once(
    project: Project, server: Server, reference: Reference
) -> None:
    project.ok(*project.stage("register"))
    found, expected = tracked(project.folder, server.database), reference.outcome.tracked
    for name in ("runs", "versions", "epochs"):
        assert found[name] == expected[name]
    # at a server, models without a version stay for a day
    assert set(found["logged models"]) == set(expected["logged models"])
    assert leftovers(project.folder) == []
