"""Epochs are shown in MLflow while folds train; after `register` each is there once; training never waits."""

from __future__ import annotations

import getpass
import logging
import pickle
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from live_training import (
    LOSSES,
    fold_of,
    history_of,
    leave_process,
    losses,
    observer_of,
    runs,
    steps,
    train,
    train_to_the_end,
)
from small_results import write_fold
from tracked_project import COMMIT, make_project, store_of
from tracking_servers import wait_until

from ricenet.runtime.execution import run_tasks
from ricenet.tracking import live
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.live import LiveObserver, gpu_use
from ricenet.tracking.publish import publish
from ricenet.tracking.run_content import RunContent
from ricenet.tracking.runs import PARENT, create_run, find_or_create
from ricenet.training.history import FoldIdentity

EPOCHS = 30
EVERY_EPOCH = list(range(1, EPOCHS + 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("files"))
    for fold in (0, 1):
        write_fold(project, "dose", fold, EPOCHS)
    return project


@pytest.fixture
def project(files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files, tmp_path / "project"))


@pytest.fixture
def store(project: Path) -> Iterator[TrackingStore]:
    yield store_of(project)
    leave_process()


@pytest.fixture
def observer(project: Path, store: TrackingStore) -> LiveObserver:
    return observer_of(project, store)


@pytest.fixture
def fold(project: Path) -> FoldIdentity:
    return fold_of(project)


def epochs_in(store: TrackingStore, fold: int = 0) -> list[int]:
    """The epochs of a fold in MLflow, which all losses share."""
    (found,) = losses(steps(store.database, store.experiment_id, fold))
    return found


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == live.__name__]


