"""Epochs reach a server that is killed, that loses answers, whose trainings are killed: each once."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_training import LOSSES, SPEEDS, fold_of, history_of, observer_of, train
from small_results import write_fold
from tracked_project import empty_database, make_project
from tracking_servers import LossyProxy, Server, steps_by_metric, wait_until

from ricenet.tracking import sender
from ricenet.tracking.connection import TrackingStore, open_store
from ricenet.tracking.publish import publish

EPOCHS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder)
    server.database.write_bytes(empty_database())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "project")
    write_fold(project, "dose", 0, EPOCHS)
    return project


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 0.1)


def steps(server: Server, store: TrackingStore) -> dict[str, list[int]]:
    """Steps by metric of the runs of `dose fold 0` of one experiment."""
    return steps_by_metric(server.database, "dose fold 0", store.experiment_id)


def runs_named(store: TrackingStore, name: str) -> list:
    found = store.client().search_runs([store.experiment_id])
    return [run for run in found if run.info.run_name == name]


def test_a_server_that_is_killed_gets_the_epochs_when_it_is_back(
    project: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = open_store(project, server.uri, "killed server")
    observer, fold = observer_of(project, store), fold_of(project)
    observer.start()

    train(observer, fold, 20, seconds=0.01)
    wait_until(lambda: len(steps(server, store).get("train_loss", [])) > 0)
    server.kill()
    begun = time.perf_counter()
    train(observer, fold, EPOCHS, seconds=0.01, first=21)
    observer.on_finished(fold, history_of(0, EPOCHS))
    training_s = time.perf_counter() - begun
    wait_until(lambda: any("MLflow fails" in record.message for record in caplog.records))
    server.start()
    wait_until(lambda: runs_named(store, "dose fold 0")[0].info.status == "FINISHED")

    assert training_s < sender.END_WAIT_S / 2
    assert {name: found for name, found in steps(server, store).items() if name in LOSSES + SPEEDS} == {
        name: list(range(1, EPOCHS + 1)) for name in LOSSES + SPEEDS
    }
    said = [record.message for record in caplog.records if record.name == sender.__name__]
    assert [line.partition(":")[0] for line in said] == [
        "MLflow fails, so epochs wait until it is back, or until the stage `register` publishes them from "
        "the files",
        "MLflow is back",
    ]


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

    train(observer, fold, EPOCHS, seconds=0.02)
    observer.on_finished(fold, history_of(0, EPOCHS))
    wait_until(lambda: runs_named(direct, "dose fold 0")[0].info.status == "FINISHED")
    live_id = runs_named(direct, "dose fold 0")[0].info.run_id
    publish(project, direct)
    proxy.close()

    assert proxy.lost == {kind: len(places) for kind, places in lose.items()}
    assert [len(runs_named(direct, name)) for name in ("dose", "dose fold 0")] == [1, 1]
    assert runs_named(direct, "dose fold 0")[0].info.run_id == live_id
    assert {name: found for name, found in steps(server, store).items() if name in LOSSES + SPEEDS} == {
        name: list(range(1, EPOCHS + 1)) for name in LOSSES + SPEEDS
    }


def test_a_training_killed_in_the_middle_of_logging_leaves_every_epoch_once(
    project: Path, server: Server
) -> None:
    store = open_store(project, server.uri, "killed training")
    script = Path(__file__).with_name("live_training.py")
    arguments = [project, store.uri, store.experiment_id, EPOCHS, 0.02]
    command = [sys.executable, str(script), *map(str, arguments)]

    def logged() -> int:
        return len(steps(server, store).get("train_loss", []))

    for epoch in (3, 17, 34):
        with subprocess.Popen(command) as training:
            wait_until(lambda at_least=epoch: logged() >= at_least, 60)
            training.send_signal(signal.SIGKILL)
    assert logged() < EPOCHS
    subprocess.run(command, check=True)
    assert runs_named(store, "dose fold 0")[0].info.status == "FINISHED"
    publish(project, store)

    assert {name: found for name, found in steps(server, store).items() if name in LOSSES} == {
        name: list(range(1, EPOCHS + 1)) for name in LOSSES
    }
    of_speed = [found for name, found in steps(server, store).items() if name in SPEEDS]
    assert all(len(found) == len(set(found)) for found in of_speed)
