"""What a project has come to, in a form that two runs of the same protocol have to share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ricenet.inference.test_ledger import ledger_path, read_ledger
from ricenet.runtime.files import file_digest
from ricenet.runtime.temporary import PARTIAL

OF_THE_MOMENT = ("last_failure.json", "stage_times.json", "in_use.json", "concurrency.json")
"""Files of work/ that tell when or how something was done, not what came out."""
COMPARED = (
    "work/cohort",
    "work/splits",
    "work/guards",
    "work/tuning",
    "work/training",
    "work/evaluation",
    "work/evidence",
    "work/robustness",
    "work/explain",
    "work/vote",
    "work/champions.json",
    "work/registered.json",
    "work/preprocessed",
    "models/ensembles",
    "models/folds.json",
    "models/registered.json",
)


def contents(project: Path) -> dict[str, str]:
    """SHA-256 of every result, by its name."""
    return {
        path.relative_to(project).as_posix(): file_digest(path)
        for name in COMPARED
        for path in sorted(_files(project / name))
    }


def ledger(project: Path) -> list[tuple[Any, ...]]:
    """The rows, whose chain is checked on reading, without the time of day."""
    return [
        (row.modality_set, row.version, row.digest12, row.n, row.macro_f1, row.evaluation, row.gate)
        for row in read_ledger(ledger_path(project))
    ]


def store_entries(project: Path) -> list[str]:
    """Results in the store, without locks."""
    store = project / "work/store"
    found = {path.parent.relative_to(store).as_posix() for path in store.rglob("contents.json")}
    return sorted(found)


def leftovers(project: Path) -> list[str]:
    """What is half written: temporary names anywhere in the project."""
    return sorted(
        path.relative_to(project).as_posix()
        for path in project.rglob(f"{PARTIAL}*")
        if ".git/" not in str(path)
    )


def tracked(project: Path, database: Path | None = None) -> dict[str, list[Any]]:
    """Runs with state and content key, versions with their digest, aliases, and models that were logged."""
    database = database or project / "mlflow/mlflow.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as open_database:
        return {name: sorted(open_database.execute(query)) for name, query in TRACKED.items()}


_ACTIVE = "r.lifecycle_stage = 'active'"
TRACKED = {
    "runs": f"SELECT r.name, r.status, t.value FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND "
    f"t.key = 'ricenet.key' WHERE {_ACTIVE}",
    "versions": "SELECT v.name, v.version, t.value FROM model_versions v JOIN model_version_tags t ON "
    "t.name = v.name AND t.version = v.version AND t.key = 'ricenet.digest' "
    "WHERE v.current_stage != 'Deleted_Internal'",
    "aliases": "SELECT name, alias, version FROM registered_model_aliases",
    "logged models": "SELECT m.name, r.name FROM logged_models m JOIN runs r ON r.run_uuid = m.source_run_id "
    "WHERE m.lifecycle_stage = 'active'",
    "epochs": f"SELECT r.name, m.key, m.step, COUNT(*) FROM metrics m JOIN runs r ON r.run_uuid = m.run_uuid "
    f"WHERE {_ACTIVE} AND m.key LIKE 'validation_%' GROUP BY 1, 2, 3",
}


def assert_same(project: Path, expected: Outcome) -> None:
    """Every result, run, version and row as in the run that nothing disturbed."""
    found = Outcome.of(project)
    differing = sorted(
        name
        for name in found.contents.keys() | expected.contents.keys()
        if found.contents.get(name) != expected.contents.get(name)
    )
    assert differing == []
    assert found.ledger == expected.ledger
    assert found.tracked == expected.tracked
    assert found.store == expected.store
    assert leftovers(project) == []


class Outcome:
    """All of it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.contents: dict[str, str] = content["contents"]
        self.ledger = [tuple(row) for row in content["ledger"]]
        self.tracked = {name: [tuple(row) for row in rows] for name, rows in content["tracked"].items()}
        self.store: list[str] = content["store"]

    @classmethod
    def of(cls, project: Path) -> Outcome:
        return cls(
            {
                "contents": contents(project),
                "ledger": ledger(project),
                "tracked": tracked(project),
                "store": store_entries(project),
            }
        )

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        return cls(json.loads(path.read_text()))


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from (path for path in place.rglob("*") if path.is_file() and path.name not in OF_THE_MOMENT)
