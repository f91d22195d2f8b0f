"""A running server: who is let in, its backup, its restoration, and what a project brings to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from department_servers import ADMIN, PASSWORD, DepartmentServer, contents
from registered_project import Registered, promote
from tracked_project import PREFIX, make_project, store_of
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.runtime.errors import RegistryError, ServerError
from ricenet.runtime.files import file_digest
from ricenet.runtime.store import STAGE_LOCK, STORE
from ricenet.tracking import connection
from ricenet.tracking.connection import open_store
from ricenet.tracking.migration import copied_models, migrate
from ricenet.tracking.migration.migrate import Migrated
from ricenet.tracking.publish import publish
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import make_champion, promotable_version
from ricenet.tracking.server import backup
from ricenet.tracking.server.backup import back_up
from ricenet.tracking.server.restore import restore
from ricenet.tracking.server.server_folder import ServerFolder

COUNTED = ("runs", "points", "files", "bytes", "versions", "aliases")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DepartmentServer]:
    """With sqlite, which starts faster; PostgreSQL has a test of its own."""
    server = DepartmentServer(tmp_path_factory.mktemp("department") / "server", "--database", "sqlite")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("RICENET_SERVER_PASSWORD", raising=False)


@pytest.fixture
def moving(registered: Registered) -> Iterator[Registered]:
    """The project, with a champion."""
    registered.move_alias(1)
    yield registered


def track_at(project: Path, uri: str) -> None:
    params = project / "params.yaml"
    text = params.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("  uri: ")]
    params.write_text(text.replace(line, f"  uri: {uri}"))


# who is let in


def test_no_secret_is_seen_in_the_processes_or_the_log(server: DepartmentServer) -> None:
    root = psutil.Process(server.process.pid)
    shown = " ".join(word for one in [root, *root.children(recursive=True)] for word in one.cmdline())
    assert "basic-auth" in shown
    folder = ServerFolder.at(server.folder)
    for secret in (PASSWORD, folder.secret_key.read_text().strip()):
        assert secret not in shown
        assert secret not in server.said
        assert secret not in folder.sign_in.read_text()
    for path in (folder.secret_key, folder.sign_in, folder.sqlite("mlflow"), folder.sqlite("mlflow_users")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


def test_a_wrong_password_is_one_clear_line(
    registered: Registered, server: DepartmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    track_at(registered.project, server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    outcome = promote("dose")
    track_at(registered.project, "null")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        f"error: the MLflow store {server.uri} refuses the user name or password (401). Set the environment "
        "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of a user of the server\n"
    )


def test_a_server_that_is_away_is_one_clear_line(registered: Registered) -> None:
    track_at(registered.project, "http://127.0.0.1:9")
    outcome = promote("dose")
    track_at(registered.project, "null")
    assert outcome.exit_code == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("error: the MLflow store http://127.0.0.1:9 cannot be used: ")
    assert "Connection refused" in line


def test_a_name_that_the_server_does_not_allow_is_told_how_it_may(
    tmp_path: Path, server: DepartmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: known("127.0.0.1" if host == "mlflow.test" else host, *rest, **more),
    )
    with pytest.raises(RegistryError, match=r"403, invalid host header.*--allowed-host NAME"):
        open_store(tmp_path, f"http://mlflow.test:{server.port}", "rice-net")


def test_a_reader_is_told_that_writing_is_not_permitted(
    tmp_path: Path, server: DepartmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path, server.uri, "the administrator's")
    server.ask("users/create", {"username": "reader", "password": "another-long-one"})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another-long-one")
    project = make_project(tmp_path / "project")
    store = open_store(project, server.uri, "the administrator's")
    with pytest.raises(RegistryError, match=r"does not permit that to this user \(403\)"):
        publish(project, store)


def test_the_environment_chooses_the_server_where_params_do_not(
    tmp_path: Path, server: DepartmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert open_store(tmp_path, None, "by the variable").uri == server.uri
    assert not (tmp_path / "mlflow" / "mlflow.db").exists()


def test_mlflow_leaves_no_address_behind_in_the_environment() -> None:
    import mlflow

    with connection.mlflow_at("sqlite:///elsewhere.db"):
        assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    assert "MLFLOW_TRACKING_URI" not in os.environ


# from a project's own store to the server


def test_a_migration_is_counted_before_it_is_done(moving: Registered, server: DepartmentServer) -> None:
    before = contents(server.uri, ["rice-net"])
    counted = migrate.migrate(moving.project, server.uri, "rice-net", dry_run=True)
    assert contents(server.uri, ["rice-net"]) == before
    # dose twice and post_op+dose, each a run with two folds
    assert (counted.runs, counted.versions, counted.aliases) == (9, 3, 1)
    track_at(moving.project, server.uri)
    outcome = CliRunner().invoke(app, ["tracking", "migrate", "--dry-run"])
    track_at(moving.project, "null")
    assert outcome.exit_code == 0
    assert f"would be copied: 9 run(s) with {counted.points} value(s)" in outcome.stdout


def test_a_killed_migration_goes_on_and_then_all_is_there_once(
    moving: Registered, server: DepartmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = migrate.migrate(moving.project, server.uri, "rice-net", dry_run=True)
    for where in (
        # in the middle of a run, of a model's files, of its tags, of a version, before its alias
        (migrate, "fill", 3),
        (migrate, "finish", 2),
        (copied_models, "_describe_anew", 2),
        (copied_models, "_source", 2),
    ):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(*where[:2], killed_at(getattr(*where[:2]), where[2]))
            migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)

    here = contents(moving.store.uri, ["rice-net"])
    there = contents(server.uri, ["rice-net"])
    assert there == here
    assert len(here["runs"]) == 9
    again = migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    assert [getattr(again, name) for name in COUNTED] == [0] * 6
    assert (again.runs_there, again.versions_there) == (counted.runs, counted.versions)


def killed_at(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The function, which does its work and then dies at one of its calls."""
    calls = 0

    def dies(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **more)
        if calls == call:
            raise KeyboardInterrupt
        return result

    return dies


