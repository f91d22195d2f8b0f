"""Starting MLflow's tracking server with sign-in, on a database of its own, until Ctrl-C."""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator

from ricenet.runtime.errors import ServerError
from ricenet.runtime.files import locked, make_folder
from ricenet.tracking.server.mlflow_process import ended_by_signals, run_until_it_ends
from ricenet.tracking.server.postgres import Cluster, find_cluster, require_postgresql
from ricenet.tracking.server.schema import has_admin, require_schema
from ricenet.tracking.server.server_folder import (
    RUNS,
    USERS,
    DatabaseKind,
    ServerFolder,
    ServerRecord,
    write_secret,
)
from ricenet.tracking.server.settings import SIGN_IN_KEPT_S, ServerSettings, require_password

logger = logging.getLogger(__name__)

NOT_FOR_MLFLOW = ("MLFLOW_TRACKING_", "MLFLOW_AUTH_", "MLFLOW_REGISTRY_URI", "RICENET_SERVER_")
"""Environment variables of clients and of this command, which MLflow's server shall not take for its own."""


def serve(
    folder: ServerFolder, settings: ServerSettings, password: str | None, ready: Callable[[str], None]
) -> None:
    """Start everything, call `ready` with the page's address once it answers, and stop everything on Ctrl-C.

    password: of the administrator; needed where there is none yet.
    Raises ServerError: the port is taken, the folder cannot be used, the password is missing, PostgreSQL is
    absent, the databases do not fit the installed MLflow, or MLflow stops by itself.
    """
    require_port(settings.host, settings.port)
    with alone(folder), ended_by_signals():
        record = _made(folder, settings)
        cluster = cluster_of(folder, record)
        with contextlib.nullcontext() if cluster is None else cluster.running():
            if cluster is not None:
                for name in (RUNS, USERS):
                    cluster.make_database(name)
            require_schema(folder, record.database, settings.upgrade)
            is_new = not has_admin(folder, record.database)
            environment = _environment(
                folder, record, settings, require_password(password) if is_new else None
            )
            run_until_it_ends(_command(folder, record, settings), environment, settings, password, ready)


@contextlib.contextmanager
def alone(folder: ServerFolder) -> Iterator[None]:
    """Keep other commands from the folder meanwhile. Raises ServerError: one has it."""
    make_folder(folder.path.parent)
    try:
        with locked(folder.lock, wait=False):
            yield
    except BlockingIOError:
        raise ServerError(
            f"the server's folder {folder.path.name} is in use by another `ricenet tracking` command. Stop "
            "that one, or name another folder with --folder"
        ) from None


def cluster_of(folder: ServerFolder, record: ServerRecord) -> Cluster | None:
    """The cluster that keeps a server's databases; None where sqlite does."""
    return None if record.database == "sqlite" else require_postgresql(folder.cluster, folder.password_file)


def require_port(host: str, port: int) -> None:
    """Raise ServerError where nobody can listen at a port: it is taken, or the host is another computer's."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
    except OSError as error:
        raise ServerError(
            f"port {port} on {host} cannot be used: {error.strerror}. Stop what uses it, "
            "or choose another with --port (PORT=... of make); a host has to be one of this computer's"
        ) from None


def _made(folder: ServerFolder, settings: ServerSettings) -> ServerRecord:
    """What the server is made with, made now where there is none yet."""
    record = folder.read()
    if record is None:
        _require_empty(folder)
        record = ServerRecord(database=_kind(folder, settings), artifacts=settings.artifacts)
        folder.make_secrets()
        make_folder(folder.artifacts)
        if (cluster := cluster_of(folder, record)) is not None and not cluster.data.exists():
            cluster.make()
        folder.make(record)
        logger.info("a new server: %s, files in %s", record.database, record.artifacts or "its folder")
    for setting, wanted, kept in (
        ("--database", settings.database, record.database),
        ("--artifacts", settings.artifacts, record.artifacts),
    ):
        if wanted is not None and wanted != kept:
            raise ServerError(
                f"{setting} {wanted}: the server in {folder.path.name} was made with {kept or 'its folder'}. "
                "Leave the option out, or make another server with --folder and copy the runs there "
                "(docs/server.md)"
            )
    folder.make_secrets()
    return record


def _kind(folder: ServerFolder, settings: ServerSettings) -> DatabaseKind:
    if settings.database is not None:
        return settings.database
    if find_cluster(folder.cluster, folder.password_file) is not None:
        return "postgresql"
    logger.info("PostgreSQL is not installed, so sqlite keeps the runs: for a few people who write at a time")
    return "sqlite"


def _require_empty(folder: ServerFolder) -> None:
    """Raise ServerError where a folder holds something that is no server's, or that a server has lost."""
    own = {folder.password_file, folder.secret_key, folder.artifacts, folder.cluster}
    others = [path.name for path in folder.path.iterdir() if path not in own] if folder.path.exists() else []
    if others and not all(name.startswith(".partial-") for name in others):
        raise ServerError(
            f"the folder {folder.path.name} holds other files ({', '.join(sorted(others)[:3])}) and no "
            "server.json. Name an empty one with --folder, or restore a backup: `ricenet tracking restore`"
        )


def _environment(
    folder: ServerFolder, record: ServerRecord, settings: ServerSettings, new_password: str | None
) -> dict[str, str]:
    """What MLflow is told by variables, since everybody sees the arguments of a process."""
    sign_in = configparser.ConfigParser(interpolation=None)
    sign_in["mlflow"] = {
        "default_permission": settings.permission,
        # MLflow reads the file with interpolation
        "database_uri": folder.uri(record.database, USERS).replace("%", "%%"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(SIGN_IN_KEPT_S),
    }
    lines = [f"{name} = {value}" for name, value in sign_in["mlflow"].items()]
    write_secret(folder.sign_in, "\n".join(["[mlflow]", *lines, ""]))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_MLFLOW)}
    first = {} if new_password is None else {"MLFLOW_AUTH_ADMIN_PASSWORD": new_password}
    return kept | first | {
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.admin,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder.sign_in),
        "MLFLOW_BACKEND_STORE_URI": folder.uri(record.database, RUNS),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_REGISTRY_STORE_URI": folder.uri(record.database, RUNS),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": folder.secret_key.read_text(encoding="utf-8").strip(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PGPASSFILE": str(folder.password_file),
    }  # fmt: skip


def _command(folder: ServerFolder, record: ServerRecord, settings: ServerSettings) -> list[str]:
    workers = settings.workers or (1 if record.database == "sqlite" else 2)
    destination = record.artifacts or folder.artifacts.as_uri()
    options = {
        "--app-name": "basic-auth",
        "--host": settings.host,
        "--port": str(settings.port),
        "--workers": str(workers),
        "--artifacts-destination": destination,
        # a line a request would fill the log, and its addresses name experiments
        "--uvicorn-opts": "--log-level warning",
    }
    hosts, origins = settings.hosts_and_origins()
    if hosts:
        options |= {"--allowed-hosts": ",".join(hosts), "--cors-allowed-origins": ",".join(origins)}
    return [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)]
