"""Makes MLflow agree with the files of work/ and models/; where it agrees already, nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ricenet.tracking.connection import TrackingStore, mlflow_errors, mlflow_failures, one_line
from ricenet.tracking.descriptions import NOTE, experiment_note
from ricenet.tracking.gather import fold_contents, set_content, trained_sets, vote_metrics
from ricenet.tracking.quality_run import quality_content
from ricenet.tracking.run_content import RunContent
from ricenet.tracking.runs import PARENT, PUBLISHED, contradicts, create_run, fill_run, runs_of_set
from ricenet.tracking.scores_view import set_experiment_tag, share_view
from ricenet.tracking.tuning_runs import tuning_contents

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ricenet.inference.test_vote import VoteResult
    from ricenet.tracking.registry import RegisteredEnsemble

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
    run per trial. The experiment's description and its view of scores follow.
    Raises RegistryError: the store cannot be used. ResultError: a trained fold's files are missing.
    """
    of_quality = quality_content(project)
    contents = [
        *([] if of_quality is None else [(of_quality, [])]),
        *tuning_contents(project),
        *((set_content(project, name), fold_contents(project, name)) for name in trained_sets(project)),
    ]
    with mlflow_errors(store.uri):
        share_view(store)
        set_experiment_tag(store, NOTE, experiment_note(project / "work"))
        outcomes = [outcome for content in contents for outcome in _publish_set(store, *content)]
    created, completed = (
        tuple(name for name, outcome in outcomes if outcome == wanted) for wanted in ("created", "completed")
    )
    if created or completed:
        logger.info("MLflow: %d run(s) created, %d completed", len(created), len(completed))
    return Published(created, completed)


def show_vote(store: TrackingStore, champion: RegisteredEnsemble, result: VoteResult) -> None:
    """Show a champion's vote on the test set at its run, also where that is of an earlier training."""
    try:
        for name, value in vote_metrics(result.macro_f1, result.evaluation).items():
            store.client().log_metric(str(champion.run_id), name, value)
    except mlflow_failures() as error:
        # the run may have been deleted in the web page; the ledger keeps the result
        logger.warning("MLflow: the vote of %s is not shown at its run: %s", champion, one_line(error))


def _publish_set(
    store: TrackingStore, content: RunContent, folds: Sequence[RunContent]
) -> list[tuple[str, Outcome]]:
    with store.one_writer():
        known = runs_of_set(store, content.set_key, tidy=True)
        parent, outcome = _publish_run(store, content, known, parent=None)
        return [
            (content.name, outcome),
            *((fold.name, _publish_run(store, fold, known, parent.info.run_id)[1]) for fold in folds),
        ]


def _publish_run(
    store: TrackingStore, content: RunContent, known: dict[str, Run], parent: str | None
) -> tuple[Run, Outcome]:
    run = known.get(content.key)
    if run is not None and parent is not None and run.data.tags.get(PARENT) != parent:
        store.client().set_tag(run.info.run_id, PARENT, parent)
    if run is not None and run.data.tags.get(PUBLISHED) == content.fingerprint:
        return run, "untouched"
    if run is not None and contradicts(store, run, content.history):
        logger.info("MLflow: %s holds another training; its old run is deleted", content.name)
        store.client().delete_run(run.info.run_id)
        run = None
    outcome: Outcome = "created" if run is None else "completed"
    run = run or create_run(store, content, parent)
    fill_run(store, run, content)
    return run, outcome
