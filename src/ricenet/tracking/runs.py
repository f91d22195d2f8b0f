"""Runs in MLflow: a run a modality set with a child run a fold, found by content key, never logged twice."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.tracking.content import COMMIT, UNCOMMITTED, ArtifactGroup, Epoch, RunContent
from ricenet.tracking.store import TrackingStore

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

KIND, KEY, SET_KEY, MODALITY_SET = "ricenet.kind", "ricenet.key", "ricenet.set_key", "ricenet.modality_set"
PUBLISHED = "ricenet.published"
"""Fingerprint of the content that a run is known to hold in full."""
FILES = "ricenet.files."
PARENT = "mlflow.parentRunId"

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
SAME_LOSS = 1e-4
"""Relative difference up to which two losses are one value that was rounded in a table."""


def runs_of_set(store: TrackingStore, set_key: str) -> dict[str, Run]:
    """Own key -> run, for the set's run and its folds' runs; of duplicates the oldest."""
    found = store.client().search_runs(
        [store.experiment_id],
        filter_string=f"tags.`{SET_KEY}` = '{set_key}'",
        max_results=1000,
        order_by=["attributes.start_time DESC"],
    )
    return {run.data.tags[KEY]: run for run in found}


def create_run(store: TrackingStore, content: RunContent, parent: Run | None) -> Run:
    """A new run with the keys by which it will be found."""
    tags = {KIND: content.kind, KEY: content.key, SET_KEY: content.set_key, **content.tags}
    if parent is not None:
        tags[PARENT] = parent.info.run_id
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
    if run.info.status == "RUNNING":
        client.set_terminated(run_id)


def log_params(store: TrackingStore, run: Run, params: Mapping[str, str]) -> None:
    """Log the parameters that the run does not have yet."""
    from mlflow.entities import Param

    missing = [Param(name, text) for name, text in params.items() if name not in run.data.params]
    for start in range(0, len(missing), PARAMS_PER_CALL):
        store.client().log_batch(run.info.run_id, params=missing[start : start + PARAMS_PER_CALL])


def log_epochs(store: TrackingStore, run_id: str, history: Sequence[Epoch]) -> None:
    """Log the epochs that the run does not have yet, in as few calls as MLflow allows."""
    from mlflow.entities import Metric

    if not history:
        return
    last = max(logged_epochs(store, run_id, next(iter(history[0][1]))), default=0)
    now_ms = time.time_ns() // 1_000_000
    missing = [(epoch, values) for epoch, values in history if epoch > last]
    epochs_per_call = max(1, METRICS_PER_CALL // len(history[0][1]))
    for start in range(0, len(missing), epochs_per_call):
        batch = missing[start : start + epochs_per_call]
        store.client().log_batch(
            run_id,
            [Metric(name, value, now_ms, epoch) for epoch, values in batch for name, value in values.items()],
        )


def logged_epochs(store: TrackingStore, run_id: str, metric: str) -> dict[int, float]:
    """Epoch -> value of one metric, as far as it is logged."""
    return {m.step: m.value for m in store.client().get_metric_history(run_id, metric)}


def contradicts(store: TrackingStore, run: Run, history: Sequence[Epoch]) -> bool:
    """Whether the run holds another training than the table: another loss at the last common epoch.

    Repeated training of one fold may differ where the hardware does not repeat its sums.
    """
    if not history:
        return False
    metric = next(iter(history[0][1]))
    logged = logged_epochs(store, run.info.run_id, metric)
    common = [(logged[epoch], values[metric]) for epoch, values in history if epoch in logged]
    if not common:
        return False
    before, now = common[-1]
    both_undefined = math.isnan(before) and math.isnan(now)
    return not (both_undefined or math.isclose(before, now, rel_tol=SAME_LOSS, abs_tol=SAME_LOSS))


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
