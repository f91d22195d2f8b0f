"""Two clones and one MLflow server: a colleague moves the alias, and the other clone votes by content."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registered_project import DOSE, run_stage
from tracked_project import PREFIX, empty_database, make_project, train
from tracking_servers import Server

from ricenet.inference.test_ledger import ledger_path, read_ledger
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import open_store
from ricenet.tracking.own_record import own_ensembles
from ricenet.tracking.registry import RegisteredEnsemble, versions

Stage = Callable[[Path, str], None]


class Shared:
    """Anna's project registered dose twice on a server; the second training is at hand."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder)
        self.server.database.write_bytes(empty_database())
        self.server.start()
        self.anna = make_project(folder / "anna")
        shutil.rmtree(self.anna / "models/ensembles/post_op+dose")
        params = self.anna / "params.yaml"
        params.write_text(params.read_text().replace("uri: null ", f"uri: {self.server.uri} "))
        with pytest.MonkeyPatch.context() as patched:
            run_stage("register", self.anna, patched)
            self.after_first = shutil.copytree(self.anna / "models", folder / "after-first")
            train(self.anna, "dose", seed=8)
            run_stage("register", self.anna, patched)

    @property
    def versions(self) -> list[RegisteredEnsemble]:
        return versions(open_store(self.anna, self.server.uri, "rice-net"), f"{PREFIX}-dose")

    def clone(self, folder: Path) -> Path:
        """What git and DVC bring of Anna's project, and nothing that stays on her machine."""
        for name in ("work", "models"):
            ignored = shutil.ignore_patterns("store", "settled", "*.lock", "champions.json", "vote")
            shutil.copytree(self.anna / name, folder / name, ignore=ignored)
        shutil.copy(self.anna / "params.yaml", folder)
        return folder

    def move_alias(self, version: int) -> None:
        """What MLflow's web page sends."""
        body = json.dumps({"name": DOSE, "alias": "champion", "version": str(version)}).encode()
        url = f"{self.server.uri}/api/2.0/mlflow/registered-models/alias"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.server.kill()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return lambda project, name: run_stage(name, project, monkeypatch)


def voted(project: Path) -> str:
    digest: str = read_json(project / "work/vote/vote.json")["dose"]["digest"]
    return digest


def test_a_champion_that_a_colleague_promoted_votes_here_by_its_content(
    shared: Shared, stage: Stage, tmp_path: Path
) -> None:
    """Version 1 lies on the server alone: it is fetched, held against models/registered.json, and votes."""
    bert, first = shared.clone(tmp_path / "bert"), shared.versions[0]
    shared.move_alias(1)
    stage(bert, "resolve")
    assert read_json(bert / "work/champions.json") == {"dose": first.digest}
    stage(bert, "vote")
    assert voted(bert) == first.digest
    (row,) = read_ledger(ledger_path(bert))
    assert (row.model, row.version, row.gate, row.evaluation) == (DOSE, "1", "passed", 1)
    assert row.digest12 == first.digest[:12]
    metrics = open_store(bert, shared.server.uri, "rice-net").client().get_run(str(first.run_id)).data.metrics
    assert metrics["test_evaluations"] == 1
    # what one clone evaluates reaches the other by git, not by the server
    assert not ledger_path(shared.anna).exists()
    # asked each time: a server may have changed whenever it likes
    shared.move_alias(2)
    stage(bert, "resolve")
    assert read_json(bert / "work/champions.json") == {"dose": shared.versions[1].digest}


def test_an_alias_that_moves_between_resolving_and_voting_changes_the_next_vote(
    shared: Shared, stage: Stage, tmp_path: Path
) -> None:
    bert, (first, second) = shared.clone(tmp_path / "bert"), shared.versions
    shared.move_alias(1)
    stage(bert, "resolve")
    shared.move_alias(2)
    stage(bert, "vote")
    assert voted(bert) == first.digest
    stage(bert, "resolve")
    stage(bert, "vote")
    assert voted(bert) == second.digest
    assert [row.version for row in read_ledger(ledger_path(bert))] == ["1", "2"]


def test_a_version_that_the_clone_does_not_know_is_refused_and_git_brings_its_entry(
    shared: Shared, stage: Stage, tmp_path: Path
) -> None:
    """Anna registered version 2 after the clone was made, or somebody else did: a server proves nothing."""
    bert, (first, second) = shared.clone(tmp_path / "bert"), shared.versions
    known = (bert / "models/registered.json").read_bytes()
    shutil.rmtree(bert / "models")
    shutil.copytree(shared.after_first, bert / "models")
    shutil.rmtree(bert / "work/evidence")
    assert set(own_ensembles(bert)) == {first.digest}
    shared.move_alias(2)
    stage(bert, "resolve")
    with pytest.raises(RegistryError, match=r"version 2 .* is not among .*registered\.json.*git pull"):
        stage(bert, "vote")
    assert not ledger_path(bert).exists() and not (bert / "work/vote").exists()
    (bert / "models/registered.json").write_bytes(known)
    stage(bert, "vote")
    assert voted(bert) == second.digest


def test_evidence_on_the_server_counts_only_as_git_holds_it(
    shared: Shared, stage: Stage, tmp_path: Path
) -> None:
    bert = shared.clone(tmp_path / "bert")
    record = bert / "models/registered.json"
    gate = own_ensembles(bert)[shared.versions[0].digest].gate
    record.write_text(record.read_text().replace(str(gate), "0" * 64))
    shared.move_alias(1)
    stage(bert, "resolve")
    with pytest.raises(RegistryError, match=r"the evidence in its run is not what this project recorded"):
        stage(bert, "vote")
    assert not ledger_path(bert).exists()
