"""A new database for MLflow: with all its tables, or absent.

MLflow 3.17 makes its tables one by one, for a second or more. A kill or a full disk in between leaves some of
them, and MLflow refuses such a database from then on ("table datasets already exists").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ricenet.runtime.files import make_folder, put_in_place
from ricenet.runtime.temporary import partial_folder


def make_database(path: Path) -> None:
    """Make a sqlite database with MLflow's tables where there is no file yet.

    Raises OSError, SQLAlchemyError: it cannot be written.
    """
    if path.exists():
        return
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH, sqlalchemy_store

    new_store: Any = sqlalchemy_store.SqlAlchemyStore
    make_folder(path.parent)
    # a folder, for sqlite locks the file in its own way, and writes a journal beside it
    with partial_folder(path.parent) as folder:
        made = folder / path.name
        store = new_store(f"sqlite:///{made}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
        # its connections are to a name that goes
        store._dispose_engine()
        put_in_place(made, path)
