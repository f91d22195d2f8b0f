"""Copying a project's own MLflow store to a server; repeating it copies what is missing alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import locked
from ricenet.runtime.git import home_of
from ricenet.runtime.store import STAGE_LOCK, STORE
from ricenet.tracking.address import address_of
from ricenet.tracking.connection import TrackingStore, mlflow_errors, open_store
from ricenet.tracking.migration.copied_models import (
    copy_logged_model,
    copy_versions,
    model_files,
    model_id_of,
    version_plans,
)
from ricenet.tracking.migration.copied_runs import begun, files_of, fill, finish, history_of
from ricenet.tracking.migration.stores import (
    MIGRATED_FROM,
    WHOLE,
    Counterparts,
    by_tag,
    files_below,
    is_whole,
    logged_models,
    own_store_uri,
    parents_first,
)
from ricenet.tracking.runs import PARENT, search_runs

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

logger = logging.getLogger(__name__)

Step = Callable[[str], None]


@dataclass(frozen=True)
class Migrated:
    """How much was copied, or would be; and how many runs and versions are there already."""

    runs: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    versions: int = 0
    aliases: int = 0
    runs_there: int = 0
    versions_there: int = 0

    def __add__(self, other: Migrated) -> Migrated:
        return Migrated(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def migrate(
    project: Path, uri: str | None, experiment: str, dry_run: bool, step: Step = lambda _: None
) -> Migrated:
    """Copy all runs, models and versions of the project's own store to the one that an address names.

    uri: of the target; None is refused. experiment: the project's. dry_run: count alone, write nothing there.
    step: called with the name of each run that is copied. Deleted runs and versions stay behind, and so do
    the times at which versions were made, which MLflow sets itself.
    Raises RegistryError: there is nothing to copy, no other store is named, one of both cannot be used, a
    stage runs, or files are lost.
    """
    home = home_of(project)
    own = own_store_uri(home)
    if uri is None or address_of(uri, home) == own:
        raise RegistryError(
            "no server is named to migrate to. Set tracking.uri in params.yaml, or MLFLOW_TRACKING_URI, to "
            "its address, such as http://127.0.0.1:5000"
        )
    locks = (project / STORE / STAGE_LOCK, home / "mlflow" / "migrate.lock")
    try:
        with locked(locks[0], wait=False), locked(locks[1], wait=False):
            # addresses in full, so that neither params.yaml nor the environment chooses another
            source = open_store(project, own, experiment)
            target = TrackingStore(address_of(uri, home), "")
            with mlflow_errors(target.uri):
                return _migrate(project, source, target, experiment, dry_run, step)
    except BlockingIOError:
        raise RegistryError(
            "a stage runs and may log, or another migration does: migrate when it has finished"
        ) from None


def _migrate(
    project: Path, source: TrackingStore, target: TrackingStore, experiment: str, dry_run: bool, step: Step
) -> Migrated:
    versions = version_plans(source, target)
    settled = {str(model_id_of(v)) for plan in versions for v in plan.settled}
    total, runs, models = Migrated(), dict[str, str](), dict[str, str]()
    for name, own in _experiments(source, experiment):
        if dry_run:
            found = target.client().get_experiment_by_name(name)
            other = None if found is None else TrackingStore(target.uri, found.experiment_id)
        else:
            other = open_store(project, target.uri, name)
        plan = _Plan(own, other, settled)
        total += plan.count()
        if not dry_run:
            plan.copy(runs, models, step)
    for of_model in versions:
        missing, there = len(of_model.missing), len(of_model.there)
        total += Migrated(versions=missing, versions_there=there, aliases=len(of_model.aliases))
        if not dry_run:
            copy_versions(of_model, target, runs, models)
    return total


def _experiments(source: TrackingStore, experiment: str) -> Iterator[tuple[str, TrackingStore]]:
    """The project's experiment, and every other one of its store that has runs."""
    for found in source.client().search_experiments():
        own = TrackingStore(source.uri, found.experiment_id)
        if found.name == experiment or search_runs(own, ""):
            yield found.name, own


class _Plan:
    """What one experiment on the server lacks. settled: ids of models for which versions there stand."""

    def __init__(self, source: TrackingStore, target: TrackingStore | None, settled: Collection[str]) -> None:
        self._source, self._target = source, target
        self._runs = parents_first(search_runs(source, ""))
        self._known = Counterparts(target)
        self._copies = {} if target is None else by_tag(logged_models(target), MIGRATED_FROM)
        self._models = [model for model in logged_models(source) if str(model.model_id) not in settled]

    def count(self) -> Migrated:
        """How much it is."""
        runs = [run for run in self._runs if not self._is_there(run)]
        files = [path for run in runs for path in files_below(files_of(run))]
        models = [model for model in self._models if not self._is_whole(model)]
        files += [path for model in models for path in model_files(model)]
        return Migrated(
            runs=len(runs),
            points=sum(len(history_of(self._source, run)) for run in runs),
            files=len(files),
            bytes=sum(path.stat().st_size for path in files),
            runs_there=len(self._runs) - len(runs),
        )

    def copy(self, runs: dict[str, str], models: dict[str, str], step: Step) -> None:
        """Copy it, noting id -> id on the server. A run is whole once its models are there too."""
        assert self._target is not None
        for run in self._runs:
            copy = self._known.of(run)
            if not self._is_there(run):
                step(str(run.info.run_name))
                parent = runs.get(run.data.tags.get(PARENT, ""))
                copy = copy or begun(run, self._target, parent)
                fill(self._source, run, self._target, copy)
                finish(run, self._target, copy)
            assert copy is not None
            runs[run.info.run_id] = copy.info.run_id
        for model in self._models:
            before = self._copies.get(str(model.model_id))
            run_id = runs.get(str(model.source_run_id))
            models[str(model.model_id)] = copy_logged_model(model, self._target, run_id, before)
        for surplus in Counterparts(self._target).surplus():
            logger.info("MLflow: a second copy of %s is deleted", surplus.info.run_name)
            self._target.client().delete_run(surplus.info.run_id)

    def _is_there(self, run: Run) -> bool:
        copy = self._known.of(run)
        return copy is not None and is_whole(run, copy)

    def _is_whole(self, model: LoggedModel) -> bool:
        before = self._copies.get(str(model.model_id))
        return before is not None and WHOLE in before.tags
