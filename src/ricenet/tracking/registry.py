"""Registered models: one a modality set, a version an ensemble, the alias `champion` on the promoted one."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation import metrics as scored
from ricenet.inference.test_vote import Sureness
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import read_json
from ricenet.runtime.store import Store
from ricenet.tracking.connection import REBUILD, TrackingStore, mlflow_errors, mlflow_failures, one_line
from ricenet.tracking.evidence_content import CONFIDENCE, TEMPERATURE
from ricenet.vocabulary import MODALITY_SETS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion

    Predict = Callable[[NDArray[np.float32]], pd.DataFrame]

logger = logging.getLogger(__name__)

CHAMPION = "champion"
DEMO_COHORT = "data/demo"
DIGEST = "ricenet.digest"
ENSEMBLES = Path("work") / "store" / "ensembles"
MODEL_URI = re.compile(r"models:/(?P<model>[^/@'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
NO_CHAMPION = (
    "No champion yet: compare the runs with `make ui`, then `ricenet promote MODALITY_SET` and `dvc repro`"
)


@dataclass(frozen=True)
class RegisteredEnsemble:
    """One version of a registered model. tags: digests of the data that it was trained on."""

    modality_set: str
    model: str
    version: str
    digest: str
    run_id: str | None
    tags: Mapping[str, str]

    @property
    def sureness(self) -> Sureness | None:
        """What its three-way vote needs; None where its tags do not say."""
        temperature, least = (self.tags.get(name) for name in (TEMPERATURE, CONFIDENCE))
        try:
            return Sureness(float(str(temperature)), None if least == "none" else float(str(least)))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.model} version {self.version} (ensemble {self.digest[:12]})"


def model_name(prefix: str, modality_set: str) -> str:
    """The registered model of a modality set.

    >>> model_name("rice-net", "post_op+dose")
    'rice-net-post_op+dose'
    """
    return f"{prefix}-{modality_set}"


def versions(store: TrackingStore, prefix: str, modality_set: str) -> list[RegisteredEnsemble]:
    """All ensembles registered for a set, oldest first; versions made by other programs are left out."""
    name = model_name(prefix, modality_set)
    found = store.client().search_model_versions(f"name = '{name}'", max_results=1000)
    ensembles = [_ensemble(modality_set, version) for version in found if DIGEST in version.tags]
    return sorted(ensembles, key=lambda ensemble: int(ensemble.version))


def version_with_digest(
    store: TrackingStore, prefix: str, modality_set: str, digest: str
) -> RegisteredEnsemble:
    """The registered version that holds an ensemble.

    Raises RegistryError: there is none.
    """
    for ensemble in versions(store, prefix, modality_set):
        if ensemble.digest == digest:
            return ensemble
    raise RegistryError(
        f"{model_name(prefix, modality_set)}: no version holds ensemble {digest[:12]}, the champion in "
        "work/champions.json. Promote another version (`ricenet promote`) and run `dvc repro`"
    )


def champions(store: TrackingStore, prefix: str) -> dict[str, RegisteredEnsemble]:
    """Modality set -> the version that carries the alias `champion`, whoever moved it.

    Raises RegistryError: the alias is on a version that this project did not register.
    """
    promoted: dict[str, RegisteredEnsemble] = {}
    with mlflow_errors(store.uri):
        client = store.client()
        models = client.search_registered_models(f"name LIKE '{prefix}-%'", max_results=1000)
        by_name = {model.name: model for model in models}
        for modality_set in MODALITY_SETS:
            name = model_name(prefix, modality_set)
            if name not in by_name or CHAMPION not in by_name[name].aliases:
                continue
            version = client.get_model_version(name, str(by_name[name].aliases[CHAMPION]))
            if DIGEST not in version.tags:
                raise RegistryError(
                    f"{name} version {version.version} is the champion, but was not registered by this "
                    f"project (no tag {DIGEST}). Promote another version: `ricenet promote {modality_set}`"
                )
            promoted[modality_set] = _ensemble(modality_set, version)
    return promoted


def promotable_version(
    store: TrackingStore, prefix: str, modality_set: str, version: int | None = None
) -> RegisteredEnsemble:
    """A registered version of a set; None for the newest.

    Raises RegistryError: unknown set, nothing registered for it, no such version.
    """
    if modality_set not in MODALITY_SETS:
        raise RegistryError(
            f"unknown modality set {modality_set!r}; expected one of {', '.join(MODALITY_SETS)}, or best"
        )
    with mlflow_errors(store.uri):
        registered = versions(store, prefix, modality_set)
    if not registered:
        raise RegistryError(
            f"no model is registered for {modality_set}. Train and register it first: `dvc repro`"
        )
    chosen = [e for e in registered if version is None or e.version == str(version)]
    if not chosen:
        raise RegistryError(
            f"{model_name(prefix, modality_set)} has no version {version}; "
            f"it has {', '.join(e.version for e in registered)}"
        )
    return chosen[-1]


def make_champion(store: TrackingStore, chosen: RegisteredEnsemble) -> RegisteredEnsemble:
    """Move the alias `champion` of a set to a version, whatever the gate says of it."""
    with mlflow_errors(store.uri):
        store.client().set_registered_model_alias(chosen.model, CHAMPION, chosen.version)
    return chosen


def load_registered(store: TrackingStore, registered: RegisteredEnsemble) -> Predict:
    """A registered ensemble as a function of volumes (N, C, X, Y, Z); see `EnsembleModel.predict`.

    Raises RegistryError: its files are missing or damaged.
    """
    from mlflow import pyfunc

    _resolve_models_in(store)
    try:
        predict: Predict = pyfunc.load_model(f"models:/{registered.model}/{registered.version}").predict
    except mlflow_failures() as error:
        raise RegistryError(f"{registered} cannot be loaded: {one_line(error)}. {REBUILD}") from error
    return predict


def find_registered(store: TrackingStore, prefix: str, uri: str | None) -> RegisteredEnsemble:
    """The ensemble at `models:/NAME@ALIAS` or `models:/NAME/VERSION`; None for the only champion.

    Raises RegistryError: another form of address, no such model, alias or version, a version that this
    project did not register; without an address, no champion or several.
    """
    if uri is None:
        return _only_champion(champions(store, prefix))
    address = MODEL_URI.fullmatch(uri)
    if address is None:
        raise RegistryError(f"{uri!r} is no model; expected models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias = address["model"], address["alias"]
    with mlflow_errors(store.uri):
        client = store.client()
        models = client.search_registered_models(f"name = '{name}'")
        if not models:
            registered = [model.name for model in client.search_registered_models(max_results=1000)]
            raise RegistryError(f"no registered model {name}; there is {', '.join(registered) or 'none'}")
        aliases = {key: str(value) for key, value in models[0].aliases.items()}
        if alias is not None and alias not in aliases:
            raise RegistryError(f"{name} has no alias {alias}; it has {', '.join(aliases) or 'none'}")
        number = address["version"] if alias is None else aliases[alias]
        found = client.search_model_versions(f"name = '{name}'", max_results=1000)
        for version in found:
            if str(version.version) == number and DIGEST in version.tags:
                return _ensemble(version.tags["ricenet.modality_set"], version)
    known = sorted((str(v.version) for v in found if DIGEST in v.tags), key=int)
    raise RegistryError(
        f"{name} has no version {number} that this project registered; it has {', '.join(known) or 'none'}"
    )


def ensemble_files(project: Path, store: TrackingStore, registered: RegisteredEnsemble) -> Path:
    """The folder with a version's weights and ensemble.json, fetched once into work/store.

    Raises RegistryError: its files are missing, or its tag is no digest.
    """
    import mlflow.artifacts
    from mlflow.models import Model

    if not re.fullmatch(r"[0-9a-f]{64}", registered.digest):
        # it names a folder, and anyone may write tags in a shared registry
        raise RegistryError(f"{registered.model} version {registered.version}: tag {DIGEST} is no digest")

    def fetch(target: Path) -> None:
        uri = f"models:/{registered.model}/{registered.version}"
        with tempfile.TemporaryDirectory(prefix="ricenet-model-") as folder:
            model = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
            artifacts = Model.load(model).flavors["python_function"]["artifacts"]
            shutil.copytree(Path(model) / artifacts["ensemble"]["path"], target, dirs_exist_ok=True)

    _resolve_models_in(store)
    try:
        return Store(project / ENSEMBLES).get(registered.digest, fetch)
    except mlflow_failures() as error:
        raise RegistryError(f"{registered} cannot be loaded: {one_line(error)}. {REBUILD}") from error


def best_set(metrics: Path) -> str:
    """The modality set with the highest cross-validated macro-F1, pooled over folds.

    metrics: work/evaluation/metrics.json.
    Raises ResultError: missing file, or no set in it.
    """
    scores: dict[str, Any] = read_json(metrics) if metrics.is_file() else {}
    if not scores:
        raise ResultError(f"{metrics} is missing or empty. The stage `evaluate` makes it: run `dvc repro`")
    return scored.best_set({name: float(of_set["macro_f1_pooled"]) for name, of_set in scores.items()})


def _resolve_models_in(store: TrackingStore) -> None:
    """Let `models:/` addresses mean this store; MLflow looks them up in the process's own one only."""
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)


def _only_champion(promoted: Mapping[str, RegisteredEnsemble]) -> RegisteredEnsemble:
    if not promoted:
        raise RegistryError(
            "no champion: promote a version (`ricenet promote MODALITY_SET`), or name a model"
        )
    if len(promoted) > 1:
        names = ", ".join(f"models:/{champion.model}@{CHAMPION}" for champion in promoted.values())
        raise RegistryError(f"{len(promoted)} champions, name one of them as the model: {names}")
    return next(iter(promoted.values()))


def _ensemble(modality_set: str, version: ModelVersion) -> RegisteredEnsemble:
    return RegisteredEnsemble(
        modality_set=modality_set,
        model=version.name,
        version=str(version.version),
        digest=version.tags[DIGEST],
        run_id=version.run_id,
        tags=dict(version.tags),
    )
