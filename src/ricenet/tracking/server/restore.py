"""Making an MLflow server's folder from a backup, whole or not at all."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ricenet.runtime.errors import ServerError
from ricenet.runtime.files import atomic_folder, make_folder
from ricenet.runtime.temporary import PARTIAL, clear
from ricenet.tracking.server.backup import ARTIFACTS, Manifest, dump_name, read_backup, require_room
from ricenet.tracking.server.postgres import Cluster, major_version, require_postgresql
from ricenet.tracking.server.schema import compared
from ricenet.tracking.server.server_folder import RUNS, USERS, ServerFolder, ServerRecord
from ricenet.tracking.server.start import alone, cluster_of

logger = logging.getLogger(__name__)


def restore(backup: Path, folder: ServerFolder, replace: bool) -> Manifest:
    """Make a server of a backup. replace: let it take the place of what is in the folder.

    Secrets are made anew; users keep their passwords.
    Raises ServerError: as `read_backup`, the folder is not empty, a server runs in it, the backup was made by
    a later MLflow or PostgreSQL, or there is no room.
    """
    manifest = read_backup(backup)
    for name, revision in manifest.revisions.items():
        if compared(revision, name) == "newer":
            raise ServerError(
                f"the backup {backup.name} was made by MLflow {manifest.mlflow}, whose tables this one does "
                "not know. Install the ricenet that made it"
            )
    if folder.path.exists() and any(folder.path.iterdir()) and not replace:
        raise ServerError(
            f"{folder.path.name} is not empty. Name another place with --folder, or let the backup take its "
            "place with --replace"
        )
    require_room(folder.path, manifest.total_bytes)
    with alone(folder):
        _end_what_runs(folder)
        for path in folder.path.parent.glob(f"{PARTIAL}{folder.path.name}-*"):
            # of a restoration that was killed
            clear(path)
        with atomic_folder(folder.path) as temporary:
            _fill(ServerFolder(temporary), backup, manifest)
    return manifest


def _end_what_runs(folder: ServerFolder) -> None:
    """Stop a database that a killed server left running, before its files are replaced."""
    if folder.cluster.exists() and (record := folder.read()) is not None:
        cluster = cluster_of(folder, record)
        if cluster is not None and cluster.is_running():
            cluster.stop()


def _fill(folder: ServerFolder, backup: Path, manifest: Manifest) -> None:
    folder.make_secrets()
    for name in manifest.files:
        if name.startswith(f"{ARTIFACTS}/"):
            make_folder((folder.path / name).parent)
            shutil.copyfile(backup / name, folder.path / name)
    make_folder(folder.artifacts)
    dumps = {name: backup / dump_name(manifest.database, name) for name in (RUNS, USERS)}
    if manifest.database == "sqlite":
        for name, dump in dumps.items():
            shutil.copyfile(dump, folder.sqlite(name))
            folder.sqlite(name).chmod(0o600)
    else:
        _load(require_postgresql(folder.cluster, folder.password_file), dumps, manifest)
    folder.make(ServerRecord(database=manifest.database, artifacts=manifest.artifacts))


def _load(cluster: Cluster, dumps: dict[str, Path], manifest: Manifest) -> None:
    if (manifest.postgresql or 0) > (installed := major_version(cluster)):
        raise ServerError(
            f"the backup was made by PostgreSQL {manifest.postgresql}, installed is {installed}. Install "
            f"PostgreSQL {manifest.postgresql} or later"
        )
    cluster.make()
    with cluster.running():
        for name, dump in dumps.items():
            cluster.make_database(name)
            cluster.load(name, dump)
