"""What this project registered, in a file of its own: against it is held whatever comes back from MLflow.

Others may write into a shared registry and its artifact store: tags, files, or both, so that they agree.
The file models/registered.json is the project's, belongs in git, and says of each ensemble, by the digest of
its files, which set it is of, the digest of the gate's record, and by what its votes are decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import MOST_TEXT_BYTES, locked, regular_bytes, write_json
from ricenet.runtime.git import home_of
from ricenet.runtime.records import Record

_RESTORE = "Restore it from git (`git checkout -- models/registered.json`)"


class OwnEnsemble(Record):
    """One registered ensemble. gate: SHA-256 of the gate's record. decision: the version's tags that say how
    votes are decided. None and empty where there was no evidence.
    """

    modality_set: str
    gate: str | None = None
    decision: dict[str, str] = Field(default_factory=dict)


class _OwnRecord(Record):
    ensembles: dict[str, OwnEnsemble] = Field(default_factory=dict)


def own_record_path(project: Path) -> Path:
    """The record of a project: one for all its copies, as the ledger is."""
    return home_of(project) / "models" / "registered.json"


def own_ensembles(project: Path) -> Mapping[str, OwnEnsemble]:
    """What the project registered, by the ensembles' digests; nothing where there is no record yet.

    Raises RegistryError: the record is damaged, or a link that leads nowhere. FormatError: of another
    version.
    """
    path = own_record_path(project)
    if not (path.exists() or path.is_symlink()):
        return {}
    try:
        return _OwnRecord.parse(regular_bytes(path, MOST_TEXT_BYTES), path.name, _RESTORE).ensembles
    except (OSError, ValueError, ValidationError):
        raise RegistryError(f"{path} is no record of registered ensembles. {_RESTORE}") from None


def note_registered(project: Path, digest: str, ensemble: OwnEnsemble) -> None:
    """Note an ensemble; what is known of its evidence stays where that is not at hand."""
    path = own_record_path(project)
    with locked(path.with_suffix(".lock")):
        known = own_ensembles(project)
        if ensemble.gate is None and digest in known:
            ensemble = known[digest]
        if known.get(digest) != ensemble:
            content = _OwnRecord(ensembles={**known, digest: ensemble})
            write_json(path, content.model_dump(mode="json"))


def own_ensemble(project: Path, digest: str, said: str, modality_set: str) -> OwnEnsemble:
    """What the project noted of an ensemble. said: the version in words. modality_set: as its tag has it.

    Raises RegistryError: nothing, or another set.
    """
    found = own_ensembles(project).get(digest)
    if found is None:
        raise RegistryError(
            f"{said} is not among the ensembles that this project registered (models/registered.json), so "
            "whoever may write into MLflow could have exchanged it. Where a colleague registered it, have "
            "them commit that file, and fetch it (`git pull`); where it was lost here, restore it (`git "
            "checkout -- models/registered.json`); or promote the version at hand (`ricenet promote "
            f"{modality_set}`)"
        )
    if found.modality_set != modality_set:
        raise RegistryError(
            f"{said} is tagged as {modality_set}, but was registered for {found.modality_set}: its tags in "
            "MLflow were changed. Set ricenet.modality_set right there"
        )
    return found
