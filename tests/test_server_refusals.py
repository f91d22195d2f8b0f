"""A server is refused, with what to do, where it could not work; nothing of MLflow is started by then."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.runtime.errors import RegistryError
from ricenet.tracking.address import chosen_uri
from ricenet.tracking.server import postgres, postgres_programs
from ricenet.tracking.server.server_folder import ServerFolder, ServerRecord
from ricenet.tracking.server.settings import ServerSettings
from ricenet.tracking.settled import unless_unchanged
from ricenet.tracking.tracking_health import tracking

MLFLOW = Path(__file__).parents[1] / "mlflow"


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RICENET_SERVER_PASSWORD", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def start(folder: Path, *options: str) -> str:
    """What a start that is refused says: one line, no traceback."""
    outcome = CliRunner().invoke(app, ["tracking", "start", "--folder", str(folder), *options])
    assert outcome.exit_code == 1
    assert "Traceback" not in outcome.output
    said = [line for line in outcome.output.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    return outcome.output


def made(folder: Path, database: str = "sqlite") -> ServerFolder:
    server = ServerFolder.at(folder)
    server.make_secrets()
    server.make(ServerRecord.model_validate({"database": database}))
    return server


def with_revision(folder: Path, table: str, revision: str, name: str = "mlflow") -> None:
    with closing(sqlite3.connect(made(folder).sqlite(name))) as database, database:
        database.execute(f"CREATE TABLE {table} (version_num TEXT)")
        database.execute(f"INSERT INTO {table} VALUES (?)", (revision,))


def later_runs(folder: Path) -> None:
    with_revision(folder, "alembic_version", "ffffffffffff")


def later_users(folder: Path) -> None:
    with_revision(folder, "alembic_version_auth", "ffffffffffff", "mlflow_users")


def earlier_runs(folder: Path) -> None:
    # MLflow 2.20's
    with_revision(folder, "alembic_version", "0584bdc529eb")


def no_database(folder: Path) -> None:
    made(folder).sqlite("mlflow").write_bytes(b"not a database, though long enough to be read as one" * 20)


def later_ricenet(folder: Path) -> None:
    folder.mkdir()
    (folder / "server.json").write_text(json.dumps({"format": 99, "database": "what comes"}))


def torn_record(folder: Path) -> None:
    folder.mkdir()
    (folder / "server.json").write_text('{"format": 1, "data')


def others_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "holiday.jpg").write_text("of somebody")


def a_file(folder: Path) -> None:
    folder.write_text("no folder")


REFUSED: list[tuple[Callable[[Path], Any], tuple[str, ...], str]] = [
    (later_runs, (), "the server's database mlflow was made by a later MLflow"),
    (later_users, (), "the server's database mlflow_users was made by a later MLflow"),
    (earlier_runs, (), "by an earlier MLflow. Back it up (`ricenet tracking backup`), then start once with"),
    (no_database, (), "the server's database mlflow cannot be read: file is not a database"),
    (later_ricenet, (), "server.json is of format 99, this ricenet reads up to 1"),
    (torn_record, (), "server.json in server is no record of a server"),
    (others_files, (), "holds other files (holiday.jpg) and no server.json"),
    (a_file, (), "Name a place that exists and is yours to use"),
    (made, ("--database", "postgresql"), "--database postgresql: the server in server was made with sqlite"),
    (made, ("--artifacts", "s3://bucket"), "the server in server was made with its folder"),
    (made, (), "neither RICENET_SERVER_PASSWORD nor MLFLOW_TRACKING_PASSWORD is set"),
    (made, ("--artifacts", "s3://key:secret@bucket"), "--artifacts: String should match pattern"),
    (made, ("--allowed-host", "a.example.org", "--allowed-host", "b example"), "--allowed-host"),
    (made, ("--permission", "ALL"), "--permission"),
    (made, ("--host", "203.0.113.7"), "on 203.0.113.7 cannot be used: Cannot assign requested address"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "options", "expected"), REFUSED, ids=[f"{m.__name__} {o[0] if o else ''}" for m, o, _ in REFUSED]
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, make: Callable[[Path], Any], options: tuple[str, ...], expected: str
) -> None:
    make(tmp_path / "server")
    said = start(tmp_path / "server", *options)
    assert expected in said
    assert "secret" not in said


def test_a_port_that_is_in_use_is_named(tmp_path: Path, taken: int) -> None:
    assert f"port {taken} on 127.0.0.1 cannot be used: Address already in use" in start(
        tmp_path / "server", "--port", str(taken)
    )
    assert not (tmp_path / "server").exists()


def test_a_short_password_is_refused_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RICENET_SERVER_PASSWORD", "hunter2hunt")
    said = start(tmp_path / "server", "--database", "sqlite")
    assert "RICENET_SERVER_PASSWORD holds 11 characters; expected at least 12" in said
    assert "hunter2" not in said


def test_one_command_at_a_time_has_a_folder(tmp_path: Path) -> None:
    from ricenet.tracking.server.start import alone

    with alone(made(tmp_path / "server")):
        assert "in use by another `ricenet tracking` command" in start(tmp_path / "server")


def test_postgresql_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_programs.shutil, "which", lambda _: None)
    monkeypatch.setattr(postgres_programs, "INSTALLED", tmp_path / "nowhere")
    asked = start(tmp_path / "new", "--database", "postgresql")
    assert "PostgreSQL is not installed" in asked
    assert "apt install postgresql" in asked
    made(tmp_path / "old", "postgresql")
    assert "PostgreSQL is not installed" in start(tmp_path / "old")
    # a new one goes to sqlite then, and says so, before it misses the password
    assert "PostgreSQL is not installed, so sqlite keeps the runs" in start(tmp_path / "other")


def test_a_cluster_of_another_postgresql_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "installed", lambda: {15: Path("/usr/lib/postgresql/15/bin")})
    folder = made(tmp_path / "server", "postgresql")
    (folder.cluster / "data").mkdir(parents=True)
    (folder.cluster / "data/PG_VERSION").write_text("12\n")
    assert "PostgreSQL 12 made the server's database, but 15 is installed" in start(tmp_path / "server")


def test_secrets_are_their_owners_alone_whoever_may_read_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RICENET_UMASK", "022")
    folder = made(tmp_path / "server")
    before = [path.read_text() for path in (folder.secret_key, folder.password_file)]
    assert all(len(secret) > 40 for secret in before)
    for path in (folder.secret_key, folder.password_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folder.make_secrets()
    assert [path.read_text() for path in (folder.secret_key, folder.password_file)] == before


def test_an_allowed_name_stands_for_any_port_and_for_a_page_with_tls() -> None:
    assert ServerSettings().hosts_and_origins() == ([], [])
    hosts, origins = ServerSettings(allowed_hosts=("mlflow.example.org", "10.0.0.1:5000")).hosts_and_origins()
    assert hosts == [
        "mlflow.example.org", "mlflow.example.org:*", "10.0.0.1:5000",
        "localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*",
    ]  # fmt: skip
    assert "https://mlflow.example.org" in origins
    assert not any("localhost" in origin for origin in origins)


# which store counts


def test_the_variable_names_the_store_where_params_do_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert chosen_uri(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000/")
    assert chosen_uri(None) == "http://server:5000/"
    assert chosen_uri("http://server:5000") == "http://server:5000"
    assert not caplog.records
    with caplog.at_level("WARNING", "ricenet"):
        assert chosen_uri("http://another:5000") == "http://another:5000"
        assert chosen_uri("http://another:5000") == "http://another:5000"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "MLflow: tracking.uri http://another:5000 of params.yaml counts; "
        "MLFLOW_TRACKING_URI names another store"
    )


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mlruns", "MLFLOW_TRACKING_URI: an address without a scheme"),
        ("http://ann:secret@server", "MLFLOW_TRACKING_URI http://***@server holds a user name or password"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, uri: str, expected: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RegistryError) as caught:
        chosen_uri(None)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_by_the_variable_is_asked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def answer() -> int:
        asked.append("once")
        return len(asked)

    assert [unless_unchanged("it", None, [], answer) for _ in range(3)] == [1, 1, 1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert [unless_unchanged("it", None, [], answer) for _ in range(2)] == [2, 3]


def test_the_doctor_says_which_store_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    by_variable = tracking(tmp_path, None, "rice-net")
    assert by_variable.text == "http://127.0.0.1:9 cannot be reached (URLError); by MLFLOW_TRACKING_URI"
    by_params = tracking(tmp_path, "sqlite:///runs.db", "rice-net").text
    assert by_params.endswith("tracking.uri counts, MLFLOW_TRACKING_URI names another")


# docker compose


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((MLFLOW / "compose.yaml").read_text())
    return content


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    from importlib.metadata import version

    images = {name: service["image"] for name, service in compose["services"].items()}
    tags = {name: image.rpartition(":")[2] for name, image in images.items()}
    assert all(tag[0].isdigit() and "." in tag for tag in tags.values()), images
    assert tags["mlflow"] == version("mlflow")
    docker = (MLFLOW / "Dockerfile").read_text()
    assert "FROM python:3.11." in docker
    assert "--constraint /tmp/requirements.lock" in docker
    ignored = (MLFLOW / "Dockerfile.dockerignore").read_text().splitlines()
    # nothing of patients reaches the engine: all is left out but what is named
    assert "*" in ignored


def test_no_secret_is_in_the_file_and_every_variable_is_required(compose: dict[str, Any]) -> None:
    import re

    text = (MLFLOW / "compose.yaml").read_text()
    variables = re.findall(r"\$\{(\w+)(:\?[^}]+)?\}", text)
    assert variables
    assert all(message for _, message in variables)
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "SECRET", "KEY")):
                assert str(value).startswith("${"), name
    template = dict(
        line.split("=", 1)
        for line in (MLFLOW / "compose.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert template.keys() == {name for name, _ in variables}
    hosts = {"MLFLOW_ALLOWED_HOSTS", "MLFLOW_ALLOWED_ORIGINS"}
    assert {name for name, value in template.items() if value} == hosts


def test_it_is_reached_on_this_computer_alone_and_its_health_is_watched(compose: dict[str, Any]) -> None:
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:5000:5000"]
    assert {name for name, service in services.items() if "healthcheck" in service} == {
        "mlflow", "postgres", "storage",
    }  # fmt: skip
    waited = {(n, on) for n, service in services.items() for on in service.get("depends_on", {})}
    assert waited == {("bucket", "storage"), ("mlflow", "postgres"), ("mlflow", "bucket")}
    volumes = {v.split(":")[0] for service in services.values() for v in service.get("volumes", [])}
    assert {"database", "files"} == {v for v in volumes if not v.startswith("./")} == set(compose["volumes"])
    mounted = [v for v in volumes if v.startswith("./")]
    assert all((MLFLOW / name).is_file() for name in mounted)