def test_files_arrive_as_they_were(moving: Registered, server: DepartmentServer, tmp_path: Path) -> None:
    import mlflow

    migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    digests = []
    for uri in (moving.store.uri, server.uri):
        with connection.mlflow_at(uri):
            client = mlflow.MlflowClient()
            experiment = client.get_experiment_by_name("rice-net")
            assert experiment is not None
            runs = client.search_runs([experiment.experiment_id], "tags.`ricenet.kind` = 'fold'")
            folder = tmp_path / str(len(digests))
            for run in runs:
                key = run.data.tags["ricenet.key"]
                mlflow.artifacts.download_artifacts(
                    run_id=run.info.run_id, dst_path=str(folder / key), tracking_uri=uri
                )
            mlflow.artifacts.download_artifacts(
                f"models:/{PREFIX}-dose@champion", dst_path=str(folder / "model")
            )
        found = {p.relative_to(folder).as_posix(): file_digest(p) for p in folder.rglob("*") if p.is_file()}
        # both name the model: the first as it was logged, the second is MLflow's note of a download
        own = ("MLmodel", "registered_model_meta")
        digests.append({name: digest for name, digest in found.items() if not name.endswith(own)})
        (described,) = folder.rglob("MLmodel")
        known = {model.model_id for model in client.search_logged_models([experiment.experiment_id])}
        # the model's own description names itself, not what it was copied from
        assert any(f"model_id: {model_id}" in described.read_text() for model_id in known)
    assert digests[0] == digests[1]
    assert any(name.endswith("fold-0.safetensors") for name in digests[0])


def test_after_a_migration_there_is_nothing_to_publish(moving: Registered, server: DepartmentServer) -> None:
    migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    before = contents(server.uri, ["rice-net"])
    store = open_store(moving.project, server.uri, "rice-net")
    assert publish(moving.project, store).created == ()
    register_ensembles(moving.project, store, PREFIX)
    assert contents(server.uri, ["rice-net"]) == before


