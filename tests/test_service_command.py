"""`ricenet serve` itself: errors before it serves, and a real process from its start to its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_cases import CHILD, PATIENT, SECRET, Client, parts, until
from tracked_project import PREFIX, make_project, store_of
from tracking_servers import free_port
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.config.params import read_params
from ricenet.service import server
from ricenet.service.cases import FOLDER
from ricenet.service.settings import TOKEN
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import FORMAT, make_champion, promotable_version
from ricenet.training.ensemble_record import read_record

SMALL = "post_op+dose"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one registered set, and nothing promoted."""
    from small_ensembles import write_untrained
    from tracked_project import write_gate

    project = make_project(tmp_path_factory.mktemp("registered") / "project")
    folder = project / "models/ensembles" / SMALL
    preprocessing = read_params(project / "params.yaml").preprocessing.model_dump()
    write_untrained(folder, read_record(folder).model_copy(update={"preprocessing": preprocessing}), seed=7)
    write_gate(project, SMALL)
    register_ensembles(project, store_of(project), PREFIX)
    return project


@pytest.fixture
def project(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(registered)
    monkeypatch.setenv(TOKEN, SECRET)
    return registered


def serve(*options: str) -> Result:
    return CliRunner().invoke(app, ["serve", *options])


def refused(*options: str) -> str:
    outcome = serve(*options)
    assert (outcome.exit_code, outcome.stdout) == (1, ""), outcome.output
    assert "Traceback" not in outcome.stderr and SECRET not in outcome.stderr
    return outcome.stderr


def test_without_a_token_nothing_starts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN)
    assert refused().startswith(f"error: {TOKEN} is not set")


def test_without_a_champion_nothing_starts(project: Path) -> None:
    assert "error: no champion: promote a version" in refused()


def test_a_registry_that_does_not_answer_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    other = project.parent / "away"
    other.mkdir()
    address = f"http://127.0.0.1:{free_port()}"
    (other / "params.yaml").write_text(text.replace("  uri: null", f"  uri: {address}"), encoding="utf-8")
    assert read_params(other / "params.yaml").tracking.uri == address
    monkeypatch.chdir(other)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert address in refused()


def test_a_model_of_an_unknown_format_is_told(project: Path) -> None:
    store, name = store_of(project), f"{PREFIX}-{SMALL}"
    tag = store.client().get_model_version(name, "1").tags[FORMAT]
    store.client().set_model_version_tag(name, "1", FORMAT, "0")
    try:
        assert "was made by an earlier version of ricenet" in refused("--model", f"models:/{name}/1")
    finally:
        store.client().set_model_version_tag(name, "1", FORMAT, tag)


def test_an_address_that_is_taken_is_told(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refused("--port", port, "--model", f"models:/{PREFIX}-{SMALL}/1")
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in told


def test_an_address_that_others_reach_is_noted_and_further_host_names_are_taken(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(server, "run_service", lambda *values: given.append(values))
    model = ("--model", f"models:/{PREFIX}-{SMALL}/1")
    assert "note: others reach" not in serve(*model).stderr
    monkeypatch.setenv(TOKEN, SECRET)
    outcome = serve("--host", "0.0.0.0", "--allowed-host", "rice.example", "--keep-minutes", "2", *model)
    assert "others reach this address" in outcome.stderr and "TLS" in outcome.stderr
    settings = given[1][2]
    assert settings.hosts == ("127.0.0.1", "localhost", "rice.example") and settings.kept_seconds == 120
    assert [values[4] for values in given] == ["127.0.0.1", "0.0.0.0"]
    assert serve("--allowed-host", "*").exit_code == 2


@pytest.fixture(scope="module")
def process(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A real service of the champion; its log is beside the project. args: of it, its last is the port."""
    store = store_of(registered)
    make_champion(store, promotable_version(store, PREFIX, SMALL))
    port = free_port()
    environment = os.environ | {TOKEN: SECRET, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from ricenet.cli import app; app()", "serve", "--port", str(port)]
    with (registered.parent / "log").open("wb") as log:
        found = subprocess.Popen(command, cwd=registered, env=environment, stderr=log, stdout=log)
    yield found
    found.kill()
    found.wait()


def test_a_real_service_starts_refuses_a_case_and_ends_without_a_trace(
    process: subprocess.Popen[bytes], registered: Path
) -> None:
    log, port = registered.parent / "log", str(process.args).rpartition("'--port', '")[2].rstrip("']")
    end = time.monotonic() + 120
    while "ready: http://127.0.0.1" not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    client = Client(f"http://127.0.0.1:{port}")
    sent = parts(dict.fromkeys(("post_op", "event", "dose"), b"no head at all"))
    case = client.post(f"/cases?name={PATIENT}", files=sent).json()["id"]
    answer = until(client, case, ("refused",))
    assert [problem.partition(" ")[0] for problem in answer["problems"]] == ["post_op", "event", "dose"]
    assert (
        client.get("/model").json()["digest"] == read_record(registered / "models/ensembles" / SMALL).digest
    )
    (folder,) = (registered / FOLDER).iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not list((registered / FOLDER).iterdir())
    told = log.read_text()
    assert "POST /cases 202" in told and case in told and "every case is removed" in told
    assert PATIENT not in told and CHILD not in told and SECRET not in told and "Traceback" not in told
