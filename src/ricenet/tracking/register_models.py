"""Registering trained ensembles as model versions, each content once."""

from __future__ import annotations

import logging
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ricenet
from ricenet.cohort.description import is_synthetic
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.evaluation.robustness.effects import read_robustness
from ricenet.report.model_card import model_card_sections
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore, mlflow_errors, no_advice
from ricenet.tracking.content import COMMIT, code_tags, set_key
from ricenet.tracking.evidence_content import gate_of, version_tags
from ricenet.tracking.gather import (
    DIGESTS,
    ensemble_folder,
    evaluated,
    made_by,
    read_ensemble_json,
    read_records,
    trained_sets,
)
from ricenet.tracking.publish import publish
from ricenet.tracking.registry import (
    DEMO_COHORT,
    DIGEST,
    RegisteredEnsemble,
    model_name,
    version_with_digest,
    versions,
)
from ricenet.tracking.runs import runs_of_set
from ricenet.vocabulary import members

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

logger = logging.getLogger(__name__)


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
            ensemble = read_ensemble_json(project, modality_set)
            name = model_name(prefix, modality_set)
            if ensemble["digest"] not in {known.digest for known in versions(store, prefix, modality_set)}:
                number = _register(project, store, name, ensemble)
                logger.info("MLflow: %s version %s registered", name, number)
            _describe(project, store, version_with_digest(store, prefix, modality_set, ensemble["digest"]))
            registered[modality_set] = {"model": name, "digest": ensemble["digest"]}
    return registered


def version_at_hand(project: Path, store: TrackingStore, prefix: str, modality_set: str) -> int | None:
    """The version that holds a set's ensemble as it lies in models/; None where there is none."""
    if modality_set not in trained_sets(project):
        return None
    digest = read_ensemble_json(project, modality_set)["digest"]
    with mlflow_errors(store.uri):
        known = versions(store, prefix, modality_set)
    return next((int(ensemble.version) for ensemble in known if ensemble.digest == digest), None)


def model_card(
    modality_set: str,
    ensemble: dict[str, Any],
    scores: dict[str, Any],
    cohort: str | None,
    synthetic: bool,
) -> str:
    """A version's description, as Markdown.

    scores: the set's entry of metrics.json, or empty. cohort: the raw cohort's folder.
    synthetic: it holds phantoms.
    """
    modalities = members(modality_set)
    shape = f"(N, {len(modalities)}" + f", {ensemble['preprocessing']['cube_voxels']}" * 3 + ")"
    paragraphs = [
        f"**RICE-NET, {modality_set}**: {ensemble['folds']} folds and their majority vote, telling "
        "recurrence from radiation-induced contrast enhancement (RICE).",
        "**Research software, not a medical device: not for clinical use.**",
        f"Input: preprocessed volumes {shape}, float32, in the order {', '.join(modalities)}. Output: each "
        "fold's probability of RICE, how many folds say RICE, the mean probability, and the label. "
        f"Loading needs the package ricenet {ricenet.__version__}.",
    ]
    if scores:
        paragraphs.append(
            f"Cross-validated macro-F1: {scores['macro_f1_mean']:.3f}, SD over folds "
            f"{scores['macro_f1_sd']:.3f}, {scores['n']} subjects."
        )
    if cohort is not None:
        made_up = " (synthetic)" if synthetic else ""
        # the folder's name alone: its place may name a person or an institution
        paragraphs.append(f"Trained on the cohort `{Path(cohort).name}`{made_up}.")
    return "\n\n".join(paragraphs) + "\n"


def _register(project: Path, store: TrackingStore, name: str, ensemble: dict[str, Any]) -> str:
    modality_set = ensemble["modality_set"]
    client = store.client()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(
            name, tags={"ricenet.modality_set": modality_set}, description=_about(modality_set)
        )
    key = set_key(modality_set, ensemble["fold_keys"])
    run_id = runs_of_set(store, key)[key].info.run_id
    code = code_tags(read_records(project, ensemble))
    logged = _log_model(store, ensemble_folder(project, modality_set), ensemble, run_id, code)
    version = client.create_model_version(
        name,
        source=logged.model_uri,
        run_id=run_id,
        model_id=logged.model_id,
        tags=_version_tags(ensemble),
    )
    return str(version.version)


