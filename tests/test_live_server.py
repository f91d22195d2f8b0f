"""Epochs reach a server that is killed, that loses answers, whose trainings are killed: each once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_training import fold_of, history_of, leave_process, losses, observer_of, steps, train
from mlflow.entities import Run
from small_results import write_fold
from tracked_project import empty_database, make_project
from tracking_servers import LossyProxy, Server, wait_until

from ricenet.tracking import live
from ricenet.tracking.connection import TrackingStore, open_store
from ricenet.tracking.publish import publish

EPOCHS = 60
EVERY_EPOCH = list(range(1, EPOCHS + 1))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.database.write_bytes(empty_database())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(live, "PAUSE_S", 0.05)
    project = make_project(tmp_path / "project")
    write_fold(project, "dose", 0, EPOCHS)
    yield project
    leave_process()


def epochs_in(server: Server, store: TrackingStore) -> list[int]:
    (found,) = losses(steps(server.database, store.experiment_id))
    return found


def runs_named(store: TrackingStore, name: str) -> list[Run]:
    found = store.client().search_runs([store.experiment_id])
    return [run for run in found if run.info.run_name == name]


def test_a_server_that_is_killed_gets_the_epochs_when_it_is_back(
    project: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(project, server.uri, "killed server")
    observer, fold = observer_of(project, store), fold_of(project)
    observer.start()
    train(observer, fold, 20, seconds=0.01)
    wait_until(lambda: epochs_in(server, store) != [])
    server.kill()
    begun = time.perf_counter()
    train(observer, fold, 40, seconds=0.01, first=21)
    training_s = time.perf_counter() - begun
    wait_until(lambda: "MLflow fails" in caplog.text)
    server.start()
    train(observer, fold, EPOCHS, seconds=0.05, first=41)
    observer.on_finished(fold, history_of(0, EPOCHS))
    assert training_s < live.END_WAIT_S / 2
    assert epochs_in(server, store) == EVERY_EPOCH
    assert runs_named(store, "dose fold 0")[0].info.status == "FINISHED"
    assert caplog.text.count("MLflow fails") == 1


def test_lost_answers_lead_to_no_second_run_and_no_second_epoch(project: Path, server: Server) -> None:
    lose = {
        "runs/search": {2},
        "runs/create": {1, 2},
        "runs/log-batch": {1, 2, 3, 4},
        "metrics/get-history": {2},
        "runs/update": {1},
    }
    proxy = LossyProxy(server, lose)
    store = open_store(project, proxy.uri, "lost answers")
    direct = TrackingStore(server.uri, store.experiment_id)
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, EPOCHS, seconds=0.05)
    leave_process()
    observer.on_finished(fold, history_of(0, EPOCHS))
    publish(project, direct)
    proxy.close()
    assert {kind: proxy.lost[kind] for kind in list(lose)[:-1]} == {k: len(lose[k]) for k in list(lose)[:-1]}
    assert [len(runs_named(direct, name)) for name in ("dose", "dose fold 0")] == [1, 1]
    assert epochs_in(server, store) == EVERY_EPOCH


def test_a_training_killed_in_the_middle_of_logging_leaves_every_epoch_once(
    project: Path, server: Server
) -> None:
    store = open_store(project, server.uri, "killed training")
    script = Path(__file__).with_name("live_training.py")
    command = [sys.executable, *map(str, (script, project, store.uri, store.experiment_id, EPOCHS, 0.02))]
    for epoch in (3, 34):
        with subprocess.Popen(command) as training:
            wait_until(lambda at_least=epoch: len(epochs_in(server, store)) >= at_least, 60)
            training.send_signal(signal.SIGKILL)
    assert len(epochs_in(server, store)) < EPOCHS
    subprocess.run(command, check=True)
    assert runs_named(store, "dose fold 0")[0].info.status == "FINISHED"
    publish(project, store)
    assert epochs_in(server, store) == EVERY_EPOCH
    of_speed = steps(server.database, store.experiment_id)["system/seconds_per_epoch"]
    assert len(of_speed) == len(set(of_speed))
