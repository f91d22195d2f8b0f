"""The MLflow store: a local sqlite database under mlflow/, or a server named in params.yaml."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import locked
from ricenet.runtime.full_disk import MAKE_ROOM, full_disk, is_full, no_room_found
from ricenet.runtime.git import home_of
from ricenet.tracking.address import SQLITE, VARIABLE, address_of, chosen_uri, is_server, redacted
from ricenet.tracking.moved_project import follow, is_same_place
from ricenet.tracking.new_database import make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

logger = logging.getLogger(__name__)

EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the web page opens in the view for language models, where runs cannot be compared."""

REBUILD = (
    "Delete mlflow/mlflow.db and mlflow/artifacts, then run `dvc repro`: runs and models are "
    "rebuilt from the files, with the champions that are at hand"
)


@dataclass(frozen=True)
class TrackingStore:
    """Where runs and models are recorded; holds names only, so that it travels between processes."""

    uri: str
    experiment_id: str

    @property
    def database(self) -> Path | None:
        """The sqlite file; None where a server keeps the runs."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    def client(self) -> MlflowClient:
        """A client of this store, for both runs and models."""
        return _client(self.uri)

    def require_database(self) -> None:
        """Raise FileNotFoundError where the database is missing: MLflow would make an empty one."""
        if self.database is not None and not self.database.exists():
            raise FileNotFoundError(f"{self.database.name} does not exist here")

    def one_writer(self) -> AbstractContextManager[None]:
        """Let one process at a time ask a database what a run lacks, and log it.

        Between a server's answer and the next request others may still log the same.
        """
        if self.database is None:
            return nullcontext()
        return locked(self.database.with_suffix(".lock"))


def open_store(project: Path, uri: str | None, experiment: str) -> TrackingStore:
    """Open the store, making database and experiment where they do not exist yet.

    project: the project's folder. uri: of params.yaml; None: that of MLFLOW_TRACKING_URI, or else the local
    store in `mlflow/`.
    Safe to call from several processes at once.
    A database of the project's own that was moved along with its artifacts is told where they lie now.
    Raises RegistryError: the store cannot be reached, belongs to another folder, or its address holds
    a password.
    """
    uri = chosen_uri(uri)
    home = home_of(project)
    address = address_of(uri, home)
    # without a place of its own, a database's experiment keeps its files below the working folder
    artifacts = home / "mlflow" / "artifacts" if address.startswith(SQLITE) else None
    with mlflow_errors(address), locked(home / "mlflow" / "store.lock"):
        if artifacts is not None and not (database := Path(address.removeprefix(SQLITE))).exists():
            prepare_mlflow()
            make_database(database)
        # which would make a database too, table by table
        client = _client(address)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            location = None if artifacts is None else artifacts.as_uri()
            return TrackingStore(
                address, client.create_experiment(experiment, location, dict(EXPERIMENT_KIND))
            )
        if artifacts is not None and not is_same_place(found.artifact_location, artifacts):
            database = Path(address.removeprefix(SQLITE))
            # another's database may serve another project too
            if not (database.is_relative_to(home) and follow(database, found.artifact_location, artifacts)):
                raise _of_another_folder(found, artifacts, REBUILD if uri is None else _foreign(address))
        _show_again(client, found)
        return TrackingStore(address, found.experiment_id)


def experiment_at(uri: str, experiment: str) -> Experiment | None:
    """A server's experiment, asked once; None where it has none of this name. Nothing is made.

    Raises RegistryError: the server cannot be reached, or refuses.
    """
    with mlflow_errors(uri):
        found: Experiment | None = _client(uri).get_experiment_by_name(experiment)
    return found


def mlflow_failures() -> tuple[type[Exception], ...]:
    """What MLflow raises where it refuses, or where its database, server or files cannot be reached."""
    prepare_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # a proxy in front of a server that is down answers with a page that is no JSON
    return MlflowException, OSError, SQLAlchemyError, json.JSONDecodeError


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turn a failure to talk to the store into a RegistryError that names it."""
    try:
        yield
    except mlflow_failures() as error:
        if is_full(error):
            raise RegistryError(f"the MLflow store {redacted(uri)}: {_no_room(uri, error)}") from error
        raise RegistryError(f"the MLflow store {redacted(uri)} {_refused(uri, error)}") from error


