"""The database of the searches: opening it, and telling what is wrong with it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ricenet.runtime.errors import TrainingError
from ricenet.training.tuning.searches import GRACE, SQLITE

logger = logging.getLogger(__name__)

POSTGRES, DRIVER = "postgresql://", "postgresql+psycopg://"
WAIT_FOR_LOCK_S = 60
MOST_RETRIES = 3
"""Of a trial whose process dies: what kills it may be its own settings."""

OPTUNAS_TABLE = "studies"


def open_storage(address: str, heartbeat_s: int) -> RDBStorage:
    """The database at an address, made where it is a sqlite file that does not exist yet.

    A trial that is not heard of for GRACE heartbeats is failed, and its values are queued again.
    Raises TrainingError: the database cannot be reached, or is another program's.
    """
    with database_errors(address):
        return _open(address, heartbeat_s)


class _Storage(RDBStorage):
    """Goes on where the database is away for a moment; without this, one missed heartbeat is the last."""

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, SQLAlchemyError) as error:
            logger.warning("the database of the searches does not answer: %s", _found(error))


@lru_cache(maxsize=8)
def _open(address: str, heartbeat_s: int) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    is_file = address.startswith(SQLITE)
    if is_file:
        Path(address.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    _refuse_another_programs(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _Storage(
            address.replace(POSTGRES, DRIVER),
            # trials take hours: a server may have closed the connection meanwhile
            {"connect_args": {"timeout": WAIT_FOR_LOCK_S}} if is_file else {"pool_pre_ping": True},
            heartbeat_interval=heartbeat_s,
            grace_period=GRACE * heartbeat_s,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES),
        )


def _refuse_another_programs(address: str) -> None:
    engine = sqlalchemy.create_engine(address.replace(POSTGRES, DRIVER))
    try:
        tables = sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if tables and OPTUNAS_TABLE not in tables:
        raise TrainingError(
            f"the database {address} is another program's, with the tables {', '.join(sorted(tables)[:5])}; "
            "expected none or those of Optuna. Name a database for the searches alone in tuning.storage"
        )


@contextlib.contextmanager
def database_errors(address: str) -> Iterator[None]:
    """Turn what a database refuses into a TrainingError that names it and says what to do."""
    try:
        yield
    except ImportError as error:
        if not address.startswith(POSTGRES):
            raise
        raise TrainingError(
            f"tuning.storage is {address}, and the driver {error.name} is not installed: "
            "pip install 'ricenet[postgres]', or set tuning.storage to null"
        ) from None
    except RuntimeError as error:
        if "schema" not in str(error):
            raise
        raise TrainingError(
            f"the database {address} was made by another version of Optuna. Move it away, or run "
            f"`optuna storage upgrade --storage {address}`"
        ) from None
    except (StorageInternalError, SQLAlchemyError) as error:
        raise TrainingError(
            f"the database {address} cannot be used: {_found(error)}. {_remedy(address)}"
        ) from None


def _found(error: Exception) -> str:
    """The database's own words, without the statement."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, DBAPIError) and cause.orig is not None:
        cause = cause.orig
    return " ".join(str(cause or error).split())[:300]


def _remedy(address: str) -> str:
    if address.startswith(SQLITE):
        return (
            "Trials that have ended are kept if the file is: make room on its disk, see that it is yours to "
            "write, or move it away to begin the searches anew; then run `dvc repro`"
        )
    return (
        "Check that the server is up, that the database exists, and that PGUSER and PGPASSWORD or ~/.pgpass "
        "let you in; then run `dvc repro`"
    )
