"""Copying logged models and registered versions to a server, with tags, descriptions and aliases."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.runtime.errors import RegistryError
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.migration.stores import (
    MIGRATED_FROM,
    WHOLE,
    artifact_folder,
    files_below,
    registered_models,
)
from ricenet.tracking.registry import DIGEST

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

logger = logging.getLogger(__name__)

MODEL_FILE = "MLmodel"


@dataclass(frozen=True)
class VersionPlan:
    """A registered model, its versions that the server lacks, and those that stand for the others there.

    there: version -> the server's version. aliases: name -> version, of those that the server lacks.
    settled: versions for which others stand that `register` made there of the same content.
    """

    model: RegisteredModel
    is_new: bool
    missing: tuple[ModelVersion, ...]
    there: Mapping[str, str]
    aliases: Mapping[str, str]
    settled: tuple[ModelVersion, ...]


def version_plans(source: TrackingStore, target: TrackingStore) -> list[VersionPlan]:
    """What the server's registry lacks of the project's own."""
    held = {model.name: (model, found) for model, found in registered_models(target)}
    plans = []
    for model, found in registered_models(source):
        other, others = held.get(model.name, (None, []))
        by_source = {v.tags[MIGRATED_FROM]: v.version for v in others if WHOLE in v.tags}
        by_content = {
            v.tags[DIGEST]: v.version for v in others if DIGEST in v.tags and MIGRATED_FROM not in v.tags
        }
        there = {
            str(v.version): str(number)
            for v in found
            if (number := by_source.get(source_name(v)) or by_content.get(v.tags.get(DIGEST, "")))
        }
        aliases = {} if other is None else other.aliases
        plans.append(
            VersionPlan(
                model=model,
                is_new=other is None,
                missing=tuple(v for v in found if str(v.version) not in there),
                settled=tuple(
                    v for v in found if str(v.version) in there and source_name(v) not in by_source
                ),
                there=there,
                aliases={name: str(number) for name, number in model.aliases.items() if name not in aliases},
            )
        )
        _say_kept(model, there, aliases)
    return plans


def source_name(version: ModelVersion) -> str:
    """By what a copy names its source: the logged model's id, else its run's and its number."""
    return model_id_of(version) or f"{version.run_id}/{version.version}"


def model_id_of(version: ModelVersion) -> str | None:
    """The logged model that a version is; MLflow's searches leave its field for that empty (3.17.2)."""
    head, _, rest = str(version.source).removeprefix("models:/").partition("/")
    return head if str(version.source).startswith("models:/m-") and not rest else None


def model_folder(model: LoggedModel) -> Path | None:
    """The folder of a logged model's files. Raises RegistryError: it is gone."""
    return artifact_folder(
        model.artifact_location, f"model {model.name} {model.model_id}", str(model.status) == "READY"
    )


def copy_logged_model(
    model: LoggedModel, target: TrackingStore, run_id: str | None, before: LoggedModel | None
) -> str:
    """A logged model on the server, whole: that of an earlier migration, or a new one. Returns its id.

    run_id: on the server, of the run that logged it. before: what an earlier migration made. In the model's
    own description the ids and the place are exchanged for those of the server; all other files are the same.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client = target.client()
    if before is not None:
        if WHOLE in before.tags:
            return str(before.model_id)
        # of a migration that was killed; what it lacks is not worth finding out
        client.delete_logged_model(before.model_id)
    made = client.create_logged_model(
        target.experiment_id,
        name=model.name,
        source_run_id=run_id,
        tags={**model.tags, MIGRATED_FROM: model.model_id},
        params=model.params,
        model_type=model.model_type,
    )
    folder = model_folder(model)
    if folder is not None:
        client.log_model_artifacts(made.model_id, str(folder))
        _describe_anew(model, made, target, run_id, folder)
    if run_id is not None:
        points = [
            Metric(m.key, m.value, m.timestamp, m.step, made.model_id, run_id=run_id)
            for m in model.metrics or ()
        ]
        client.log_batch(run_id, metrics=points)
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    if model.status in (LoggedModelStatus.READY, LoggedModelStatus.FAILED):
        client.finalize_logged_model(made.model_id, model.status)
    client.set_logged_model_tags(made.model_id, {WHOLE: "whole"})
    return str(made.model_id)


def copy_versions(
    plan: VersionPlan, target: TrackingStore, runs: Mapping[str, str], models: Mapping[str, str]
) -> None:
    """Register what the server lacks of a model, and set aliases that it does not have.

    runs, models: id -> id on the server.
    Raises RegistryError: a version's files are those of no run or model of this project.
    """
    client, name = target.client(), plan.model.name
    if plan.is_new:
        client.create_registered_model(name, tags=dict(plan.model.tags), description=plan.model.description)
    numbers = dict(plan.there)
    for version in plan.missing:
        _delete_partial(target, version)
        run_id, model_id = runs.get(str(version.run_id)), models.get(str(model_id_of(version)))
        made = client.create_model_version(
            name,
            source=_source(version, runs, models),
            run_id=run_id,
            tags={**version.tags, MIGRATED_FROM: source_name(version)},
            description=version.description,
            model_id=model_id,
        )
        client.set_model_version_tag(name, made.version, WHOLE, "whole")
        numbers[str(version.version)] = str(made.version)
    for alias, number in plan.aliases.items():
        client.set_registered_model_alias(name, alias, numbers[number])


def _delete_partial(target: TrackingStore, version: ModelVersion) -> None:
    """Delete what a killed migration left of a version, or a repeated request made twice."""
    for other in target.client().search_model_versions(f"name = '{version.name}'", max_results=1000):
        if other.tags.get(MIGRATED_FROM) == source_name(version) and WHOLE not in other.tags:
            target.client().delete_model_version(other.name, other.version)


def _source(version: ModelVersion, runs: Mapping[str, str], models: Mapping[str, str]) -> str:
    source = str(version.source)
    for scheme, known in (("models:/", models), ("runs:/", runs)):
        head, _, rest = source.removeprefix(scheme).partition("/")
        if source.startswith(scheme) and head in known:
            return f"{scheme}{known[head]}" + (f"/{rest}" if rest else "")
    raise RegistryError(
        f"{version.name} version {version.version} was registered from files of no run or model of this "
        "project, which cannot be copied. Register it on the server by hand, or delete the version"
    )


def _describe_anew(
    model: LoggedModel, made: LoggedModel, target: TrackingStore, run_id: str | None, folder: Path
) -> None:
    if not (folder / MODEL_FILE).is_file():
        return
    text = (folder / MODEL_FILE).read_text(encoding="utf-8")
    renamed = {
        str(model.artifact_location): str(made.artifact_location),
        str(model.model_id): str(made.model_id),
        **({} if run_id is None else {str(model.source_run_id): run_id}),
    }
    for before, now in renamed.items():
        text = text.replace(before, now)
    with tempfile.TemporaryDirectory(prefix="ricenet-migrate-") as temporary:
        path = Path(temporary) / MODEL_FILE
        path.write_text(text, encoding="utf-8")
        target.client().log_model_artifact(made.model_id, str(path))


def _say_kept(model: RegisteredModel, there: Mapping[str, str], aliases: Mapping[str, object]) -> None:
    """Name aliases that the server has for another version: it keeps them, for somebody may have set them."""
    for name, number in model.aliases.items():
        if name in aliases and there.get(str(number)) != str(aliases[name]):
            logger.warning(
                "%s: the alias %s stays at version %s on the server, though it is at version %s here",
                *(model.name, name, aliases[name], number),
            )


def model_files(model: LoggedModel) -> list[Path]:
    """A logged model's files. Raises RegistryError: they are gone."""
    return files_below(model_folder(model))
