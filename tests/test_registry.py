"""Registered models: an ensemble a version, champions chosen by hand, the test set looked at knowingly."""

from __future__ import annotations

import logging
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from preprocessed_subjects import saved_volumes
from tracked_project import COMMIT, EVALUATION, PREFIX, SETS, make_project, store_of, train
from typer.testing import CliRunner

from ricenet.cli.promote import promote as promote_command
from ricenet.inference.test_vote import read_ledger
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import read_json, write_json
from ricenet.tracking.champion_vote import Rules, vote
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.promotion import promote_through_gate
from ricenet.tracking.publish import publish
from ricenet.tracking.register_models import model_card, register_ensembles, version_at_hand
from ricenet.tracking.registry import (
    RegisteredEnsemble,
    best_set,
    champions,
    load_registered,
    promotable_version,
    versions,
)
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.vocabulary import channels

STAGES = Path(__file__).parents[1] / "src" / "stages"
DOSE = "rice-net-dose"
GIT_COMMIT = "mlflow.source.git.commit"
RULES = Rules(seed=7, resamples=300)


def promote(store: TrackingStore, modality_set: str, version: int | None = None) -> RegisteredEnsemble:
    return promote_through_gate(store, PREFIX, modality_set, version, seed=7, resamples=300)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def module_project(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrackingStore]:
    project = Path(shutil.copytree(files, tmp_path_factory.mktemp("registered") / "project"))
    store = store_of(project)
    register_ensembles(project, store, PREFIX)
    return project, store


@pytest.fixture
def registered(module_project: tuple[Path, TrackingStore]) -> tuple[Path, TrackingStore]:
    """Both sets registered once, without champions, votes or looks."""
    project, store = module_project
    client = store.client()
    for model in client.search_registered_models():
        for alias in model.aliases:
            client.delete_registered_model_alias(model.name, alias)
    (project / "models/test_ledger.tsv").unlink(missing_ok=True)
    shutil.rmtree(project / "work/vote", ignore_errors=True)
    return project, store


