"""A project that was moved or copied together with its MLflow database, which holds absolute places."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from ricenet.runtime.errors import RegistryError

logger = logging.getLogger(__name__)

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""Tables and columns of MLflow's database that hold where files lie (MLflow 3.17)."""


def is_same_place(found: str, here: Path) -> bool:
    """Whether an artifact location is a folder, be it by another way through links."""
    if found == here.as_uri():
        return True
    before = _path(found)
    return before is not None and before.exists() and here.exists() and before.samefile(here)


def follow(database: Path, found: str, here: Path) -> bool:
    """Let a database that was moved along with its project's artifacts name their new place.

    found: where the project's experiment keeps artifacts. here: where the project keeps them now.
    All places change in one transaction; runs, models and aliases stay. Returns False, and changes nothing,
    where the artifacts did not come along or the place is no folder of such a project.
    Raises RegistryError: the database cannot be written.
    """
    before = _path(found)
    if before is None or before.parts[-2:] != here.parts[-2:] or not here.is_dir():
        return False
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            changed = sum(_rename(connection, *place, found, here.as_uri()) for place in PLACES)
    except sqlite3.Error as error:
        raise RegistryError(
            f"{database.name}: the project was moved, and the places of its artifacts cannot be written "
            f"({error}). Make mlflow/{database.name} writable, and let no other program use it"
        ) from None
    logger.info("MLflow: the project was moved or copied; %d place(s) of artifacts now lie here", changed)
    return True


def _rename(connection: sqlite3.Connection, table: str, column: str, before: str, now: str) -> int:
    # whole folders alone: /data/rice is no part of /data/rice2
    return connection.execute(
        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '
        f'WHERE "{column}" = ? OR substr("{column}", 1, ?) = ?',
        (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
    ).rowcount


def _path(location: str) -> Path | None:
    address = urlparse(location)
    return Path(unquote(address.path)) if address.scheme == "file" else None
