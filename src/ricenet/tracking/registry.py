"""Registered models: one per modality set, a version per ensemble, `champion` the promoted one's alias."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.formats import TRAINED
from ricenet.tracking.connection import TrackingStore, mlflow_errors
from ricenet.tracking.runs import MODALITY_SET

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

CHAMPION = "champion"
DEMO_COHORT = "data/demo"
DIGEST, FORMAT, RICENET_VERSION = "ricenet.digest", "ricenet.format", "ricenet.version"
"""Tags of a version: which ensemble it is, how its files are written, and by which version of ricenet."""
MODEL_URI = re.compile(r"models:/(?P<model>[^/@'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


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
    def format(self) -> object:
        """The number of its files' format, as its tag has it."""
        tag = self.tags.get(FORMAT, "1")
        return int(tag) if tag.isdecimal() else tag

    @property
    def is_readable(self) -> bool:
        """Whether this version of ricenet reads its files."""
        return TRAINED.reads(self.format)

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

    Versions that another program registered, or another version of ricenet, are named in a warning each.
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

    Raises RegistryError: nothing is registered for the set, or no such version. FormatError: another version
    of ricenet made it.
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
    require_readable(chosen[-1])
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


def require_readable(registered: RegisteredEnsemble) -> None:
    """Raise FormatError where another version of ricenet made files that this one does not read."""
    TRAINED.require(
        registered.format,
        str(registered),
        "Train and register it again: `dvc repro`",
        registered.tags.get(RICENET_VERSION, ""),
    )


def _made_elsewhere(version: ModelVersion) -> str | None:
    """By whom a version was made, if not by a version of ricenet whose files this one reads."""
    if DIGEST not in version.tags:
        return f"not registered by this project (no tag {DIGEST})"
    registered = _ensemble(version)
    return None if registered.is_readable else f"made by {TRAINED.whose(registered.format)}"


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
    return ", ".join(f"{e.version}{'' if e.is_readable else ' (another ricenet)'}" for e in found) or "none"


def _ensemble(version: ModelVersion) -> RegisteredEnsemble:
    return RegisteredEnsemble(
        modality_set=version.tags.get(MODALITY_SET, ""),
        model=version.name,
        version=str(version.version),
        digest=version.tags[DIGEST],
        run_id=version.run_id,
        tags=dict(version.tags),
    )
