"""Epochs are shown in MLflow while folds train, once each, and training does not wait for it."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_runs import leave_process, losses, once_each, runs, steps
from live_training import LOSSES, SPEEDS, fold_of, history_of, observer_of, train
from small_results import write_fold
from tracked_project import COMMIT, make_project, store_of
from tracking_servers import wait_until

from ricenet.tracking import sender
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.live_run import LiveRun
from ricenet.tracking.publish import publish
from ricenet.tracking.runs import PARENT
from ricenet.tracking.sender import THREAD

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
def store(project: Path) -> TrackingStore:
    return store_of(project)


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    yield
    leave_process()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == sender.__name__]


def test_epochs_are_shown_while_a_fold_trains_and_belong_to_the_run_that_is_published(
    project: Path, store: TrackingStore
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    observer.start()
    train(observer, fold, 3)

    wait_until(lambda: losses(store) == once_each([1, 2, 3]))
    live = runs(store)
    assert live["dose fold 0"].info.status == "RUNNING"
    assert live["dose fold 0"].data.tags[PARENT] == live["dose"].info.run_id
    assert live["dose fold 0"].data.tags["mlflow.source.git.commit"] == COMMIT
    assert live["dose"].data.params["training.learning_rate"] == "0.001"

    train(observer, fold, EPOCHS, first=4)
    observer.on_finished(fold, history_of(0, EPOCHS))
    assert losses(store) == once_each(EVERY_EPOCH)
    assert runs(store)["dose fold 0"].info.status == "FINISHED"

    outcome = publish(project, store)

    assert "dose fold 0" in outcome.completed
    assert runs(store)["dose fold 0"].info.run_id == live["dose fold 0"].info.run_id
    assert losses(store) == once_each(EVERY_EPOCH)


def test_a_fold_that_resumes_from_an_older_checkpoint_repeats_no_epoch(
    project: Path, store: TrackingStore
) -> None:
    fold = fold_of(project)
    train(observer_of(project, store), fold, 17)
    wait_until(lambda: len(steps(store).get("train_loss", [])) == 17)
    leave_process()

    resumed = observer_of(project, store)
    train(resumed, fold, EPOCHS, first=11)
    resumed.on_finished(fold, history_of(0, EPOCHS))

    assert {name: found for name, found in steps(store).items() if name in LOSSES + SPEEDS} == dict.fromkeys(
        sorted(LOSSES + SPEEDS), EVERY_EPOCH
    )


def test_a_failed_fold_and_its_set_are_marked_until_a_training_goes_on_with_them(
    project: Path, store: TrackingStore
) -> None:
    def statuses() -> dict[str, str]:
        return {name: run.info.status for name, run in runs(store).items()}

    observer, fold = observer_of(project, store), fold_of(project)
    observer.start()
    train(observer, fold, 5)
    leave_process()
    observer.on_failed([fold])
    assert statuses() == {"dose": "FAILED", "dose fold 0": "FAILED"}

    resumed = observer_of(project, store)
    resumed.start()
    train(resumed, fold, EPOCHS, first=5)
    wait_until(lambda: statuses() == {"dose": "RUNNING", "dose fold 0": "RUNNING"})
    resumed.on_finished(fold, history_of(0, EPOCHS))
    assert losses(store) == once_each(EVERY_EPOCH)

    resumed.on_failed([fold_of(project, 1)])
    publish(project, store)
    assert set(statuses().values()) == {"FINISHED"}


def test_a_store_that_fails_does_not_hide_why_folds_failed(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = TrackingStore(f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}", "1")

    observer_of(project, elsewhere).on_failed([fold_of(project, 0), fold_of(project, 1)])

    assert [record.message.split(":")[0] for record in caplog.records] == [
        "MLflow fails, so no run is marked as failed"
    ]
    assert not (tmp_path / "nowhere").exists()


def test_epochs_that_another_process_trained_and_did_not_send_are_sent_at_the_end(
    project: Path, store: TrackingStore
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, EPOCHS, first=11)
    observer.on_finished(fold, history_of(0, EPOCHS))

    assert losses(store) == once_each(EVERY_EPOCH)


def test_training_does_not_wait_for_a_locked_database(
    project: Path, store: TrackingStore, caplog: pytest.LogCaptureFixture
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
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
    assert losses(store) == once_each(EVERY_EPOCH)
    assert said(caplog) == []


def test_where_the_store_fails_training_goes_on_and_is_told_once(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database = tmp_path / "nowhere" / "mlflow.db"
    elsewhere = TrackingStore(f"sqlite:///{database}", "1")
    observer = observer_of(project, elsewhere)

    observer.start()
    begun = time.perf_counter()
    for fold in (fold_of(project, 0), fold_of(project, 1)):
        train(observer, fold, EPOCHS, seconds=0.01)
        observer.on_finished(fold, history_of(fold.fold, EPOCHS))

    assert time.perf_counter() - begun < sender.END_WAIT_S / 2
    assert said(caplog) == [
        "MLflow fails, so epochs wait until it is back, or until the stage `register` publishes them from "
        f"the files: {database} does not exist here"
    ]
    assert not database.exists()


def test_a_run_that_is_deleted_while_its_fold_trains_is_made_again(
    project: Path, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.02)
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, 5)
    wait_until(lambda: len(steps(store).get("train_loss", [])) == 5)
    store.client().delete_run(runs(store)["dose fold 0"].info.run_id)
    train(observer, fold, EPOCHS, first=6)
    observer.on_finished(fold, history_of(0, EPOCHS))
    wait_until(lambda: "dose fold 0" in runs(store) and runs(store)["dose fold 0"].info.status == "FINISHED")

    publish(project, store)

    assert losses(store) == once_each(EVERY_EPOCH)


def test_a_forked_process_gets_a_thread_of_its_own(project: Path, store: TrackingStore) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, 5)
    wait_until(lambda: len(steps(store).get("train_loss", [])) == 5)
    forked = multiprocessing.get_context("fork").Process(
        target=train, args=(observer, fold_of(project, 1), EPOCHS)
    )
    forked.start()
    forked.join(30)

    assert forked.exitcode == 0
    assert losses(store, 1) == once_each(EVERY_EPOCH)


def test_a_process_has_one_thread_for_all_copies_of_the_observer(project: Path, store: TrackingStore) -> None:
    before = sum(thread.name == THREAD for thread in threading.enumerate())
    observer = observer_of(project, store)
    train(observer, fold_of(project, 0), 2)
    copy = pickle.loads(pickle.dumps(observer))  # noqa: S301  (what a pool of processes does)
    train(copy, fold_of(project, 1), 2)

    assert copy == observer
    started = [thread for thread in threading.enumerate() if thread.name == THREAD][before:]
    assert [thread.daemon for thread in started] == [True]
    wait_until(lambda: losses(store, 1) == once_each([1, 2]))


def test_speed_and_use_of_the_machine_are_shown_and_no_part_of_what_is_published(
    project: Path, store: TrackingStore, tmp_path: Path
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, EPOCHS, seconds=0.01)
    observer.on_finished(fold, history_of(0, EPOCHS))
    publish(project, store)

    shown = runs(store)["dose fold 0"].data.metrics
    of_system = {name: value for name, value in shown.items() if name.startswith("system/")}
    assert [of_system.pop(name) for name in SPEEDS] == [0.5, 16.0, 0.01, 0.25]
    assert 0 <= of_system["system/cpu_utilization_percentage"] <= 100
    assert 0 < of_system["system/system_memory_usage_percentage"] <= 100
    assert not any("gpu" in name for name in of_system)
    assert publish(project, store).completed == ()

    rebuilt = Path(shutil.copytree(project, tmp_path / "rebuilt", ignore=shutil.ignore_patterns("mlflow")))
    publish(rebuilt, store_of(rebuilt))
    assert set(runs(store_of(rebuilt))["dose fold 0"].data.metrics) == {*LOSSES, "macro_f1"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unforeseen_error_ends_the_live_view_and_not_the_training(
    project: Path, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: LiveRun) -> int:
        raise KeyError("unforeseen")

    monkeypatch.setattr(LiveRun, "send", fail)
    observer, fold = observer_of(project, store), fold_of(project)
    begun = time.perf_counter()
    train(observer, fold, EPOCHS)
    observer.on_finished(fold, history_of(0, EPOCHS))

    assert time.perf_counter() - begun < sender.END_WAIT_S / 2
    # its error is told when it ends, which shall be in this test
    thread = sender.sender_to(store)._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


def test_live_runs_name_no_person_and_no_computer(project: Path, store: TrackingStore) -> None:
    import getpass
    import socket

    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, 3)
    observer.on_finished(fold, history_of(0, 3))

    for run in runs(store).values():
        told = {**run.data.tags, **run.data.params, "name": run.info.run_name, "user": run.info.user_id}
        assert run.info.user_id == "unknown"
        assert not {"mlflow.user", "mlflow.source.name"} & told.keys()
        for secret in (getpass.getuser(), socket.gethostname()):
            assert all(secret not in text for text in told.values())
