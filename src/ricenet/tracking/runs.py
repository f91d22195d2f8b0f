"""Runs in MLflow: one per modality set with a child run per fold, found by content key, logged once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.run_content import COMMIT, UNCOMMITTED, ArtifactGroup, Epoch, RunContent

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

logger = logging.getLogger(__name__)

KIND, KEY, SET_KEY, MODALITY_SET = "ricenet.kind", "ricenet.key", "ricenet.set_key", "ricenet.modality_set"
PUBLISHED = "ricenet.published"
"""Fingerprint of the content that a run is known to hold in full."""
FILES = "ricenet.files."
RUNNING, FINISHED, FAILED = "RUNNING", "FINISHED", "FAILED"
PARENT = "mlflow.parentRunId"

RUNS_PER_CALL = 1000
SAME_LOSS = 1e-4
"""Relative difference up to which two losses are one value that was rounded in a table."""


def search_runs(store: TrackingStore, wanted: str) -> list[Run]:
    """All runs of the experiment that fit a filter, oldest first."""
    client, token = store.client(), None
    found: list[Run] = []
    while True:
        page = client.search_runs([store.experiment_id], wanted, max_results=RUNS_PER_CALL, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def runs_of_set(store: TrackingStore, set_key: str, tidy: bool = False) -> dict[str, Run]:
    """Own key -> run, for the set's run and its folds' runs; of several with one key the oldest.

    Two have one key where an answer was lost on its way, or two processes made one at the same moment.
    tidy: delete the younger ones.
    """
    kept: dict[str, Run] = {}
    for run in search_runs(store, f"tags.`{SET_KEY}` = '{set_key}'"):
        if kept.setdefault(run.data.tags.get(KEY, ""), run) is not run and tidy:
            logger.info("MLflow: a second run of %s is deleted", run.info.run_name)
            store.client().delete_run(run.info.run_id)
    return kept


def find_or_create(
    store: TrackingStore, content: RunContent, parent: str | None, known: Mapping[str, Run]
) -> Run:
    """The run of some content with its parameters, made where it is not among the known ones.

    parent: id of the run below which it lies. A run that had failed is running again. Of runs that several
    processes make at the same moment all take the oldest.
    """
    run = known.get(content.key)
    if run is None:
        made = create_run(store, content, parent)
        run = runs_of_set(store, content.set_key)[content.key]
        if run.info.run_id != made.info.run_id:
            store.client().delete_run(made.info.run_id)
    if run.info.status == FAILED:
        store.client().update_run(run.info.run_id, RUNNING)
    log_params(store, run, content.params)
    return run


def create_run(store: TrackingStore, content: RunContent, parent: str | None) -> Run:
    """A new run with the keys by which it will be found."""
    tags = {KIND: content.kind, KEY: content.key, SET_KEY: content.set_key, **content.tags}
    if parent is not None:
        tags[PARENT] = parent
    return store.client().create_run(store.experiment_id, tags=tags, run_name=content.name)


def fill_run(store: TrackingStore, run: Run, content: RunContent) -> None:
    """Log whatever of the content the run lacks, then mark it as complete."""
    client, run_id = store.client(), run.info.run_id
    log_params(store, run, content.params)
    log_epochs(store, run_id, content.history)
    for name, value in content.metrics.items():
        if run.data.metrics.get(name) != value:
            client.log_metric(run_id, name, value)
    for group in content.artifacts:
        _replace_artifacts(store, run, group)
    for name, text in {**content.tags, PUBLISHED: content.fingerprint}.items():
        if run.data.tags.get(name) != text:
            client.set_tag(run_id, name, text)
    for name in {COMMIT, UNCOMMITTED} & run.data.tags.keys() - content.tags.keys():
        # of a training that was stopped, and finished by other code
        client.delete_tag(run_id, name)
    if run.info.status != FINISHED:
        client.set_terminated(run_id)


def log_params(store: TrackingStore, run: Run, params: Mapping[str, str]) -> None:
    """Log the parameters that the run does not have yet."""
    from mlflow.entities import Param

    missing = [Param(name, text) for name, text in params.items() if name not in run.data.params]
    # MLflow itself cuts what is more than it takes in a call: 100 parameters, 1000 metrics
    store.client().log_batch(run.info.run_id, params=missing)


def log_epochs(store: TrackingStore, run_id: str, history: Sequence[Epoch]) -> None:
    """Log the epochs, or quantities of them, that the run does not have yet."""
    from mlflow.entities import Metric

    if not history:
        return
    logged = {name: logged_epochs(store, run_id, name) for name in history[0][1]}
    now_ms = time.time_ns() // 1_000_000
    missing = [
        Metric(name, value, now_ms, epoch)
        for epoch, values in history
        for name, value in values.items()
        if epoch not in logged[name]
    ]
    store.client().log_batch(run_id, missing)


def logged_epochs(store: TrackingStore, run_id: str, metric: str) -> dict[int, float]:
    """Epoch -> value of one metric, as far as it is logged."""
    return {m.step: m.value for m in _history(store, run_id, metric)}


def contradicts(store: TrackingStore, run: Run, history: Sequence[Epoch]) -> bool:
    """Whether the run holds something else than the table: another loss at an epoch, or an epoch twice.

    Repeated training, of a fold or of its epochs since a checkpoint, may differ where the hardware does
    not repeat its sums.
    """
    if not history:
        return False
    metric = next(iter(history[0][1]))
    points = _history(store, run.info.run_id, metric)
    table = {epoch: values[metric] for epoch, values in history}
    twice = len({point.step for point in points}) < len(points)
    return twice or any(not _same(p.value, table[p.step]) for p in points if p.step in table)


def _history(store: TrackingStore, run_id: str, metric: str) -> Sequence[Metric]:
    points: Sequence[Metric] = store.client().get_metric_history(run_id, metric)
    return points


def _same(before: float, now: float) -> bool:
    both_undefined = math.isnan(before) and math.isnan(now)
    return both_undefined or math.isclose(before, now, rel_tol=SAME_LOSS, abs_tol=SAME_LOSS)


def _replace_artifacts(store: TrackingStore, run: Run, group: ArtifactGroup) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    tag = FILES + group.folder
    logged = run.data.tags.get(tag)
    if logged == group.digest or (logged is None and not group.files):
        return
    assert run.info.artifact_uri is not None
    repository: Any = get_artifact_repository(run.info.artifact_uri, store.uri)
    if logged is not None:
        repository.delete_artifacts(group.folder)
    for name, path in group.files.items():
        repository.log_artifact(str(path), (Path(group.folder) / name).parent.as_posix())
    store.client().set_tag(run.info.run_id, tag, group.digest)
