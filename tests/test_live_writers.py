"""Several write into one store at the same moment: no epoch, and no run, is there twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from live_runs import leave_process, losses, once_each, runs
from live_training import end_of_a_fold, fold_of, history_of, observer_of, train
from small_results import write_fold
from tracked_project import make_project, store_of
from tracking_servers import wait_until

from ricenet.runtime.execution import run_tasks
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.content import RunContent
from ricenet.tracking.publish import publish
from ricenet.tracking.runs import create_run, find_or_create

EPOCHS = 30
EVERY_EPOCH = list(range(1, EPOCHS + 1))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "project")
    for fold in (0, 1):
        write_fold(project, "dose", fold, EPOCHS)
    return project


@pytest.fixture
def store(project: Path) -> Iterator[TrackingStore]:
    yield store_of(project)
    leave_process()


def test_publishing_while_epochs_still_come_doubles_none(project: Path, store: TrackingStore) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, 12)
    publish(project, store)
    leave_process()
    late = observer_of(project, store)
    train(late, fold, EPOCHS, first=11)
    late.on_finished(fold, history_of(0, EPOCHS))
    publish(project, store)

    assert losses(store) == once_each(EVERY_EPOCH)


def test_epochs_that_were_published_from_files_meanwhile_are_not_sent_again(
    project: Path, store: TrackingStore
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    train(observer, fold, 5)
    wait_until(lambda: losses(store) == once_each([1, 2, 3, 4, 5]))
    publish(project, store)

    train(observer, fold, EPOCHS, first=6)
    observer.on_finished(fold, history_of(0, EPOCHS))

    assert losses(store) == once_each(EVERY_EPOCH)


def test_epochs_wait_while_another_process_writes(project: Path, store: TrackingStore) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    with store.one_writer():
        train(observer, fold, 3)
        time.sleep(0.3)
        assert runs(store) == {}

    wait_until(lambda: losses(store) == once_each([1, 2, 3]))


def test_two_processes_write_into_one_database_and_their_last_epochs_are_not_lost(
    project: Path, store: TrackingStore
) -> None:
    observer = observer_of(project, store, every_s=30.0)
    observer.start()
    folds = [fold_of(project, 0), fold_of(project, 1)]
    outcomes = run_tasks(partial(end_of_a_fold, observer, EPOCHS), folds, "processes", 2, 1, "telling")

    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len({outcome.result for outcome in outcomes}) == 2
    assert losses(store, 0) == once_each(EVERY_EPOCH)
    assert losses(store, 1) == once_each(EVERY_EPOCH[:-1])
    assert sorted(runs(store)) == ["dose", "dose fold 0", "dose fold 1"]


def test_a_second_run_of_a_fold_is_deleted_when_the_files_are_published(
    project: Path, store: TrackingStore
) -> None:
    observer, fold = observer_of(project, store), fold_of(project)
    observer.start()
    train(observer, fold, 5)
    wait_until(lambda: losses(store) == once_each([1, 2, 3, 4, 5]))
    first = runs(store)
    for name in ("dose", "dose fold 0"):
        tags = {key: text for key, text in first[name].data.tags.items() if key.startswith("ricenet.")}
        store.client().create_run(store.experiment_id, tags=tags, run_name=name)

    publish(project, store)

    found = store.client().search_runs([store.experiment_id], max_results=100)
    assert len({run.info.run_name for run in found}) == len(found)
    assert {name: runs(store)[name].info.run_id for name in first} == {
        name: run.info.run_id for name, run in first.items()
    }
    assert losses(store) == once_each(EVERY_EPOCH)


def test_of_runs_made_at_the_same_moment_all_take_the_oldest(store: TrackingStore) -> None:
    content = RunContent("set", "dose", "key", "key", params={"seed": "7"}, tags={})
    theirs = create_run(store, content, None)

    ours = find_or_create(store, content, None, known={})

    assert ours.info.run_id == theirs.info.run_id
    assert [run.info.run_id for run in runs(store).values()] == [theirs.info.run_id]
    assert runs(store)["dose"].data.params == {"seed": "7"}
