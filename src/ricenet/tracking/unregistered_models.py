"""Models that were logged in MLflow and came to no version: what a kill or a lost answer left."""

from __future__ import annotations

import math
import time
from typing import Any

from ricenet.tracking.connection import TrackingStore

_DAY_S = 86_400.0


def clear_unregistered(store: TrackingStore, run_id: str, name: str) -> None:
    """Delete models of this name that a run logged and no version holds, with their files.

    At a server, which has no lock, those of the last day stay: another machine may be about to register one.
    Of the project's own database all go, for whoever registers holds its lock.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client = store.client()
    before_ms = math.inf if store.database is not None else (time.time() - _DAY_S) * 1000
    # MLflow 3.17 keeps no model_id with a version in sqlite: its source is models:/ID, or the files' place
    sources = [str(version.source) for version in client.search_model_versions(f"run_id = '{run_id}'")]
    for model in client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'"):
        is_old = model.name == name and model.creation_timestamp < before_ms
        places = (model.model_id, model.artifact_location)
        if is_old and not any(place in source for place in places for source in sources):
            repository: Any = get_artifact_repository(model.artifact_location, store.uri)
            repository.delete_artifacts()
            client.delete_logged_model(model.model_id)