def _refused(uri: str, error: Exception) -> str:
    """Why a store cannot be used, and what to do."""
    from mlflow.exceptions import MlflowException

    text = str(error)
    refusal: Any = error if is_server(uri) and isinstance(error, MlflowException) else None
    status = None if refusal is None else refusal.get_http_status_code()
    if status == 401:
        return (
            "refuses the user name or password (401). Set the environment variables MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD to those of a user of the server"
        )
    if status == 403 and "Invalid Host header" in text:
        return (
            "does not take requests by this name (403, invalid host header). Use a name that it allows, or "
            "let it allow this one: `ricenet tracking start --allowed-host NAME`"
        )
    if status == 403:
        return (
            "does not permit that to this user (403). Ask its administrator for the permission to edit the "
            "experiment and the models (docs/server.md)"
        )
    return (
        f"cannot be used: {one_line(error)}. Check that it is reachable and that its address is right: "
        f"tracking.uri in params.yaml, or {VARIABLE} where that is null"
    )


def _no_room(uri: str, error: Exception) -> str:
    """What a full disk keeps from being written: a file that the system names, or else the database."""
    if isinstance(error, OSError):
        return f"{no_room_found(error)}. {MAKE_ROOM}"
    if uri.startswith(SQLITE):
        return f"{full_disk(Path(uri.removeprefix(SQLITE)))}. {MAKE_ROOM}"
    return "the disk of its server is full. Make room there, and run again: what is finished is kept"


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Let MLflow's functions without an address of their own use a store.

    MLflow notes the address in the environment too, where the next project of this process, and the
    programs that it starts, would take it for the user's choice: so the environment is set back.
    """
    import mlflow

    before = os.environ.get(VARIABLE)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


@contextmanager
def no_advice() -> Iterator[None]:
    """Leave out MLflow's warning that a model comes without an example of its input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def one_line(error: Exception) -> str:
    """An error's message without line breaks or passwords, shortened."""
    return redacted(" ".join(str(error).split()))[:500]


@functools.lru_cache(maxsize=8)
def _client(uri: str) -> MlflowClient:
    collecting = gc.isenabled()
    # the imports make very many objects and drop few: a fifth of their time is saved
    gc.disable()
    try:
        prepare_mlflow()
        import mlflow

        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    finally:
        if collecting:
            gc.enable()


def prepare_mlflow() -> None:
    """Keep MLflow from reporting usage to its makers, and from logging or drawing progress bars."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow  # noqa: F401  (it configures its loggers when imported)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # it logs a database's error with its traceback, and raises it besides
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _foreign(address: str) -> str:
    return (
        f"If {address.removeprefix(SQLITE)} is this project's alone, delete it and run `dvc repro`; "
        "otherwise give the project's runs another name in tracking.experiment"
    )


def _of_another_folder(experiment: Experiment, artifacts: Path, remedy: str) -> RegistryError:
    return RegistryError(
        f"the MLflow database was made in another folder: its experiment {experiment.name} keeps artifacts "
        f"in {experiment.artifact_location}, expected {artifacts.as_uri()}. Move mlflow/artifacts along with "
        f"the database. Where it is lost: {remedy}"
    )


def _show_again(client: MlflowClient, experiment: Experiment) -> None:
    if experiment.lifecycle_stage != "active":
        logger.info("MLflow: the deleted experiment %s is restored", experiment.name)
        client.restore_experiment(experiment.experiment_id)
    for key, value in EXPERIMENT_KIND.items():
        if experiment.tags.get(key) is None:
            client.set_experiment_tag(experiment.experiment_id, key, value)