def run_stage(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    runpy.run_path(str(STAGES / f"{name}.py"))["main"]()


def crown(project: Path, store: TrackingStore, modality_set: str) -> None:
    promote(store, modality_set)
    digests = {name: ensemble.digest for name, ensemble in champions(store, PREFIX).items()}
    write_json(project / "work/champions.json", digests)


def test_a_set_is_a_model_and_its_ensemble_a_version(registered: tuple[Path, TrackingStore]) -> None:
    project, store = registered

    for name in SETS:
        (version,) = versions(store, PREFIX, name)
        ensemble = read_json(project / "models/ensembles" / name / "ensemble.json")
        assert version.model == f"rice-net-{name}"
        assert version.digest == ensemble["digest"]
        assert version.tags["ricenet.splits_digest"] == ensemble["splits_digest"]
        run = store.client().get_run(version.run_id)
        assert run.info.run_name == name
        (logged,) = store.client().search_logged_models(
            [store.experiment_id], f"source_run_id='{version.run_id}'"
        )
        assert logged.tags[GIT_COMMIT] == run.data.tags[GIT_COMMIT] == COMMIT


def test_an_ensemble_is_registered_once_and_another_training_is_a_new_version(
    files: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(files, tmp_path / "project"))
    shutil.rmtree(project / "models/ensembles/post_op+dose")
    store = store_of(project)
    first = register_ensembles(project, store, PREFIX)

    assert register_ensembles(project, store, PREFIX) == first
    assert [v.version for v in versions(store, PREFIX, "dose")] == ["1"]

    digest = train(project, "dose", seed=8)
    register_ensembles(project, store, PREFIX)

    assert [v.version for v in versions(store, PREFIX, "dose")] == ["1", "2"]
    assert versions(store, PREFIX, "dose")[-1].digest == digest
    assert promote(store, "dose").version == "2"
    assert promote(store, "dose", 1).version == "1"
    assert champions(store, PREFIX)["dose"].version == "1"
    assert version_at_hand(project, store, PREFIX, "dose") == 2

    train(project, "dose", seed=7)
    register_ensembles(project, store, PREFIX)

    assert version_at_hand(project, store, PREFIX, "dose") == 1
    assert version_at_hand(project, store, PREFIX, "event") is None


def test_a_version_does_not_claim_the_commit_at_which_it_was_registered(files: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(files, tmp_path / "project"))
    shutil.rmtree(project / "models/ensembles/post_op+dose")
    for path in (project / "work/training/dose").rglob("fold.json"):
        write_json(path, {**read_json(path), "commit": None})
    store = store_of(project)
    register_ensembles(project, store, PREFIX)

    (logged,) = store.client().search_logged_models([store.experiment_id])
    assert GIT_COMMIT not in logged.tags


def test_a_registered_version_predicts_what_the_files_predict(registered: tuple[Path, TrackingStore]) -> None:
    project, store = registered
    volumes = np.random.default_rng(0).normal(size=(3, 2, 8, 8, 8)).astype(np.float32)
    expected = Ensemble.load(project / "models/ensembles/post_op+dose").predict(volumes)

    answer = load_registered(store, versions(store, PREFIX, "post_op+dose")[0])(volumes)

    assert list(answer.columns) == ["fold_0", "fold_1", "votes_rice", "p_rice", "label"]
    np.testing.assert_allclose(answer[["fold_0", "fold_1"]], expected, rtol=1e-12)
    np.testing.assert_allclose(answer["p_rice"], expected.mean(axis=1), rtol=1e-12)
    rice = majority_vote(expected)
    assert list(answer["label"]) == ["rice" if r else "recurrence" for r in rice]


def test_a_registered_version_holds_no_pickle(registered: tuple[Path, TrackingStore]) -> None:
    project, _ = registered
    models = [p for p in (project / "mlflow/artifacts/models").rglob("*") if p.is_file()]

    assert {p.suffix for p in models} <= {".safetensors", ".json", ".py", ".yaml", ".txt", ""}
    assert all(p.read_bytes()[:1] != b"\x80" for p in models)


def test_the_model_card_says_what_it_is_not_for() -> None:
    ensemble = {"folds": 5, "preprocessing": {"cube_voxels": 32}}

    card = model_card("post_op+dose", ensemble, EVALUATION["dose"], "data/demo", synthetic=True)

    assert "not for clinical use" in card
    assert "macro-F1: 0.750, SD over folds 0.050, 8 subjects" in card
    assert "(N, 2, 32, 32, 32), float32, in the order post_op, dose" in card
    assert "`demo` (synthetic)" in card


def test_the_model_card_does_not_say_where_the_cohort_lies() -> None:
    ensemble = {"folds": 5, "preprocessing": {"cube_voxels": 32}}

    card = model_card("dose", ensemble, {}, "/home/dr.example/patients/centre-3/", synthetic=False)

    assert "Trained on the cohort `centre-3`." in card
    assert "dr.example" not in card and "synthetic" not in card


def test_without_a_champion_the_next_step_is_said(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project, _ = registered
    caplog.set_level(logging.INFO, "ricenet")

    run_stage("resolve", project, monkeypatch)
    run_stage("vote", project, monkeypatch)

    assert caplog.text.count("No champion yet: compare the runs with `make ui`, then `ricenet promote") == 2
    assert read_json(project / "work/champions.json") == {}
    assert read_json(project / "work/vote/vote.json") == {}
    assert not (project / "models/test_ledger.tsv").exists()


def test_an_alias_moved_in_the_web_page_changes_the_champions(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered
    champions_file = project / "work/champions.json"
    store.client().set_registered_model_alias(DOSE, "champion", "1")
    run_stage("resolve", project, monkeypatch)
    first = champions_file.read_bytes()
    run_stage("resolve", project, monkeypatch)

    assert read_json(champions_file) == {"dose": versions(store, PREFIX, "dose")[0].digest}
    assert champions_file.read_bytes() == first

    store.client().delete_registered_model_alias(DOSE, "champion")
    run_stage("resolve", project, monkeypatch)

    assert read_json(champions_file) == {}


def test_the_register_stage_names_contents_and_not_runs(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered
    run_stage("register", project, monkeypatch)

    assert read_json(project / "work/registered.json") == {
        name: {"model": f"rice-net-{name}", "digest": versions(store, PREFIX, name)[0].digest}
        for name in SETS
    }


def test_promotion_refuses_what_is_not_there(registered: tuple[Path, TrackingStore]) -> None:
    _, store = registered

    with pytest.raises(
        RegistryError, match=r"unknown modality set 'doses'; expected one of post_op, .* or best"
    ):
        promote(store, "doses")
    with pytest.raises(RegistryError, match=r"no model is registered for event\. .*`dvc repro`"):
        promotable_version(store, PREFIX, "event")
    with pytest.raises(RegistryError, match=r"rice-net-dose has no version 9; it has 1"):
        promotable_version(store, PREFIX, "dose", 9)


def test_a_champion_of_another_program_is_refused(registered: tuple[Path, TrackingStore]) -> None:
    _, store = registered
    client = store.client()
    source = client.get_model_version(DOSE, "1").source
    foreign = client.create_model_version(DOSE, source)
    client.set_registered_model_alias(DOSE, "champion", foreign.version)

    with pytest.raises(RegistryError, match=r"not registered by this project.*`ricenet promote dose`"):
        champions(store, PREFIX)

    client.delete_registered_model_alias(DOSE, "champion")
    client.delete_model_version(DOSE, foreign.version)


def test_the_best_set_has_the_highest_cross_validated_macro_f1(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", EVALUATION)

    assert best_set(tmp_path / "metrics.json") == "post_op+dose"
    with pytest.raises(ResultError, match=r"missing or empty\. The stage `evaluate` makes it"):
        best_set(tmp_path / "nothing.json")


def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(promote_command)
    return CliRunner().invoke(app, arguments)


def test_the_command_promotes_the_best_set_once(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered
    monkeypatch.chdir(project)

    first = command("best", "--if-none", "--demo-only")
    second = command("dose", "--if-none")

    assert first.exit_code == second.exit_code == 0
    assert first.stdout.startswith("rice-net-post_op+dose version 1 (ensemble ")
    assert "nothing promoted: the champion is rice-net-post_op+dose version 1" in second.stdout
    assert set(champions(store, PREFIX)) == {"post_op+dose"}


def test_the_command_leaves_other_cohorts_than_the_demo_alone(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered
    monkeypatch.chdir(project)
    params = project / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("root: data/demo", "root: data/ours"))

    outcome = command("best", "--demo-only")
    params.write_text(before)

    assert outcome.exit_code == 0
    assert outcome.stdout == "nothing promoted: the cohort is data/ours, not data/demo\n"
    assert champions(store, PREFIX) == {}
    assert command("nonsense").exit_code == 1


def test_every_ensemble_that_votes_is_a_row_in_the_ledger_and_a_metric_of_the_run(
    registered: tuple[Path, TrackingStore],
) -> None:
    project, store = registered
    crown(project, store, "post_op+dose")
    volumes = np.stack([saved_volumes(project / f"work/preprocessed/sub-0{i}") for i in ("09", "10")])
    ensemble = Ensemble.load(project / "models/ensembles/post_op+dose")
    rice = majority_vote(ensemble.predict(volumes[:, channels("post_op+dose")]))

    first = vote(project, store, PREFIX, RULES)["post_op+dose"]
    ledger = (project / "models/test_ledger.tsv").read_bytes()
    vote(project, store, PREFIX, RULES)  # as after a change of a comment in the code
    publish(project, store)

    assert (project / "models/test_ledger.tsv").read_bytes() == ledger

    rows = read_ledger(project / "models/test_ledger.tsv")
    assert [(row.look, row.model, row.version, row.n) for row in rows] == [
        (1, "rice-net-post_op+dose", "1", 2)
    ]
    # sub-009 is rice, sub-010 is recurrence
    assert first.confusion == ((int(not rice[1]), int(rice[1])), (int(not rice[0]), int(rice[0])))
    run = store.client().get_run(versions(store, PREFIX, "post_op+dose")[0].run_id)
    assert run.data.metrics["test_macro_f1"] == first.macro_f1
    assert run.data.metrics["test_looks"] == 1
    table = (project / "work/vote/post_op+dose.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in table] == ["participant_id", "sub-009", "sub-010"]


def test_without_test_subjects_nobody_votes(
    registered: tuple[Path, TrackingStore], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ricenet.cohort import splits

    project, store = registered
    crown(project, store, "dose")
    empty = splits.Splits({"sub-001": "rice", "sub-002": "rice"}, (("sub-001",), ("sub-002",)), ())
    monkeypatch.setattr("ricenet.tracking.champion_vote.read_splits", lambda path: empty)
    caplog.set_level(logging.INFO, "ricenet")

    assert vote(project, store, PREFIX, RULES) == {}
    assert "The splits hold no test subjects" in caplog.text
    assert not (project / "models/test_ledger.tsv").exists()


@pytest.fixture
def stale_dose(registered: tuple[Path, TrackingStore]) -> Iterator[None]:
    """The version of the dose as if it had been trained on other volumes."""
    client = registered[1].client()
    before = client.get_model_version(DOSE, "1").tags["ricenet.preprocessing_digest"]
    client.set_model_version_tag(DOSE, "1", "ricenet.preprocessing_digest", "q" * 64)
    yield
    client.set_model_version_tag(DOSE, "1", "ricenet.preprocessing_digest", before)


@pytest.mark.usefixtures("stale_dose")
def test_a_champion_of_other_data_does_not_vote_and_does_not_keep_the_others_from_it(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project, store = registered
    crown(project, store, "dose")
    crown(project, store, "post_op+dose")

    run_stage("vote", project, monkeypatch)

    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert (
        "of dose does not vote: its preprocessing_digest is qqqqqqqqqqqq, at hand is pppppppppppp" in warning
    )
    assert "(`ricenet promote dose`), then `dvc repro`" in warning
    assert set(read_json(project / "work/vote/vote.json")) == {"post_op+dose"}
    assert [row.modality_set for row in read_ledger(project / "models/test_ledger.tsv")] == ["post_op+dose"]


def test_a_champion_that_does_not_say_what_it_was_trained_on_does_not_vote(
    registered: tuple[Path, TrackingStore], caplog: pytest.LogCaptureFixture
) -> None:
    project, store = registered
    crown(project, store, "dose")
    client = store.client()
    tag = "ricenet.splits_digest"
    before = client.get_model_version(DOSE, "1").tags[tag]
    client.delete_model_version_tag(DOSE, "1", tag)

    outcome = vote(project, store, PREFIX, RULES)
    client.set_model_version_tag(DOSE, "1", tag, before)

    assert outcome == {}
    assert f"its splits_digest is unknown, at hand is {before[:12]}" in caplog.text
    assert not (project / "models/test_ledger.tsv").exists()


@pytest.mark.usefixtures("stale_dose")
def test_a_champion_of_other_data_does_not_keep_the_best_set_from_promotion(
    registered: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered
    monkeypatch.chdir(project)
    promote(store, "dose")

    outcome = command("best", "--if-none")

    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("rice-net-post_op+dose version 1 (ensemble ")


def test_a_champion_that_is_not_registered_is_named(registered: tuple[Path, TrackingStore]) -> None:
    project, store = registered
    write_json(project / "work/champions.json", {"dose": "f" * 64})

    with pytest.raises(RegistryError, match=r"rice-net-dose: no version holds ensemble ffffffffffff"):
        vote(project, store, PREFIX, RULES)


def test_a_version_whose_files_are_gone_is_named(registered: tuple[Path, TrackingStore]) -> None:
    project, store = registered
    version = versions(store, PREFIX, "dose")[0]
    artifacts = project / "mlflow" / "artifacts"
    artifacts.rename(project / "mlflow" / "elsewhere")

    with pytest.raises(RegistryError, match=r"rice-net-dose version 1 .* cannot be loaded: .*Delete mlflow"):
        load_registered(store, version)
    (project / "mlflow" / "elsewhere").rename(artifacts)
