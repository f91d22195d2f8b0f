"""Whether a server's databases fit the MLflow that is installed, asked without loading MLflow."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ricenet.runtime.errors import ServerError
from ricenet.tracking.server.server_folder import RUNS, USERS, DatabaseKind, ServerFolder

if TYPE_CHECKING:
    from sqlalchemy import Connection

Schema = Literal["absent", "current", "older", "newer"]

_TABLES = {RUNS: "alembic_version", USERS: "alembic_version_auth"}
_SCRIPTS = {RUNS: "store/db_migrations", USERS: "server/auth/db/migrations"}


def schema_of(folder: ServerFolder, kind: DatabaseKind, name: str) -> Schema:
    """How a database's tables stand to those of the installed MLflow. name: RUNS or USERS."""
    revision = revision_of(folder, kind, name)
    return "absent" if revision is None else compared(revision, name)


def compared(revision: str, name: str) -> Schema:
    """How a revision of a database's tables stands to the installed MLflow's."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(_mlflow() / _SCRIPTS[name]))
    if revision == scripts.get_current_head():
        return "current"
    return "older" if revision in {script.revision for script in scripts.walk_revisions()} else "newer"


def revision_of(folder: ServerFolder, kind: DatabaseKind, name: str) -> str | None:
    """The revision of a database's tables; None where it has none yet."""
    with _asked(folder, kind, name) as connection:
        if connection is None or not _has(connection, _TABLES[name]):
            return None
        return str(connection.exec_driver_sql(f"SELECT version_num FROM {_TABLES[name]}").scalar())


def has_admin(folder: ServerFolder, kind: DatabaseKind) -> bool:
    """Whether somebody can sign in who may do everything."""
    with _asked(folder, kind, USERS) as connection:
        if connection is None or not _has(connection, "users"):
            return False
        return bool(connection.exec_driver_sql("SELECT count(*) FROM users WHERE is_admin").scalar())


def require_schema(folder: ServerFolder, kind: DatabaseKind, upgrade: bool) -> None:
    """Bring an older database up to date, where that is wanted; of users MLflow does it by itself.

    Raises ServerError: a later MLflow made it, it is older and `upgrade` is False, or upgrading fails.
    """
    for name in (RUNS, USERS):
        if schema_of(folder, kind, name) == "newer":
            raise ServerError(
                f"the server's database {name} was made by a later MLflow than the installed one. Install "
                "the ricenet that made it, or restore a backup of before (docs/server.md)"
            )
    if schema_of(folder, kind, RUNS) != "older":
        return
    if not upgrade:
        raise ServerError(
            "the server's database was made by an earlier MLflow. Back it up (`ricenet tracking backup`), "
            "then start once with --upgrade"
        )
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", folder.uri(kind, RUNS)]
    environment = os.environ | {"PGPASSFILE": str(folder.password_file)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[-500:]
        raise ServerError(f"the server's database cannot be upgraded: {said}. Restore the backup")


@contextlib.contextmanager
def _asked(folder: ServerFolder, kind: DatabaseKind, name: str) -> Iterator[Connection | None]:
    """A connection to a database; None where its file is missing, which a connection would make."""
    import sqlalchemy

    if kind == "sqlite" and not folder.sqlite(name).exists():
        yield None
        return
    known = {} if kind == "sqlite" else {"passfile": str(folder.password_file)}
    engine = sqlalchemy.create_engine(folder.uri(kind, name), connect_args=known)
    try:
        with engine.connect() as connection:
            yield connection
    except sqlalchemy.exc.DatabaseError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise ServerError(
            f"the server's database {name} cannot be read: {said}. Restore a backup: "
            "`ricenet tracking restore`"
        ) from error
    finally:
        engine.dispose()


def _has(connection: Connection, table: str) -> bool:
    import sqlalchemy

    return sqlalchemy.inspect(connection).has_table(table)


def _mlflow() -> Path:
    found = importlib.util.find_spec("mlflow")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
