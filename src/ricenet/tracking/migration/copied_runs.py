"""Copying one run to a server: parameters, metrics with their history, files, tags, times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.migration.stores import MIGRATED_FROM, WHOLE, artifact_folder, files_below
from ricenet.tracking.runs import FILES, KEY, KIND, PARENT, PUBLISHED, RUNNING, SET_KEY

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

IDENTITY = (KIND, KEY, SET_KEY)
"""Tags by which others find a run, set when it is made."""


def history_of(store: TrackingStore, run: Run) -> list[Metric]:
    """Every value of every metric of a run."""
    client = store.client()
    return [point for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name)]


def begun(source: Run, target: TrackingStore, parent: str | None) -> Run:
    """A new run on the server with the identity and the start of its source, empty otherwise."""
    tags = {name: source.data.tags[name] for name in IDENTITY if name in source.data.tags}
    tags[MIGRATED_FROM] = source.info.run_id
    if parent is not None:
        tags[PARENT] = parent
    return target.client().create_run(
        target.experiment_id, start_time=source.info.start_time, tags=tags, run_name=source.info.run_name
    )


def fill(source: TrackingStore, run: Run, target: TrackingStore, copy: Run) -> None:
    """Log what a copy lacks of its source, but the tags that say that it is complete."""
    from mlflow.entities import Param, RunTag
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, run_id = target.client(), copy.info.run_id
    params = [Param(name, text) for name, text in run.data.params.items() if name not in copy.data.params]
    client.log_batch(run_id, params=params)
    client.log_batch(run_id, metrics=_missing(source, run, target, copy))
    folder = files_of(run)
    if files_below(folder):
        repository: Any = get_artifact_repository(str(copy.info.artifact_uri), target.uri)
        repository.log_artifacts(str(folder))
    tags = {name: text for name, text in run.data.tags.items() if name not in (PARENT, PUBLISHED)}
    client.log_batch(run_id, tags=[RunTag(name, text) for name, text in tags.items()])


def finish(run: Run, target: TrackingStore, copy: Run) -> None:
    """End a copy as its source ended, and mark it as complete."""
    from mlflow.entities import RunTag

    client, run_id = target.client(), copy.info.run_id
    if run.info.status != RUNNING:
        client.set_terminated(run_id, run.info.status, run.info.end_time)
    published = {name: text for name, text in run.data.tags.items() if name == PUBLISHED}
    tags = {**published, WHOLE: "whole"}
    client.log_batch(run_id, tags=[RunTag(name, text) for name, text in tags.items()])


def files_of(run: Run) -> Path | None:
    """The folder of a run's files. Raises RegistryError: its tags tell of files, and the folder is gone."""
    needed = any(name.startswith(FILES) for name in run.data.tags)
    return artifact_folder(run.info.artifact_uri, f"run {run.info.run_name}", needed)


def _missing(source: TrackingStore, run: Run, target: TrackingStore, copy: Run) -> list[Metric]:
    """What a copy lacks of the history; a point that somebody logged again at another time is the same."""
    # as text: NaN equals nothing
    there = {(point.key, point.step, repr(point.value)) for point in history_of(target, copy)}
    return [p for p in history_of(source, run) if (p.key, p.step, repr(p.value)) not in there]