def test_epochs_are_shown_while_a_fold_trains_and_belong_to_the_run_that_is_published(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    observer.start()
    train(observer, fold, 3)
    # the first at once; what comes meanwhile goes with a later epoch
    wait_until(lambda: epochs_in(store)[:1] == [1])
    shown = runs(store)
    assert shown["dose fold 0"].info.status == "RUNNING"
    assert shown["dose fold 0"].data.tags[PARENT] == shown["dose"].info.run_id
    assert shown["dose fold 0"].data.tags["mlflow.source.git.commit"] == COMMIT
    assert shown["dose"].data.params["training.learning_rate"] == "0.001"

    train(observer, fold, EPOCHS, first=4)
    observer.on_finished(fold, history_of(0, EPOCHS))
    assert epochs_in(store) == EVERY_EPOCH
    assert runs(store)["dose fold 0"].info.status == "FINISHED"

    assert "dose fold 0" in publish(project, store).completed
    assert runs(store)["dose fold 0"].info.run_id == shown["dose fold 0"].info.run_id
    assert epochs_in(store) == EVERY_EPOCH


def test_a_fold_that_resumes_from_an_older_checkpoint_repeats_no_epoch(
    store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    train_to_the_end(observer, 17, fold)
    leave_process()
    train(observer, fold, EPOCHS, first=11)
    observer.on_finished(fold, history_of(0, EPOCHS))
    assert epochs_in(store) == EVERY_EPOCH
    found = steps(store.database, store.experiment_id)
    assert found["system/seconds_per_epoch"] == EVERY_EPOCH


def test_a_failed_fold_and_its_set_are_marked_until_a_training_goes_on_with_them(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    def statuses() -> dict[str, str]:
        return {name: run.info.status for name, run in runs(store).items()}

    observer.start()
    train(observer, fold, 5)
    leave_process()
    observer.on_failed([fold])
    assert statuses() == {"dose": "FAILED", "dose fold 0": "FAILED"}
    observer.start()
    train(observer, fold, EPOCHS, first=5)
    wait_until(lambda: statuses() == {"dose": "RUNNING", "dose fold 0": "RUNNING"})
    observer.on_failed([fold_of(project, 1)])
    publish(project, store)
    assert set(statuses().values()) == {"FINISHED"}
    assert epochs_in(store) == EVERY_EPOCH


def test_training_does_not_wait_for_a_locked_database(
    store: TrackingStore, observer: LiveObserver, fold: FoldIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    observer.start()
    assert store.database is not None
    with sqlite3.connect(store.database, isolation_level=None) as connection:
        connection.execute("begin exclusive")
        begun = time.perf_counter()
        train(observer, fold, EPOCHS)
        training_s = time.perf_counter() - begun
        time.sleep(0.3)
        connection.execute("rollback")
    observer.on_finished(fold, history_of(0, EPOCHS))
    # the database would have let it wait for 20 s
    assert training_s < 5
    assert epochs_in(store) == EVERY_EPOCH
    assert said(caplog) == []


def test_where_the_store_fails_training_goes_on_and_it_is_said_once(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "nowhere" / "mlflow.db"
    observer = observer_of(project, TrackingStore(f"sqlite:///{database}", "1"))
    observer.start()
    begun = time.perf_counter()
    folds = [fold_of(project, 0), fold_of(project, 1)]
    for fold in folds:
        train_to_the_end(observer, EPOCHS, fold)
    observer.on_failed(folds)
    leave_process()
    assert time.perf_counter() - begun < live.END_WAIT_S / 2
    begun_with = [line.removeprefix("MLflow fails, so ")[:9] for line in said(caplog)]
    assert begun_with == ["the sets'", "epochs wa", "no run is"]
    assert not database.parent.exists()


def test_a_store_that_is_back_gets_what_waited(
    store: TrackingStore,
    observer: LiveObserver,
    fold: FoldIdentity,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "PAUSE_S", 0.02)
    caplog.set_level(logging.INFO)
    assert store.database is not None
    away = store.database.rename(store.database.with_suffix(".away"))
    train(observer, fold, 5)
    wait_until(lambda: said(caplog))
    away.rename(store.database)
    train(observer, fold, EPOCHS, first=6, seconds=0.03)
    wait_until(lambda: len(said(caplog)) == 2)
    observer.on_finished(fold, history_of(0, EPOCHS))
    assert [line[:12] for line in said(caplog)] == ["MLflow fails", "MLflow is ba"]
    assert epochs_in(store) == EVERY_EPOCH


def test_a_run_that_is_deleted_while_its_fold_trains_is_made_again(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    train_to_the_end(observer, 5, fold)
    store.client().delete_run(runs(store)["dose fold 0"].info.run_id)
    train(observer, fold, EPOCHS, first=6)
    leave_process()
    publish(project, store)
    assert epochs_in(store) == EVERY_EPOCH


def test_a_process_has_one_thread_for_all_copies_of_the_observer(
    project: Path, store: TrackingStore, observer: LiveObserver
) -> None:
    copy = pickle.loads(pickle.dumps(observer))  # noqa: S301  (what a pool of processes does)
    assert copy == observer
    train(observer, fold_of(project, 0), 2)
    train(copy, fold_of(project, 1), 2)
    assert list(live._senders) == [store]


def test_speed_and_use_of_the_machine_are_shown_and_no_part_of_what_is_published(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity, tmp_path: Path
) -> None:
    train_to_the_end(observer, EPOCHS, fold)
    publish(project, store)
    shown = runs(store)["dose fold 0"].data.metrics
    of_system = {name.removeprefix("system/"): v for name, v in shown.items() if name.startswith("system/")}
    speeds = ("seconds_per_epoch", "samples_per_second", "data_wait_share", "peak_memory_gb")
    assert [of_system[name] for name in speeds] == [0.5, 16.0, 0.01, 0.25]
    assert 0 <= of_system["cpu_utilization_percentage"] <= 100
    assert 0 < of_system["system_memory_usage_percentage"] <= 100
    assert not any("gpu" in name for name in of_system)
    assert publish(project, store).completed == ()

    rebuilt = Path(shutil.copytree(project, tmp_path / "rebuilt", ignore=shutil.ignore_patterns("mlflow")))
    publish(rebuilt, store_of(rebuilt))
    assert set(runs(store_of(rebuilt))["dose fold 0"].data.metrics) == {*LOSSES, "macro_f1"}


def test_an_unforeseen_error_ends_the_live_view_and_not_the_training(
    store: TrackingStore,
    observer: LiveObserver,
    fold: FoldIdentity,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(live._Sender, "_log", lambda *_: {}["unforeseen"])
    begun = time.perf_counter()
    train_to_the_end(observer, EPOCHS, fold)
    leave_process()
    assert time.perf_counter() - begun < live.END_WAIT_S / 2
    assert "live view of this process has ended by an error of the program" in caplog.text
    assert "KeyError: 'unforeseen'" in caplog.text


def test_live_runs_name_no_person_and_no_computer(
    store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    train_to_the_end(observer, 3, fold)
    for run in runs(store).values():
        held = {**run.data.tags, **run.data.params, "name": run.info.run_name, "user": run.info.user_id}
        assert run.info.user_id == "unknown"
        assert not {"mlflow.user", "mlflow.source.name"} & held.keys()
        for secret in (getpass.getuser(), socket.gethostname()):
            assert all(secret not in text for text in held.values())


# --- several writers ---


def test_epochs_that_were_published_from_files_meanwhile_are_not_sent_again(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    train(observer, fold, 12)
    publish(project, store)
    train(observer, fold, EPOCHS, first=13)
    leave_process()
    train(observer, fold, EPOCHS, first=11)
    observer.on_finished(fold, history_of(0, EPOCHS))
    publish(project, store)
    assert epochs_in(store) == EVERY_EPOCH


def test_epochs_wait_while_another_process_writes(
    store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    with store.one_writer():
        train(observer, fold, 3)
        time.sleep(0.3)
        assert runs(store) == {}
    observer.on_finished(fold, history_of(0, 3))
    assert epochs_in(store) == [1, 2, 3]


def test_two_processes_write_into_one_database(project: Path, store: TrackingStore) -> None:
    observer = observer_of(project, store, every_s=30.0)
    observer.start()
    folds = [fold_of(project, 0), fold_of(project, 1)]
    task = partial(train_to_the_end, observer, EPOCHS)
    outcomes = run_tasks(task, folds, "processes", 2, 1, "training")
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert epochs_in(store, 0) == epochs_in(store, 1) == EVERY_EPOCH
    assert sorted(runs(store)) == ["dose", "dose fold 0", "dose fold 1"]


def test_second_runs_and_second_epochs_are_gone_once_the_files_are_published(
    project: Path, store: TrackingStore, observer: LiveObserver, fold: FoldIdentity
) -> None:
    train_to_the_end(observer, 5, fold)
    first = runs(store)
    for name in ("dose", "dose fold 0"):
        tags = {key: text for key, text in first[name].data.tags.items() if key.startswith("ricenet.")}
        store.client().create_run(store.experiment_id, tags=tags, run_name=name)
    publish(project, store)
    found = store.client().search_runs([store.experiment_id], max_results=100)
    assert len({run.info.run_name for run in found}) == len(found)
    assert runs(store)["dose fold 0"].info.run_id == first["dose fold 0"].info.run_id

    run_id = first["dose fold 0"].info.run_id
    store.client().log_metric(run_id, "train_loss", history_of(0, 1)[0].train_loss, step=1)
    store.client().delete_tag(run_id, "ricenet.published")
    assert publish(project, store).created == ("dose fold 0",)
    assert epochs_in(store) == EVERY_EPOCH


def test_of_runs_made_at_the_same_moment_all_take_the_oldest(store: TrackingStore) -> None:
    content = RunContent("set", "dose", "key", "key", params={"seed": "7"}, tags={})
    theirs = create_run(store, content, None)
    ours = find_or_create(store, content, None, known={})
    assert ours.info.run_id == theirs.info.run_id
    assert [run.info.run_id for run in runs(store).values()] == [theirs.info.run_id]
    assert runs(store)["dose"].data.params == {"seed": "7"}


def test_of_a_gpu_what_its_driver_says_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def refuse(device: int) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    assert gpu_use() == {}
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    memory = SimpleNamespace(total_memory=40e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda device: 10e9)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 350_000)
    assert gpu_use() == {
        "gpu_0_memory_usage_megabytes": 10_000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_power_usage_watts": 350.0,
    }
