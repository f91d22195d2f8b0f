"""`ricenet ui` starts a page for a database, and none over a server that has its own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tracked_project import store_of
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.tracking import connection
from ricenet.tracking.scores_view import SHARE_KEY, TAG

Started = list[tuple[str, list[str], dict[str, str]]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Programs that would have replaced this one."""
    programs: Started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: programs.append(arguments))
    return programs


def track_at(project: Path, uri: str) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("uri: null", f"uri: {uri}"))


def test_the_page_of_the_local_store_is_started_on_this_computer_only(
    project: Path, started: Started
) -> None:
    store = store_of(project)

    outcome = CliRunner().invoke(app, ["ui", "--port", "5123"])

    assert outcome.exit_code == 0
    assert f"http://127.0.0.1:5123/#/experiments/{store.experiment_id}/runs?" in outcome.stdout
    assert f"&viewStateShareKey={SHARE_KEY} " in outcome.stdout
    assert TAG in store.client().get_experiment(store.experiment_id).tags
    ((program, command, environment),) = started
    assert program == sys.executable
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5123"
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.uri == f"sqlite:///{project}/mlflow/mlflow.db"
    assert not any(store.uri in argument for argument in command)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "https://mlflow.example.org"])
def test_of_a_server_the_address_is_printed(project: Path, started: Started, uri: str) -> None:
    track_at(project, uri)

    outcome = CliRunner().invoke(app, ["ui"])

    assert (outcome.exit_code, outcome.stdout) == (0, f"MLflow UI: {uri}\n")
    assert started == []
    assert not (project / "mlflow").exists()


def test_a_server_address_with_a_password_is_not_printed(project: Path, started: Started) -> None:
    track_at(project, "http://ann:secret@127.0.0.1:9")

    outcome = CliRunner().invoke(app, ["ui"])

    assert outcome.exit_code == 1
    assert "MLFLOW_TRACKING_PASSWORD" in outcome.stderr
    assert "secret" not in outcome.output
    assert started == []


def test_a_port_that_is_taken_is_told_before_anything_starts(project: Path, started: Started) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = CliRunner().invoke(app, ["ui", "--port", str(port)])

    assert outcome.exit_code == 1
    assert f"port {port} on 127.0.0.1 cannot be used: Address already in use" in outcome.stderr
    assert started == [] and outcome.stdout == ""


def test_a_server_that_holds_the_view_opens_on_it(
    project: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    track_at(project, "https://mlflow.example.org/")
    held = SimpleNamespace(experiment_id="12", tags={TAG: "{}"})
    monkeypatch.setattr(connection, "experiment_at", lambda uri, name: held)

    outcome = CliRunner().invoke(app, ["ui"])

    runs = "https://mlflow.example.org/#/experiments/12/runs?workflowType=machine_learning"
    assert outcome.stdout == f"MLflow UI: {runs}&viewStateShareKey={SHARE_KEY}\n"
    held.tags.clear()
    assert "viewStateShareKey" not in CliRunner().invoke(app, ["ui"]).stdout
