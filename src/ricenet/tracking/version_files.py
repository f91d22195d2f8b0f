"""A version's files, and what decides its votes: both held against what the project itself noted."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from ricenet.inference.label_answers import LabelDecision
from ricenet.inference.three_way import DecisionThreshold
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.store import Store
from ricenet.tracking.connection import REBUILD, TrackingStore, mlflow_at, mlflow_failures, one_line
from ricenet.tracking.evidence_content import decision_tags, gate_of, threshold_of, version_tags
from ricenet.tracking.gather import DIGESTS, ensemble_folder
from ricenet.tracking.own_record import own_ensemble
from ricenet.tracking.registry import DIGEST, RegisteredEnsemble, require_readable
from ricenet.tracking.settled import ENSEMBLES
from ricenet.training.ensemble_record import RECORD, ensemble_digest, read_record


def ensemble_files(project: Path, store: TrackingStore, registered: RegisteredEnsemble) -> Path:
    """The folder with a version's weights and ensemble.json: at hand in models/, or fetched once.

    The digest is computed from the files and is the registered one; that of fetched ones was noted by the
    project itself. Nothing that is fetched is executed.
    Raises RegistryError: the files are missing or others, the tag is no digest, or none that the project
    registered, or the tags name other data than the files do. FormatError: another version of ricenet made
    them.
    """
    folder = _ensemble_files(project, store, registered)
    record = read_record(folder)
    tagged = {name: registered.tags.get(f"ricenet.{name}") for name in DIGESTS}
    if wrong := [name for name, digest in tagged.items() if digest != getattr(record, name)]:
        raise RegistryError(
            f"{registered}: its tags in MLflow name other data than its files do ({', '.join(wrong)}), so "
            "somebody changed them. Train and register again: `dvc repro`"
        )
    return folder


def _ensemble_files(project: Path, store: TrackingStore, registered: RegisteredEnsemble) -> Path:
    require_readable(registered)
    if not re.fullmatch(r"[0-9a-f]{64}", registered.digest):
        # it names a folder, and anyone may write tags in a shared registry
        raise RegistryError(f"{registered.model} version {registered.version}: tag {DIGEST} is no digest")
    at_hand = ensemble_folder(project, registered.modality_set)
    if ensemble_digest(at_hand) == registered.digest:
        return at_hand
    own_ensemble(project, registered.digest, str(registered), registered.modality_set)

    def fetch(target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="ricenet-model-") as folder:
            _download(store, registered, Path(folder))
            for record in Path(folder).rglob(RECORD):
                for path in (record, *record.parent.glob("*.safetensors")):
                    shutil.copyfile(path, target / path.name)
        if ensemble_digest(target) != registered.digest:
            raise RegistryError(
                f"{registered} cannot be loaded: its files in MLflow are not those that were registered. "
                + REBUILD
            )

    return Store(project / ENSEMBLES).get(registered.digest, fetch)


def decision_threshold(
    project: Path, registered: RegisteredEnsemble
) -> DecisionThreshold | LabelDecision | None:
    """What a version's three-way vote needs; None: there was no evidence.

    By the evidence at hand where that is the version's, else as the project itself noted it.
    Raises RegistryError: its tags in MLflow say otherwise, or the project did not register it. ResultError:
    evidence at hand that is not of this version of ricenet.
    """
    at_hand = gate_of(project / "work", registered.modality_set, registered.digest)
    if at_hand is not None:
        return threshold_of(version_tags(at_hand))
    own = own_ensemble(project, registered.digest, str(registered), registered.modality_set)
    if decision_tags(registered.tags) != own.decision:
        raise RegistryError(
            f"{registered}: its tags in MLflow decide votes by other numbers than models/registered.json, "
            "which this project wrote: somebody changed them. Set them right there, or promote a version "
            "that is at hand"
        )
    return threshold_of(own.decision)


def _download(store: TrackingStore, registered: RegisteredEnsemble, folder: Path) -> None:
    import mlflow

    try:
        uri = f"models:/{registered.model}/{registered.version}"
        # MLflow looks up `models:/` in the process's own store alone
        with mlflow_at(store.uri):
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except mlflow_failures() as error:
        raise RegistryError(f"{registered} cannot be loaded: {one_line(error)}. {REBUILD}") from error
