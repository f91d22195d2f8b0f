"""Registered models: one per modality set, a version per ensemble, `champion` the promoted one's alias."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ricenet.inference.three_way import DecisionThreshold
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.store import Store
from ricenet.tracking.connection import REBUILD, TrackingStore, mlflow_errors, mlflow_failures, one_line
from ricenet.tracking.evidence_content import decision_tags, threshold_of
from ricenet.tracking.gather import ensemble_folder
from ricenet.tracking.own_record import own_ensemble
from ricenet.tracking.runs import MODALITY_SET
from ricenet.training import task
from ricenet.training.ensemble import RECORD, ensemble_digest

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

CHAMPION = "champion"
DEMO_COHORT = "data/demo"
DIGEST, FORMAT = "ricenet.digest", "ricenet.format"
"""Tags of a version: which ensemble it is, and how its files are written."""
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
    def is_earlier(self) -> bool:
        """Whether an earlier version of ricenet made it, whose files this one does not read."""
        return self.tags.get(FORMAT) != str(task.FORMAT)

    def __str__(self) -> str:
        return f"{self.model} version {self.version} (ensemble {self.digest[:12]})"


def model_name(prefix: str, modality_set: str) -> str:
    """The registered model of a modality set.

    >>> model_name("rice-net", "post_op+dose")
    'rice-net-post_op+dose'
    """
    return f"{prefix}-{modality_set}"


def versions(store: TrackingStore, model: str) -> list[RegisteredEnsemble]:
    """All ensembles registered as a model, oldest first, without versions made by other programs."""
    found = store.client().search_model_versions(f"name = '{model}'", max_results=1000)
    ours = [_ensemble(version) for version in found if DIGEST in version.tags]
    return sorted(ours, key=lambda ensemble: int(ensemble.version))


def version_with_digest(
    store: TrackingStore, prefix: str, modality_set: str, digest: str
) -> RegisteredEnsemble:
    """The registered version that holds an ensemble.

    Raises RegistryError: there is none.
    """
    name = model_name(prefix, modality_set)
    for ensemble in versions(store, name):
        if ensemble.digest == digest:
            return ensemble
    raise RegistryError(
        f"{name}: no version holds ensemble {digest[:12]}, the champion in work/champions.json. "
        "Promote another version (`ricenet promote`) and run `dvc repro`"
    )


def champions(store: TrackingStore, prefix: str) -> dict[str, RegisteredEnsemble]:
    """Modality set -> the version that carries the alias `champion`, whoever moved it.

    Versions that another program registered, or an earlier version of ricenet, are named in a warning each.
    """
    promoted: dict[str, RegisteredEnsemble] = {}
    with mlflow_errors(store.uri):
        client = store.client()
        for model in client.search_registered_models(f"name LIKE '{prefix}-%'", max_results=1000):
            if CHAMPION not in model.aliases:
                continue
            version = client.get_model_version(model.name, str(model.aliases[CHAMPION]))
            by_whom = _made_elsewhere(version)
            if by_whom is None:
                champion = _ensemble(version)
                promoted[champion.modality_set] = champion
            else:
                logger.warning(
                    "%s version %s is the champion, but was %s: it does not vote. "
                    "Promote another version: `ricenet promote %s`",
                    *(model.name, version.version, by_whom, model.name.removeprefix(f"{prefix}-")),
                )
    return promoted


def promotable_version(
    store: TrackingStore, prefix: str, modality_set: str, version: int | None = None
) -> RegisteredEnsemble:
    """A registered version of a set; None for the newest.

    Raises RegistryError: nothing is registered for the set, no such version, or one of an earlier version
    of ricenet.
    """
    name = model_name(prefix, modality_set)
    with mlflow_errors(store.uri):
        registered = versions(store, name)
        others = [m.name for m in store.client().search_registered_models(f"name LIKE '{prefix}-%'")]
    if not registered:
        known = ", ".join(sorted(other.removeprefix(f"{prefix}-") for other in others)) or "nothing"
        raise RegistryError(
            f"no model is registered for {modality_set} (but for {known}). "
            "Correct the name, or train and register it first: `dvc repro`"
        )
    chosen = [e for e in registered if version is None or e.version == str(version)]
    if not chosen:
        raise RegistryError(f"{name} has no version {version}; it has {_listed(registered)}")
    _require_readable(chosen[-1])
    return chosen[-1]


def make_champion(store: TrackingStore, chosen: RegisteredEnsemble) -> RegisteredEnsemble:
    """Move the alias `champion` of a set to a version, whatever the gate says of it."""
    with mlflow_errors(store.uri):
        store.client().set_registered_model_alias(chosen.model, CHAMPION, chosen.version)
    return chosen


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
        number, found = address["version"] if alias is None else aliases[alias], versions(store, name)
    for ensemble in found:
        if ensemble.version == number:
            return ensemble
    raise RegistryError(
        f"{name} has no version {number} that this project registered; it has {_listed(found)}"
    )


def ensemble_files(project: Path, store: TrackingStore, registered: RegisteredEnsemble) -> Path:
    """The folder with a version's weights and ensemble.json: at hand in models/, or fetched once.

    Its digest was computed from the files, is the registered one, and one that the project itself noted;
    nothing that is fetched is executed.
    Raises RegistryError: the files are missing or others, an earlier version of ricenet made them, the tag is
    no digest, or none that the project registered.
    """
    _require_readable(registered)
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


def decision_threshold(project: Path, registered: RegisteredEnsemble) -> DecisionThreshold | None:
    """What a version's three-way vote needs, as the project itself noted it; None: there was no evidence.

    Raises RegistryError: its tags in MLflow say otherwise, or the project did not register it.
    """
    own = own_ensemble(project, registered.digest, str(registered), registered.modality_set)
    if decision_tags(registered.tags) != own.decision:
        raise RegistryError(
            f"{registered}: its tags in MLflow decide votes by other numbers than models/registered.json, "
            "which this project wrote. If a later evidence stage is behind that, run `dvc repro register`; "
            "otherwise somebody changed them"
        )
    return threshold_of(own.decision)


def _download(store: TrackingStore, registered: RegisteredEnsemble, folder: Path) -> None:
    import mlflow

    # MLflow looks up `models:/` in the process's own store alone
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    try:
        uri = f"models:/{registered.model}/{registered.version}"
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except mlflow_failures() as error:
        raise RegistryError(f"{registered} cannot be loaded: {one_line(error)}. {REBUILD}") from error


def _require_readable(registered: RegisteredEnsemble) -> None:
    if registered.is_earlier:
        raise RegistryError(
            f"{registered} was made by an earlier version of ricenet, which this one cannot use. "
            "Train and register it again: `dvc repro`"
        )


def _made_elsewhere(version: ModelVersion) -> str | None:
    """By whom a version was made, if not by this version of ricenet."""
    if DIGEST not in version.tags:
        return f"not registered by this project (no tag {DIGEST})"
    return "made by an earlier version of ricenet" if _ensemble(version).is_earlier else None


def _only_champion(promoted: Mapping[str, RegisteredEnsemble]) -> RegisteredEnsemble:
    if not promoted:
        raise RegistryError(
            "no champion: promote a version (`ricenet promote MODALITY_SET`), or name a model"
        )
    if len(promoted) > 1:
        names = ", ".join(f"models:/{champion.model}@{CHAMPION}" for champion in promoted.values())
        raise RegistryError(f"{len(promoted)} champions, name one of them as the model: {names}")
    return next(iter(promoted.values()))


def _listed(found: list[RegisteredEnsemble]) -> str:
    return ", ".join(f"{e.version}{' (earlier ricenet)' if e.is_earlier else ''}" for e in found) or "none"


def _ensemble(version: ModelVersion) -> RegisteredEnsemble:
    return RegisteredEnsemble(
        modality_set=version.tags.get(MODALITY_SET, ""),
        model=version.name,
        version=str(version.version),
        digest=version.tags[DIGEST],
        run_id=version.run_id,
        tags=dict(version.tags),
    )