def _describe(project: Path, store: TrackingStore, version: RegisteredEnsemble) -> None:
    """Bring a version's description and tags up to the evidence at hand, writing only what differs."""
    work, modality_set = project / "work", version.modality_set
    ensemble = read_ensemble_json(project, modality_set)
    cohort = _cohort_root(work / "cohort" / "cohort.json")
    synthetic = _is_synthetic(project, cohort)
    gate = gate_of(work, modality_set, version.digest)
    card = model_card(modality_set, ensemble, evaluated(work, modality_set), cohort, synthetic)
    if gate is not None:
        evidence = read_evidence(work / "evidence" / "evidence.json")
        robustness = work / "robustness" / "robustness.json"
        effects = read_robustness(robustness) if robustness.is_file() else None
        card += "\n" + model_card_sections(evidence, modality_set, effects, synthetic)
    client = store.client()
    if client.get_model_version(version.model, version.version).description != card:
        client.update_model_version(version.model, version.version, card)
    for name, value in version_tags(gate).items():
        if version.tags.get(name) != value:
            client.set_model_version_tag(version.model, version.version, name, value)


def _log_model(
    store: TrackingStore, weights: Path, ensemble: dict[str, Any], run_id: str, code: dict[str, str]
) -> ModelInfo:
    import mlflow
    from mlflow import pyfunc

    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    with no_advice(), mlflow.start_run(run_id=run_id):
        logged: ModelInfo = pyfunc.log_model(
            name="ensemble",
            python_model=str(Path(__file__).with_name("ensemble_model.py")),
            artifacts={"ensemble": str(weights)},
            signature=_signature(ensemble),
            tags=code,
            # inferring them would load the model in another process
            pip_requirements=[f"{name}=={installed_version(name)}" for name in REQUIREMENTS],
        )
    if COMMIT not in code:
        _forget_commit(store, str(logged.model_id))
    return logged


def _forget_commit(store: TrackingStore, model_id: str) -> None:
    """Remove the commit that MLflow notes by itself: that of registering, not that of training."""
    if COMMIT in store.client().get_logged_model(model_id).tags:
        store.client().delete_logged_model_tag(model_id, COMMIT)


def _signature(ensemble: dict[str, Any]) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    side = ensemble["preprocessing"]["cube_voxels"]
    shape = (-1, len(members(ensemble["modality_set"])), side, side, side)
    folds = [ColSpec(DataType.double, f"fold_{k}") for k in range(ensemble["folds"])]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]),
        outputs=Schema(
            [
                *folds,
                ColSpec(DataType.long, "votes_rice"),
                ColSpec(DataType.double, "p_rice"),
                ColSpec(DataType.string, "label"),
            ]
        ),
    )


def _version_tags(ensemble: dict[str, Any]) -> dict[str, str]:
    return {
        DIGEST: ensemble["digest"],
        "ricenet.modality_set": ensemble["modality_set"],
        "ricenet.version": ricenet.__version__,
        **{f"ricenet.{name}": str(ensemble[name]) for name in DIGESTS},
    }


def _about(modality_set: str) -> str:
    return (
        f"Recurrence or RICE from {', '.join(members(modality_set))}. "
        "Research software, not a medical device. "
        "The version with the alias `champion` votes on the test set."
    )


def _is_synthetic(project: Path, cohort: str | None) -> bool:
    return cohort is not None and (Path(cohort) == Path(DEMO_COHORT) or is_synthetic(project / cohort))


def _cohort_root(cohort: Path) -> str | None:
    with made_by("check_cohort"):
        return str(read_json(cohort)["root"]) if cohort.is_file() else None