def test_what_was_published_there_already_is_not_doubled(tmp_path: Path, server: DepartmentServer) -> None:
    project, name, prefix = make_project(tmp_path / "project"), "published before", "published"
    store_of(project)
    local = open_store(project, None, name)
    for store in (local, open_store(project, server.uri, name)):
        register_ensembles(project, store, prefix)
    make_champion(local, promotable_version(local, prefix, "dose"))

    done = migrate.migrate(project, server.uri, name, dry_run=False)
    # two sets, each a run with two folds
    assert done == Migrated(aliases=1, runs_there=6, versions_there=2)
    there = contents(server.uri, [name])
    assert len(there["runs"]) == 6
    assert len(there["models"][f"{prefix}-dose"]["versions"]) == 1
    assert there["models"][f"{prefix}-dose"]["aliases"] == {"champion": "1"}


def test_an_alias_that_is_set_there_stays(
    moving: Registered, server: DepartmentServer, caplog: pytest.LogCaptureFixture
) -> None:
    migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    store = open_store(moving.project, server.uri, "rice-net")
    make_champion(store, promotable_version(store, PREFIX, "dose", 2))
    with caplog.at_level("WARNING", "ricenet"):
        migrate.migrate(moving.project, server.uri, "rice-net", dry_run=False)
    assert "rice-net-dose: the alias champion stays at version 2 on the server" in caplog.text
    assert contents(server.uri, ["rice-net"])["models"]["rice-net-dose"]["aliases"] == {"champion": "2"}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [(None, "no server is named to migrate to"), ("sqlite:///mlflow/mlflow.db", "no server is named")],
)
def test_a_migration_needs_another_store(registered: Registered, uri: str | None, expected: str) -> None:
    with pytest.raises(RegistryError, match=expected):
        migrate.migrate(registered.project, uri, "rice-net", dry_run=False)


def test_a_migration_waits_for_no_stage_and_finds_what_is_lost(
    tmp_path: Path, registered: Registered, server: DepartmentServer
) -> None:
    from ricenet.runtime.files import locked

    with pytest.raises(RegistryError, match=r"mlflow/mlflow.db is not there"):
        migrate.migrate(tmp_path, server.uri, "rice-net", dry_run=True)
    with (
        locked(registered.project / STORE / STAGE_LOCK, shared=True),
        pytest.raises(RegistryError, match="a stage runs and may log"),
    ):
        migrate.migrate(registered.project, server.uri, "rice-net", dry_run=True)
    copy = tmp_path / "copy"
    make_project(copy)
    store_of(copy)
    store = open_store(copy, None, "lost")
    publish(copy, store)
    run = store.client().search_runs([store.experiment_id], "tags.`ricenet.kind` = 'fold'")[0]
    shutil.rmtree(str(run.info.artifact_uri).removeprefix("file://"))
    with pytest.raises(RegistryError, match=r"the files of run .* are not in mlflow/artifacts"):
        migrate.migrate(copy, server.uri, "lost", dry_run=True)


# backup and restoration


