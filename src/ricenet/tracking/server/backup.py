"""A backup of an MLflow server as a folder: databases as of one moment, files, a manifest with digests."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

import ricenet
from ricenet.runtime.errors import ServerError
from ricenet.runtime.files import atomic_folder, file_digest, make_folder, read_json, write_json
from ricenet.runtime.full_disk import MAKE_ROOM, full_disk
from ricenet.runtime.strict_json import JsonError
from ricenet.tracking.server.postgres import Cluster, major_version
from ricenet.tracking.server.schema import revision_of
from ricenet.tracking.server.server_folder import (
    FORMAT,
    RUNS,
    USERS,
    DatabaseKind,
    ServerFolder,
    ServerRecord,
    require_format,
)
from ricenet.tracking.server.start import alone, cluster_of

logger = logging.getLogger(__name__)

MANIFEST, ARTIFACTS = "manifest.json", "artifacts"


class BackupFile(BaseModel):
    """One file of a backup: its size, and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a backup holds and what made it.

    postgresql: its major version; None for sqlite. revisions: of the databases' tables, by name. artifacts:
    the address of storage whose files are no part of the backup; None: they are. files: by the path inside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    made_utc: str
    ricenet: str
    mlflow: str
    database: DatabaseKind
    postgresql: int | None
    revisions: dict[str, str]
    artifacts: str | None
    files: dict[str, BackupFile]

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files.values())


def dump_name(kind: DatabaseKind, name: str) -> str:
    """The file of a database in a backup."""
    return f"{name}.db" if kind == "sqlite" else f"{name}.dump"


def back_up(folder: ServerFolder, target: Path) -> Manifest:
    """Write a backup of a server, running or not; it appears whole or not at all.

    The databases are read before the files: whatever they name by then lies among the files already.
    Raises ServerError: there is no server, the target exists, or a database cannot be read. OSError: no room.
    """
    record = folder.read()
    if record is None:
        raise ServerError(
            f"there is no server in {folder.path.name}. Name its folder with --folder (default mlflow/server)"
        )
    if target.exists():
        raise ServerError(f"{target.name} exists already, and no backup is overwritten. Name another place")
    make_folder(target.absolute().parent)
    artifacts = {} if record.artifacts else _files_below(folder.artifacts)
    require_room(target, sum(artifacts.values()))
    with _reached(folder, record) as cluster, atomic_folder(target.absolute()) as temporary:
        files = {}
        revisions = {}
        for name in (RUNS, USERS):
            dump = temporary / dump_name(record.database, name)
            if cluster is None:
                _dump_sqlite(folder.sqlite(name), dump)
            else:
                cluster.dump(name, dump)
            # it holds the users' hashed passwords, whoever else may read backups
            dump.chmod(0o600)
            files[dump.name] = _noted(dump)
            revisions[name] = str(revision_of(folder, record.database, name))
        if record.artifacts:
            logger.warning("the files in %s are no part of it: back that storage up", record.artifacts)
        else:
            files |= _copy_artifacts(folder.artifacts, temporary / ARTIFACTS)
        manifest = Manifest(
            made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            ricenet=ricenet.__version__,
            mlflow=installed_version("mlflow"),
            database=record.database,
            postgresql=None if cluster is None else major_version(cluster),
            revisions=revisions,
            artifacts=record.artifacts,
            files=files,
        )
        write_json(temporary / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def read_backup(backup: Path) -> Manifest:
    """A backup's manifest, once every file that it names is there with its digest.

    Raises ServerError: no backup, a later format, or a file that is missing, cut off or changed.
    """
    path = backup / MANIFEST
    if not path.is_file():
        raise ServerError(
            f"{backup.name} holds no {MANIFEST}: it is no backup, or was copied in part. Name the folder "
            "that `ricenet tracking backup` wrote, copied whole"
        )
    try:
        content = read_json(path)
        if isinstance(content, dict) and isinstance(content.get("format"), int):
            require_format(content["format"], f"the backup {backup.name}")
        manifest = Manifest.model_validate(content)
    except (JsonError, ValidationError):
        raise ServerError(f"{MANIFEST} of {backup.name} is damaged. Take another backup") from None
    for name, expected in manifest.files.items():
        _require_same(backup, name, expected)
    return manifest


def require_room(place: Path, needed_bytes: int) -> None:
    """Raise ServerError where the disk of a place has less room than is needed."""
    folder = next(one for one in place.absolute().parents if one.is_dir())
    if shutil.disk_usage(folder).free < needed_bytes:
        raise ServerError(f"{full_disk(place, needed_bytes)}. {MAKE_ROOM}")


@contextlib.contextmanager
def _reached(folder: ServerFolder, record: ServerRecord) -> Iterator[Cluster | None]:
    """The cluster of a server, running: with the server, or for the block alone; None with sqlite."""
    cluster = cluster_of(folder, record)
    if cluster is None or (_is_in_use(folder) and cluster.is_running()):
        yield cluster
        return
    with alone(folder), cluster.running():
        yield cluster


def _is_in_use(folder: ServerFolder) -> bool:
    try:
        with alone(folder):
            return False
    except ServerError:
        return True


def _dump_sqlite(source: Path, target: Path) -> None:
    """Copy a database as of one moment, by sqlite's own interface for that."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=60)) as read,
            contextlib.closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
    except sqlite3.Error as error:
        raise ServerError(
            f"{source.name} cannot be backed up ({error}). Start the server once, or restore it"
        ) from None


def _files_below(folder: Path) -> dict[str, int]:
    """Path inside a folder -> bytes; what vanishes meanwhile was deleted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _copy_artifacts(source: Path, target: Path) -> Mapping[str, BackupFile]:
    make_folder(target)
    copied = {}
    for name in _files_below(source):
        make_folder((target / name).parent)
        try:
            shutil.copyfile(source / name, target / name)
        except FileNotFoundError:
            # deleted since it was listed; of one in the page that means nothing names it any more
            continue
        copied[f"{ARTIFACTS}/{name}"] = _noted(target / name)
    return copied


def _noted(path: Path) -> BackupFile:
    return BackupFile(bytes=path.stat().st_size, sha256=file_digest(path))


def _require_same(backup: Path, name: str, expected: BackupFile) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise ServerError(f"{MANIFEST} of {backup.name} names a file outside it. Take another backup")
    path = backup / name
    if not path.is_file():
        found = "is missing"
    elif (size := path.stat().st_size) != expected.bytes:
        found = f"has {size} bytes, expected {expected.bytes}"
    elif file_digest(path) != expected.sha256:
        found = "has another content than was backed up (SHA-256)"
    else:
        return
    raise ServerError(f"{backup.name}: {name} {found}. Copy the backup again, or take another")
