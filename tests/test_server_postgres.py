"""The server on PostgreSQL: made, used, backed up while it runs, stopped as a whole, restored elsewhere."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest
from department_servers import ADMIN, PASSWORD, DepartmentServer, contents
from tracked_project import PREFIX, make_project

from ricenet.runtime.files import file_digest
from ricenet.tracking.connection import open_store
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import make_champion, promotable_version
from ricenet.tracking.server import postgres
from ricenet.tracking.server.backup import back_up
from ricenet.tracking.server.postgres import find_cluster
from ricenet.tracking.server.restore import restore
from ricenet.tracking.server.schema import has_admin, schema_of
from ricenet.tracking.server.server_folder import ServerFolder

INSTALLED = bool(shutil.which("initdb")) or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed"),
    pytest.mark.slow,
]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path that PostgreSQL's user can enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="ricenet-pg-"))
    folder.chmod(0o711)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    yield folder
    shutil.rmtree(folder)


def test_a_server_on_postgresql_from_its_first_start_to_its_restoration(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = DepartmentServer(place / "server", "--database", "postgresql")
    folder = ServerFolder.at(server.folder)
    try:
        project = make_project(place / "project")
        store = open_store(project, server.uri, "rice-net")
        register_ensembles(project, store, PREFIX)
        make_champion(store, promotable_version(store, PREFIX, "dose"))
        before = contents(server.uri, ["rice-net"])
        manifest = back_up(folder, place / "backup")

        secret = folder.password_file.read_text().strip().rpartition(":")[2]
        root = psutil.Process(server.process.pid)
        shown = " ".join(word for one in root.children(recursive=True) for word in one.cmdline())
        assert PASSWORD not in shown + server.said
        assert secret not in shown + server.said
        assert stat.S_IMODE(folder.cluster.stat().st_mode) == 0o700
        with closing(connected(folder)) as connection:
            asked = "SELECT name, setting FROM pg_settings"
            settings = dict(connection.execute(asked).fetchall())
            assert settings["listen_addresses"] == ""
            assert (settings["fsync"], settings["data_checksums"]) == ("on", "on")
            (kept,) = connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'mlflow'"
            ).fetchone()
            assert kept.startswith("SCRAM-SHA-256$")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=str(folder.cluster), user="mlflow", dbname="mlflow", password="another")
    finally:
        server.stop()

    assert server.process.returncode == 0
    assert server.said.endswith("stopped\n")
    cluster = find_cluster(folder.cluster, folder.password_file)
    assert cluster is not None
    assert not cluster.is_running()
    assert "database system is shut down" in (folder.cluster / "postgresql.log").read_text()

    assert manifest.database == "postgresql"
    restored = ServerFolder.at(place / "again" / "server")
    restored.path.parent.mkdir(mode=0o711)
    restored.path.parent.chmod(0o711)
    restore(place / "backup", restored, replace=False)
    again = find_cluster(restored.cluster, restored.password_file)
    assert again is not None
    monkeypatch.setenv("PGPASSFILE", str(restored.password_file))
    with again.running():
        # the files' addresses are the server's, so that only the databases are asked here
        assert contents(restored.uri("postgresql", "mlflow"), ["rice-net"]) == before
        assert has_admin(restored, "postgresql")
        assert schema_of(restored, "postgresql", "mlflow") == "current"
        assert schema_of(restored, "postgresql", "mlflow_users") == "current"
    assert not again.is_running()
    assert before["runs"]
    assert before["models"][f"{PREFIX}-dose"]["aliases"] == {"champion": "1"}
    assert digests_below(restored.artifacts) == digests_below(folder.artifacts) != {}


def connected(folder: ServerFolder) -> psycopg.Connection:
    return psycopg.connect(
        host=str(folder.cluster), user="mlflow", dbname="mlflow", passfile=str(folder.password_file)
    )


def digests_below(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lets another user run PostgreSQL")
def test_root_is_told_where_postgresqls_user_cannot_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = ServerFolder.at(closed / "server")
    folder.make_secrets()
    cluster = find_cluster(folder.cluster, folder.password_file)
    assert cluster is not None
    with pytest.raises(
        postgres.ServerError, match="does not run as root, and the user postgres, who runs it"
    ):
        cluster.make()
    assert not folder.cluster.exists()


def test_a_path_that_is_too_long_for_a_socket_is_refused(place: Path) -> None:
    folder = ServerFolder.at(place / ("x" * 90) / "server")
    cluster = find_cluster(folder.cluster, folder.password_file)
    assert cluster is not None
    with pytest.raises(postgres.ServerError, match="too long a path for PostgreSQL's socket"):
        cluster.start()
