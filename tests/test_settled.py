"""An answer of MLflow's store is asked for again whenever what it depends on has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ricenet.tracking.settled import state_of, unless_unchanged


class Asked:
    """Counts how often it is asked; may do something meanwhile."""

    def __init__(self, meanwhile: Callable[[int], None] = lambda count: None) -> None:
        self.count = 0
        self.meanwhile = meanwhile

    def __call__(self) -> int:
        self.count += 1
        self.meanwhile(self.count)
        return self.count


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow/artifacts").mkdir(parents=True)
    (tmp_path / "mlflow/mlflow.db").write_text("runs")
    (tmp_path / "models").mkdir()
    return tmp_path


def answer(asked: Asked, uri: str | None = None) -> int:
    return unless_unchanged("champions", uri, [Path("models"), Path("params.yaml")], asked)


def test_nothing_is_asked_twice_where_nothing_changed() -> None:
    asked = Asked()
    assert [answer(asked) for _ in range(3)] == [1, 1, 1]


def write(path: str) -> Callable[[], None]:
    return lambda: (Path(path).parent.mkdir(parents=True, exist_ok=True), Path(path).write_text("changed"))[0]


@pytest.mark.parametrize(
    "change",
    [
        write("mlflow/mlflow.db"),
        write("mlflow/artifacts/1/model"),
        write("models/ensembles/dose/fold.json"),
        write("params.yaml"),
        lambda: Path("mlflow/mlflow.db").unlink(),
        lambda: os.utime("mlflow/mlflow.db", (1, 1)),
    ],
    ids=["database", "artifact", "ensemble", "parameters", "database-lost", "same-size"],
)
def test_a_change_of_the_store_or_of_what_is_seen_is_asked_about(change: Callable[[], None]) -> None:
    asked = Asked()
    answer(asked)
    change()
    assert answer(asked) == 2


def test_locks_are_no_change() -> None:
    asked = Asked()
    answer(asked)
    Path("mlflow/store.lock").touch()
    assert answer(asked) == 1


def test_an_answer_that_wrote_into_the_store_is_asked_for_again_and_then_remembered() -> None:
    def register(count: int) -> None:
        if count == 1:
            Path("mlflow/mlflow.db").write_text("a new run")

    asked = Asked(register)
    assert answer(asked) == 2
    assert answer(asked) == 2


def test_a_store_that_others_keep_changing_is_never_taken_from_memory() -> None:
    asked = Asked(lambda count: Path("mlflow/mlflow.db").write_text("x" * count))
    assert [answer(asked), answer(asked)] == [2, 4]


def test_a_server_or_anothers_database_is_asked_each_time() -> None:
    asked = Asked()
    assert [answer(asked, "http://localhost:5000") for _ in range(2)] == [1, 2]


def test_a_state_knows_names_sizes_and_times(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "file").write_text("text")
        os.utime(folder / "file", (1, 1))
    assert state_of([one / "file"]) == state_of([one / "file"])
    assert state_of([one]) != state_of([other])
    assert state_of([tmp_path / "missing"]) == state_of([])


def test_a_journal_that_goes_while_it_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/mlflow.db").write_text("runs")
    without = state_of([tmp_path / "store"])
    listed = Path.iterdir

    def with_one_that_is_gone(place: Path) -> Iterator[Path]:
        return iter([*listed(place), place / "mlflow.db-journal"])

    monkeypatch.setattr(Path, "iterdir", with_one_that_is_gone)
    assert state_of([tmp_path / "store"]) == without