@pytest.fixture(scope="module")
def taken(server: DepartmentServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that was taken while the server ran, of whatever the tests before left in it."""
    server.ask("users/create", {"username": "kept", "password": "a-third-long-one"})
    target = tmp_path_factory.mktemp("backups") / "monday"
    outcome = CliRunner().invoke(app, ["tracking", "backup", str(target), "--folder", str(server.folder)])
    assert outcome.exit_code == 0, outcome.output
    return target


def test_what_is_restored_is_what_was_backed_up(
    server: DepartmentServer, taken: Path, tmp_path: Path
) -> None:
    names = ["rice-net", "published before", "the administrator's"]
    folder = ServerFolder.at(tmp_path / "wiped" / "server")
    outcome = CliRunner().invoke(app, ["tracking", "restore", str(taken), "--folder", str(folder.path)])
    assert outcome.exit_code == 0, outcome.output

    restored = contents(folder.uri("sqlite", "mlflow"), names)
    assert restored == contents(server.uri, names)
    assert restored["runs"]
    assert digests_below(folder.artifacts) == digests_below(server.folder / "artifacts")
    assert {"admin", "kept"} <= usernames(folder)
    for name in ("mlflow", "mlflow_users"):
        assert stat.S_IMODE(folder.sqlite(name).stat().st_mode) == 0o600
    # secrets are no part of a backup
    assert folder.secret_key.read_text() != (server.folder / "secret_key").read_text()
    assert {p.name for p in taken.iterdir()} == {"manifest.json", "mlflow.db", "mlflow_users.db", "artifacts"}


def digests_below(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in folder.rglob("*") if p.is_file()}


def usernames(folder: ServerFolder) -> set[str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder.sqlite("mlflow_users"))) as database:
        return {name for (name,) in database.execute("SELECT username FROM users")}


def cut(backup: Path) -> None:
    content = (backup / "mlflow.db").read_bytes()
    (backup / "mlflow.db").write_bytes(content[: len(content) // 2])


def change(backup: Path) -> None:
    content = bytearray((backup / "mlflow.db").read_bytes())
    content[-1] ^= 1
    (backup / "mlflow.db").write_bytes(content)


def lose(backup: Path) -> None:
    (backup / "mlflow_users.db").unlink()


def forget(backup: Path) -> None:
    (backup / "manifest.json").unlink()


def tear(backup: Path) -> None:
    text = (backup / "manifest.json").read_text()
    (backup / "manifest.json").write_text(text[: len(text) // 2])


def edit(**changes: object) -> Callable[[Path], None]:
    def edited(backup: Path) -> None:
        content = json.loads((backup / "manifest.json").read_text())
        (backup / "manifest.json").write_text(json.dumps(content | changes))

    return edited


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut, r"spoilt: mlflow.db has \d+ bytes, expected \d+. Copy the backup again"),
        (change, r"mlflow.db has another content than was backed up \(SHA-256\)"),
        (lose, r"mlflow_users.db is missing"),
        (forget, r"spoilt holds no manifest.json: it is no backup"),
        (tear, r"manifest.json of spoilt is damaged"),
        (edit(format=2), r"the backup spoilt is of format 2, this ricenet reads up to 1"),
        (edit(revisions={"mlflow": "f" * 12}), r"was made by MLflow .*, whose tables this one does not know"),
        (edit(files={"../key": {"bytes": 1, "sha256": ""}}), r"names a file outside it"),
    ],
)
def test_a_spoilt_backup_is_refused_and_nothing_is_made(
    taken: Path, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    copy = tmp_path / "spoilt"
    shutil.copytree(taken, copy, ignore=shutil.ignore_patterns("artifacts"))
    content = json.loads((copy / "manifest.json").read_text())
    content["files"] = {k: v for k, v in content["files"].items() if not k.startswith("artifacts/")}
    (copy / "manifest.json").write_text(json.dumps(content))
    spoil(copy)
    with pytest.raises(ServerError, match=expected):
        restore(copy, ServerFolder.at(tmp_path / "server"), replace=False)
    assert not (tmp_path / "server").exists()


def test_a_restoration_replaces_nothing_unless_told(taken: Path, tmp_path: Path) -> None:
    folder = ServerFolder.at(tmp_path / "server")
    folder.path.mkdir()
    (folder.path / "precious").write_text("not to be lost")
    with pytest.raises(ServerError, match="server is not empty"):
        restore(taken, folder, replace=False)
    assert (folder.path / "precious").exists()
    restore(taken, folder, replace=True)
    assert not (folder.path / "precious").exists()
    assert folder.read() is not None


def test_a_running_server_is_not_restored_over(server: DepartmentServer, taken: Path) -> None:
    with pytest.raises(ServerError, match="in use by another `ricenet tracking` command"):
        restore(taken, ServerFolder.at(server.folder), replace=True)


def test_a_backup_overwrites_none_and_needs_a_server_and_room(
    server: DepartmentServer, taken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ServerFolder.at(server.folder)
    with pytest.raises(ServerError, match="monday exists already"):
        back_up(folder, taken)
    with pytest.raises(ServerError, match="there is no server in nowhere"):
        back_up(ServerFolder.at(tmp_path / "nowhere"), tmp_path / "backup")
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    for full in (
        lambda: back_up(folder, tmp_path / "tuesday"),
        lambda: restore(taken, ServerFolder.at(tmp_path / "server"), replace=False),
    ):
        with pytest.raises(ServerError, match=r"the disk is full: \w+ needs .* 1 bytes are free"):
            full()
    assert list(tmp_path.iterdir()) == []


def test_a_backup_that_fails_leaves_nothing(
    server: DepartmentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.shutil, "copyfile", fails)
    with pytest.raises(OSError, match="the disk is full"):
        back_up(ServerFolder.at(server.folder), tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []
