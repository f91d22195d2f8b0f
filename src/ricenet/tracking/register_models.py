"""Registering trained ensembles as model versions, each content once."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import ricenet
from ricenet.cohort.description import is_synthetic
from ricenet.inference.label_answers import vote_columns
from ricenet.runtime.files import file_digest, read_json, write_json
from ricenet.runtime.formats import TRAINED
from ricenet.tracking.connection import TrackingStore, mlflow_at, mlflow_errors, no_advice
from ricenet.tracking.descriptions import headline
from ricenet.tracking.evidence_content import (
    card_sections,
    decision_tags,
    gate_of,
    gate_path,
    threshold_of,
    version_tags,
)
from ricenet.tracking.gather import (
    DIGESTS,
    ensemble_folder,
    evaluated,
    made_by,
    read_ensemble,
    read_records,
    trained_sets,
)
from ricenet.tracking.own_record import OwnEnsemble, note_registered, own_ensembles
from ricenet.tracking.publish import publish
from ricenet.tracking.registry import (
    DEMO_COHORT,
    DIGEST,
    FORMAT,
    RICENET_VERSION,
    RegisteredEnsemble,
    make_champion,
    model_name,
    version_with_digest,
    versions,
)
from ricenet.tracking.run_content import COMMIT, code_tags, set_key
from ricenet.tracking.runs import MODALITY_SET, runs_of_set
from ricenet.tracking.unregistered_models import clear_unregistered
from ricenet.tracking.version_card import model_card, question
from ricenet.training.ensemble_record import EnsembleRecord, ensemble_digest
from ricenet.vocabulary import is_rice_task

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo
    from mlflow.types import DataType

logger = logging.getLogger(__name__)

_MODEL = "ensemble"
"""How a run's model is called."""

REQUIREMENTS = ("mlflow", "monai", "numpy", "pandas", "pydantic", "safetensors", "scikit-learn", "torch")


def register_ensembles(project: Path, store: TrackingStore, prefix: str) -> dict[str, dict[str, str]]:
    """Publish all runs, and register every trained set whose ensemble is not registered yet, under its run.

    Returns modality set -> {"model", "digest"}, without anything that changes when the store is rebuilt.
    Raises RegistryError: the store cannot be used.
    """
    publish(project, store)
    registered = {}
    with mlflow_errors(store.uri):
        for modality_set in trained_sets(project):
            ensemble = read_ensemble(project, modality_set)
            name, digest = model_name(prefix, modality_set), ensemble.digest
            with store.one_writer():
                if version_at_hand(project, store, prefix, modality_set) is None:
                    number = _register(project, store, name, ensemble)
                    logger.info("MLflow: %s version %s registered", name, number)
            _describe(project, store, version_with_digest(store, prefix, modality_set, digest), ensemble)
            registered[modality_set] = {"model": name, "digest": digest}
    return registered


def bring_champions_back(project: Path, store: TrackingStore, prefix: str, former: Mapping[str, str]) -> None:
    """Register former champions again, alias included, whose models MLflow does not hold at all.

    So it is where the project was cloned, the database deleted, or another server named. A model that MLflow
    holds speaks for itself: a missing alias was taken away. former: modality set -> the ensemble's digest.
    Champions that are not at hand, or that the project did not note, are named in a warning each.
    Raises RegistryError: the store cannot be used.
    """
    with mlflow_errors(store.uri):
        found = store.client().search_registered_models(f"name LIKE '{prefix}-%'", max_results=1000)
        held = {model.name for model in found}
    lost = {name: digest for name, digest in former.items() if model_name(prefix, name) not in held}
    known = own_ensembles(project) if lost else {}
    for name in [name for name, digest in lost.items() if not _is_ours(project, name, digest, known)]:
        logger.warning(
            "MLflow does not hold the former champion of %s (ensemble %s), which models/ensembles or "
            "models/registered.json lacks: promote a version once it is registered (`ricenet promote %s`)",
            *(name, lost.pop(name)[:12], name),
        )
    if lost:
        register_ensembles(project, store, prefix)
    for name, digest in lost.items():
        champion = make_champion(store, version_with_digest(store, prefix, name, digest))
        logger.info("MLflow: %s is the champion again, as before", champion)


def _is_ours(project: Path, name: str, digest: str, known: Mapping[str, OwnEnsemble]) -> bool:
    """Whether an ensemble is at hand, and noted in models/registered.json."""
    noted = digest in known and known[digest].modality_set == name
    return noted and ensemble_digest(ensemble_folder(project, name)) == digest


def version_at_hand(project: Path, store: TrackingStore, prefix: str, modality_set: str) -> int | None:
    """The version that holds a set's ensemble as it lies in models/; None where there is none."""
    if modality_set not in trained_sets(project):
        return None
    digest = read_ensemble(project, modality_set).digest
    with mlflow_errors(store.uri):
        known = versions(store, model_name(prefix, modality_set))
    return next((int(ensemble.version) for ensemble in known if ensemble.digest == digest), None)


def _register(project: Path, store: TrackingStore, name: str, ensemble: EnsembleRecord) -> str:
    client, modality_set = store.client(), ensemble.modality_set
    if not client.search_registered_models(f"name = '{name}'"):
        names = ", ".join(spec.name for spec in ensemble.members)
        about = (
            f"{question(ensemble)} from {names}. Research software, not a medical device. "
            "The version with the alias `champion` votes on the test set."
        )
        client.create_registered_model(name, tags={MODALITY_SET: modality_set}, description=about)
    key = set_key(modality_set, ensemble.fold_keys)
    run_id = runs_of_set(store, key)[key].info.run_id
    clear_unregistered(store, run_id, _MODEL)
    logged = _log_model(project, store, ensemble, run_id)
    tags = {
        DIGEST: ensemble.digest,
        FORMAT: str(TRAINED.number),
        MODALITY_SET: modality_set,
        RICENET_VERSION: ricenet.__version__,
        **{f"ricenet.{name}": str(getattr(ensemble, name)) for name in DIGESTS},
    }
    # a database's registry looks the model up in the process's own store alone
    with mlflow_at(store.uri):
        version = client.create_model_version(
            name, source=logged.model_uri, run_id=run_id, model_id=logged.model_id, tags=tags
        )
    return str(version.version)


def _describe(
    project: Path, store: TrackingStore, version: RegisteredEnsemble, ensemble: EnsembleRecord
) -> None:
    """Bring a version's description and tags up to the evidence at hand, writing only what differs."""
    work, modality_set = project / "work", version.modality_set
    cohort = _cohort_root(work / "cohort" / "cohort.json")
    synthetic = cohort is not None and (Path(cohort) == Path(DEMO_COHORT) or is_synthetic(project / cohort))
    gate = gate_of(work, modality_set, version.digest)
    # the registry's list shows the first line as it stands
    card = headline(work, modality_set, version.digest) + "\n\n"
    card += model_card(ensemble, evaluated(work, modality_set), cohort, synthetic)
    if sections := card_sections(work, modality_set, version.digest, synthetic):
        card += f"\n{sections}"
    client = store.client()
    if client.get_model_version(version.model, version.version).description != card:
        client.update_model_version(version.model, version.version, card)
    tags = version_tags(gate)
    seal = None if gate is None else file_digest(gate_path(work, modality_set))
    own = OwnEnsemble(modality_set=modality_set, gate=seal, decision=decision_tags(tags))
    note_registered(project, version.digest, own)
    for name, value in tags.items():
        if version.tags.get(name) != value:
            client.set_model_version_tag(version.model, version.version, name, value)


def _log_model(project: Path, store: TrackingStore, ensemble: EnsembleRecord, run_id: str) -> ModelInfo:
    import mlflow
    from mlflow import pyfunc

    code = code_tags(read_records(project, ensemble))
    with (
        mlflow_at(store.uri),
        no_advice(),
        mlflow.start_run(run_id=run_id),
        tempfile.TemporaryDirectory() as folder,
    ):
        logged: ModelInfo = pyfunc.log_model(
            name=_MODEL,
            python_model=str(Path(__file__).with_name("ensemble_model.py")),
            artifacts={
                "ensemble": str(ensemble_folder(project, ensemble.modality_set)),
                **_decision(project / "work", ensemble, Path(folder)),
            },
            signature=_signature(ensemble),
            tags=code,
            # inferring them would load the model in another process
            pip_requirements=[f"{name}=={installed_version(name)}" for name in REQUIREMENTS],
        )
    client, model_id = store.client(), str(logged.model_id)
    if COMMIT not in code and COMMIT in client.get_logged_model(model_id).tags:
        # MLflow notes one by itself: that of registering, not that of training
        client.delete_logged_model_tag(model_id, COMMIT)
    return logged


def _decision(work: Path, ensemble: EnsembleRecord, folder: Path) -> dict[str, str]:
    """The calibration and threshold of the evidence at hand as a file of the model; nothing without any."""
    threshold = threshold_of(version_tags(gate_of(work, ensemble.modality_set, ensemble.digest)))
    if threshold is None:
        return {}
    write_json(folder / "decision.json", threshold.model_dump(mode="json"))
    return {"decision": str(folder / "decision.json")}


def _signature(ensemble: EnsembleRecord) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    side = ensemble.grid.voxels
    shape = (-1, len(ensemble.members), side, side, side)
    # an array by itself where there are no variables, else arrays by name
    volumes = TensorSpec(np.dtype(np.float32), shape, "volumes" if ensemble.variables else None)
    types = {"number": np.dtype(np.float64), "category": np.dtype(np.str_)}
    variables = [TensorSpec(types[spec.kind], (-1,), spec.name) for spec in ensemble.variables]
    if not is_rice_task(ensemble.label_names):
        return ModelSignature(
            inputs=Schema([volumes, *variables]),
            outputs=Schema(
                [
                    ColSpec(_kind_of_column(name), name)
                    for name in vote_columns(ensemble.label_names, ensemble.folds)
                ]
            ),
        )
    outputs = {f"fold_{k}": DataType.double for k in range(ensemble.folds)}
    outputs |= {"votes_rice": DataType.long, "p_rice": DataType.double, "p_rice_calibrated": DataType.double}
    outputs |= {"label": DataType.string, "three_way": DataType.string}
    return ModelSignature(
        inputs=Schema([volumes, *variables]),
        outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
    )


def _kind_of_column(name: str) -> DataType:
    from mlflow.types import DataType

    if name in ("predicted", "answer"):
        return DataType.string
    return DataType.long if name.startswith("votes_") else DataType.double


def _cohort_root(cohort: Path) -> str | None:
    with made_by("check_cohort"):
        return str(read_json(cohort)["root"]) if cohort.is_file() else None
