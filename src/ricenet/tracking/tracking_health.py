"""How the MLflow store is, without loading MLflow: a question of `ricenet doctor`."""

from __future__ import annotations

import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ricenet.runtime.errors import RegistryError
from ricenet.runtime.git import home_of
from ricenet.runtime.probe import Answer, place_text
from ricenet.tracking.address import (
    SQLITE,
    VARIABLE,
    address_of,
    chosen_uri,
    differs,
    is_server,
    redacted,
)
from ricenet.tracking.moved_project import is_same_place

PATIENCE_S = 2.0

_COUNTED = {
    "run(s)": "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'",
    "model(s)": "SELECT count(*) FROM registered_models",
    # MLflow 3 keeps the row of a deleted version, under a stage of its own
    "version(s)": "SELECT count(*) FROM model_versions WHERE current_stage <> 'Deleted_Internal'",
    "champion(s)": "SELECT count(*) FROM registered_model_aliases WHERE alias = 'champion'",
}


def tracking(project: Path, uri: str | None, experiment: str) -> Answer:
    """Where runs are kept and by which setting, if it can be reached, what it holds. uri: of params.yaml."""
    try:
        # an address with a password in it is refused by the commands, and shown here without
        chosen = uri if uri is not None else chosen_uri(None)
    except RegistryError as error:
        return Answer(redacted(str(error)), "attention")
    answer = _answer(project, chosen, experiment)
    if differs(uri):
        return replace(answer, text=f"{answer.text}; tracking.uri counts, {VARIABLE} names another")
    if uri is None and chosen is not None:
        return replace(answer, text=f"{answer.text}; by {VARIABLE}")
    return answer


def _answer(project: Path, uri: str | None, experiment: str) -> Answer:
    if is_server(uri):
        return _server(str(uri))
    address = address_of(uri, home_of(project))
    if not address.startswith(SQLITE):
        return Answer(f"{redacted(address).partition('://')[0]} database, not asked (it needs MLflow)")
    database = Path(address.removeprefix(SQLITE))
    where = place_text(database, project)
    if not database.is_file():
        return Answer(f"{where} is not there: the first training makes it", "absent")
    try:
        return _database(database, where, home_of(project) / "mlflow" / "artifacts", experiment)
    except sqlite3.Error as error:
        return Answer(f"{where} cannot be read ({type(error).__name__})", "attention")


def _database(database: Path, where: str, artifacts: Path, experiment: str) -> Answer:
    # read only: a probe must not make a database, nor wait long for one that is in use
    source = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(source, uri=True, timeout=PATIENCE_S)) as connection:
        counts = [f"{connection.execute(query).fetchone()[0]} {what}" for what, query in _COUNTED.items()]
        found = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
    text = f"{where}: {', '.join(counts)}"
    if found is None:
        return Answer(f"{text}; no experiment {experiment} yet")
    if not is_same_place(found[0], artifacts):
        how = "the next command mends it" if artifacts.is_dir() else "move mlflow/artifacts here too"
        return Answer(f"{text}; it was moved from another folder: {how}", "attention")
    return Answer(text)


def _server(uri: str) -> Answer:
    """An MLflow server answers /health to everybody."""
    where = redacted(uri)
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE_S) as answer:
            return Answer(f"{where} answers ({answer.status})")
    except urllib.error.HTTPError as error:
        return Answer(f"{where} is reached, and refuses ({error.code})", "attention")
    except (OSError, ValueError) as error:
        return Answer(f"{where} cannot be reached ({type(error).__name__})", "attention")
