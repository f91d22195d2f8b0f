"""Makes MLflow agree with the files of work/ and models/; where it agrees already, nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ricenet.tracking.connection import TrackingStore, mlflow_errors
from ricenet.tracking.content import RunContent
from ricenet.tracking.gather import fold_contents, quality_content, set_content, trained_sets
from ricenet.tracking.runs import PARENT, PUBLISHED, contradicts, create_run, fill_run, tidied_runs_of_set
from ricenet.tracking.tuning_runs import tuning_contents

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

Outcome = Literal["created", "completed", "untouched"]


@dataclass(frozen=True)
class Published:
    """Names of the runs that were missing, and of those that lacked something."""

    created: tuple[str, ...]
    completed: tuple[str, ...]


def publish(project: Path, store: TrackingStore) -> Published:
    """Record every trained modality set that lies under `models/ensembles`, and all that is known of it.

    Quality control of the subjects is a run of its own, and so is each search for settings, with a child
    run a trial.
    Raises RegistryError: the store cannot be used. ResultError: a trained fold's files are missing.
    """
    contents = [(set_content(project, name), fold_contents(project, name)) for name in trained_sets(project)]
    of_quality = quality_content(project)
    of_tuning = list(tuning_contents(project))
    outcomes: list[tuple[str, Outcome]] = []
    with mlflow_errors(store.uri):
        if of_quality is not None:
            outcomes += _publish_set(store, of_quality, ())
        for of_study, of_trials in of_tuning:
            outcomes += _publish_set(store, of_study, of_trials)
        for of_set, of_folds in contents:
            outcomes += _publish_set(store, of_set, of_folds)
    created, completed = (
        tuple(name for name, outcome in outcomes if outcome == wanted) for wanted in ("created", "completed")
    )
    if created or completed:
        logger.info("MLflow: %d run(s) created, %d completed", len(created), len(completed))
    return Published(created, completed)


def _publish_set(
    store: TrackingStore, content: RunContent, folds: Sequence[RunContent]
) -> list[tuple[str, Outcome]]:
    with store.one_writer():
        known = tidied_runs_of_set(store, content.set_key)
        parent, outcome = _publish_run(store, content, known, parent=None)
        outcomes = [(content.name, outcome)]
        for fold in folds:
            _, outcome = _publish_run(store, fold, known, parent)
            outcomes.append((fold.name, outcome))
    return outcomes


def _publish_run(
    store: TrackingStore, content: RunContent, known: dict[str, Run], parent: Run | None
) -> tuple[Run, Outcome]:
    run = known.get(content.key)
    if run is not None and parent is not None and run.data.tags.get(PARENT) != parent.info.run_id:
        store.client().set_tag(run.info.run_id, PARENT, parent.info.run_id)
    if run is not None and run.data.tags.get(PUBLISHED) == content.fingerprint:
        return run, "untouched"
    if run is not None and contradicts(store, run, content.history):
        logger.info("MLflow: %s was trained again with another outcome; its old run is deleted", content.name)
        store.client().delete_run(run.info.run_id)
        run = None
    outcome: Outcome = "created" if run is None else "completed"
    run = run or create_run(store, content, parent)
    fill_run(store, run, content)
    return run, outcome
