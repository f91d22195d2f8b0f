"""Registered models: a version per ensemble, loaded from files of the registered digest and nothing else."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from registered_project import DOSE, Registered, promote, run_stage
from scipy.special import expit, logit
from small_ensembles import ensemble_record
from tracked_project import COMMIT, EVALUATION, PREFIX, SETS, VARIABLES, make_project, store_of, train

from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.runtime.errors import FormatError, RegistryError
from ricenet.runtime.files import read_json, write_json
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.evidence_content import recalibration_of
from ricenet.tracking.own_record import OwnEnsemble, note_registered, own_ensembles, own_record_path
from ricenet.tracking.register_models import bring_champions_back, register_ensembles, version_at_hand
from ricenet.tracking.registry import (
    RegisteredEnsemble,
    champions,
    find_registered,
    promotable_version,
    versions,
)
from ricenet.tracking.settled import ENSEMBLES
from ricenet.tracking.unregistered_models import clear_unregistered
from ricenet.tracking.version_card import model_card
from ricenet.tracking.version_files import decision_threshold, ensemble_files
from ricenet.training.ensemble import Ensemble, majority_vote

GIT_COMMIT = "mlflow.source.git.commit"


def artifacts_of(registered: Registered, version: RegisteredEnsemble) -> Path:
    """Where MLflow keeps a version's files."""
    source = registered.store.client().get_model_version_download_uri(version.model, version.version)
    if source.startswith("models:/"):
        source = registered.store.client().get_logged_model(source.removeprefix("models:/")).artifact_location
    return Path(source.removeprefix("file://"))


# --- registering ---


def test_a_set_is_a_model_and_its_ensembles_are_versions(registered: Registered) -> None:
    digests = [version.digest for version in registered.versions("dose")]
    assert len(set(digests)) == 2
    assert digests[-1] == read_json(registered.project / "models/ensembles/dose/ensemble.json")["digest"]
    for name in SETS:
        version, store = registered.versions(name)[-1], registered.store
        ensemble = read_json(registered.project / "models/ensembles" / name / "ensemble.json")
        assert version.modality_set == name and version.is_readable
        assert version.tags["ricenet.splits_digest"] == ensemble["splits_digest"]
        run = store.client().get_run(str(version.run_id))
        assert run.info.run_name == name
        (logged,) = store.client().search_logged_models(
            [store.experiment_id], f"source_run_id='{version.run_id}'"
        )
        assert logged.tags[GIT_COMMIT] == run.data.tags[GIT_COMMIT] == COMMIT


def test_an_ensemble_is_registered_once_however_often_the_stage_runs(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = registered.project, registered.store
    run_stage("register", project, monkeypatch)
    assert read_json(project / "work/registered.json") == {
        name: {"model": f"rice-net-{name}", "digest": registered.versions(name)[-1].digest} for name in SETS
    }
    assert [v.version for v in registered.versions("dose")] == ["1", "2"]
    assert version_at_hand(project, store, PREFIX, "dose") == 2
    train(project, "dose", seed=7)
    assert version_at_hand(project, store, PREFIX, "dose") == 1
    assert version_at_hand(project, store, PREFIX, "event") is None


def test_what_a_kill_left_of_a_model_goes_when_it_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project")
    shutil.rmtree(project / "models/ensembles/post_op+dose")
    store = store_of(project)
    with monkeypatch.context() as patch:
        # as if killed between the model and its version
        patch.setattr(mlflow.MlflowClient, "create_model_version", lambda *_, **__: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                register_ensembles(project, store, PREFIX)
    register_ensembles(project, store, PREFIX)
    (logged,) = store.client().search_logged_models([store.experiment_id])
    (version,) = store.client().search_model_versions(f"name = '{DOSE}'")
    assert logged.model_id in version.source
    # and no other than that
    clear_unregistered(store, str(version.run_id), "ensemble")
    assert [m.model_id for m in store.client().search_logged_models([store.experiment_id])] == [
        logged.model_id
    ]
    assert len(list((project / "mlflow/artifacts/models").glob("*/artifacts/MLmodel"))) == 1


def test_a_version_does_not_claim_the_commit_at_which_it_was_registered(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    shutil.rmtree(project / "models/ensembles/post_op+dose")
    for path in (project / "work/training/dose").rglob("fold.json"):
        write_json(path, {**read_json(path), "commit": None})
    store = store_of(project)
    register_ensembles(project, store, PREFIX)
    (logged,) = store.client().search_logged_models([store.experiment_id])
    assert GIT_COMMIT not in logged.tags


def test_the_model_card_says_what_it_is_not_for_and_not_where_the_cohort_lies() -> None:
    ensemble = ensemble_record(
        "post_op+dose", folds=5, preprocessing={"cube_voxels": 32, "spacing_mm": 6.0}, variables=VARIABLES
    )
    card = model_card(ensemble, EVALUATION["dose"], "/home/dr.example/patients/centre-3/", synthetic=True)
    assert "not for clinical use" in card
    assert "macro-F1: 0.750, SD over folds 0.050, 8 subjects" in card
    assert "(N, 2, 32, 32, 32), float32, in the order post_op, dose; and the variables age_years" in card
    assert "Trained on the cohort `centre-3` (synthetic)." in card and "dr.example" not in card
    assert "synthetic" not in model_card(ensemble, {}, "data/ours", synthetic=False)


# --- which version ---


def test_an_alias_moved_in_the_web_page_changes_the_champions(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    champions_file = registered.project / "work/champions.json"
    registered.store.client().set_registered_model_alias(DOSE, "champion", "1")
    run_stage("resolve", registered.project, monkeypatch)
    first = champions_file.read_bytes()
    run_stage("resolve", registered.project, monkeypatch)
    assert read_json(champions_file) == {"dose": registered.versions("dose")[0].digest}
    assert champions_file.read_bytes() == first

    caplog.set_level(logging.INFO, "ricenet")
    registered.store.client().delete_registered_model_alias(DOSE, "champion")
    run_stage("resolve", registered.project, monkeypatch)
    assert read_json(champions_file) == {}
    assert "No champion yet: compare the runs with `make ui`, then `ricenet promote" in caplog.text


def test_versions_are_found_by_alias_number_or_as_the_only_champion(registered: Registered) -> None:
    registered.move_alias(1)
    addresses = (None, "models:/rice-net-dose@champion", "models:/rice-net-dose/1")
    found = [find_registered(registered.store, PREFIX, address) for address in addresses]
    assert found[0] == found[1] == found[2] == registered.versions("dose")[0]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("rice-net-dose", "'rice-net-dose' is no model; expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/rice-net-nose/1", r"no registered model rice-net-nose; there is rice-net-dose"),
        ("models:/rice-net-dose@best", r"has no alias best; it has champion$"),
        ("models:/rice-net-post_op+dose@best", r"has no alias best; it has none$"),
        ("models:/rice-net-dose/9", r"has no version 9 that this project registered; it has 1, 2$"),
    ],
)
def test_an_unknown_model_is_refused(registered: Registered, uri: str, message: str) -> None:
    registered.move_alias()
    with pytest.raises(RegistryError, match=message):
        find_registered(registered.store, PREFIX, uri)


def test_without_an_address_there_has_to_be_one_champion(registered: Registered) -> None:
    with pytest.raises(RegistryError, match=r"no champion: promote a version"):
        find_registered(registered.store, PREFIX, None)
    for name in SETS:
        registered.move_alias(modality_set=name)
    with pytest.raises(RegistryError, match=r"2 champions, name one of them as the model: models:/rice-net"):
        find_registered(registered.store, PREFIX, None)


@pytest.mark.parametrize(
    ("modality_set", "version", "message"),
    [
        ("doses", None, r"no model is registered for doses \(but for dose, post_op\+dose\)"),
        ("event", None, r"no model is registered for event .*`dvc repro`"),
        ("dose", 9, r"rice-net-dose has no version 9; it has 1, 2$"),
    ],
)
def test_promotion_refuses_what_is_not_there(
    registered: Registered, modality_set: str, version: int | None, message: str
) -> None:
    with pytest.raises(RegistryError, match=message):
        promotable_version(registered.store, PREFIX, modality_set, version)


@pytest.fixture
def older(registered: Registered) -> Iterator[Registered]:
    """The first version of the dose as an earlier version of ricenet left it."""
    client = registered.store.client()
    client.delete_model_version_tag(DOSE, "1", "ricenet.format")
    yield registered
    client.set_model_version_tag(DOSE, "1", "ricenet.format", "2")


def test_what_an_earlier_version_of_ricenet_made_is_named_and_not_used(
    older: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    older.store.client().set_registered_model_alias(DOSE, "champion", "1")
    run_stage("resolve", older.project, monkeypatch)
    assert read_json(older.project / "work/champions.json") == {}
    assert "rice-net-dose version 1 is the champion, but was made by an earlier version" in caplog.text
    refused = promote("dose", "--version", "1")
    assert refused.exit_code == 1
    assert "made by an earlier version of ricenet. Train and register it again" in refused.stderr
    assert "no version 9; it has 1 (another ricenet), 2" in promote("dose", "--version", "9").stderr
    with pytest.raises(FormatError, match="made by an earlier version"):
        ensemble_files(older.project, older.store, older.versions("dose")[0])
    assert promote("dose").stdout.startswith("rice-net-dose version 2")
    assert older.champions() == {"dose": "2"}


def test_a_champion_of_another_program_does_not_count_and_can_be_replaced(
    registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    client = registered.store.client()
    mlflow.set_tracking_uri(registered.store.uri)
    foreign = client.create_model_version(DOSE, client.get_model_version(DOSE, "1").source)
    client.set_registered_model_alias(DOSE, "champion", foreign.version)
    assert champions(registered.store, PREFIX) == {}
    assert "not registered by this project (no tag ricenet.digest): it does not vote" in caplog.text
    assert [version.version for version in versions(registered.store, DOSE)] == ["1", "2"]
    assert promote("dose").exit_code == 0
    client.delete_model_version(DOSE, foreign.version)


# --- champions that MLflow lost ---


@pytest.fixture
def bare(registered: Registered, tmp_path: Path) -> tuple[Path, TrackingStore]:
    """A clone of the project, its results pulled, with an MLflow that holds nothing."""
    for name in ("work", "models"):
        shutil.copytree(registered.project / name, tmp_path / "bare" / name)
    shutil.copy(registered.project / "params.yaml", tmp_path / "bare")
    return tmp_path / "bare", store_of(tmp_path / "bare")


def test_a_champion_at_hand_comes_back_and_a_removed_alias_does_not(
    registered: Registered, bare: tuple[Path, TrackingStore]
) -> None:
    project, store = bare
    digest = registered.versions("dose")[1].digest
    bring_champions_back(project, store, PREFIX, {"dose": digest})
    (champion,) = champions(store, PREFIX).values()
    assert (champion.modality_set, champion.digest, champion.version) == ("dose", digest, "1")
    # MLflow now holds the model: what it says of the alias counts
    store.client().delete_registered_model_alias(DOSE, "champion")
    bring_champions_back(project, store, PREFIX, {"dose": digest})
    assert champions(store, PREFIX) == {}


def test_a_champion_that_is_not_at_hand_or_not_noted_does_not_come_back(
    registered: Registered, bare: tuple[Path, TrackingStore], caplog: pytest.LogCaptureFixture
) -> None:
    project, store = bare
    first, second = (version.digest for version in registered.versions("dose"))
    # of the first training, whose files the second one replaced
    bring_champions_back(project, store, PREFIX, {"dose": first})
    assert f"does not hold the former champion of dose (ensemble {first[:12]})" in caplog.text
    # models/registered.json decides, whatever lies in models/ensembles
    (project / "models/registered.json").unlink()
    bring_champions_back(project, store, PREFIX, {"dose": second})
    assert f"does not hold the former champion of dose (ensemble {second[:12]})" in caplog.text
    assert champions(store, PREFIX) == {} and versions(store, DOSE) == []


# --- a version's files ---


def test_files_at_hand_are_used_and_others_fetched_once(registered: Registered) -> None:
    project, store = registered.project, registered.store
    first, second = registered.versions("dose")
    assert ensemble_files(project, store, second) == project / "models/ensembles/dose"
    folder = ensemble_files(project, store, first)
    assert Ensemble.load(folder).digest == first.digest
    assert folder.is_relative_to(project / ENSEMBLES)
    written = (folder / "ensemble.json").stat().st_mtime_ns
    assert ensemble_files(project, store, first) == folder
    assert (folder / "ensemble.json").stat().st_mtime_ns == written
    with pytest.raises(RegistryError, match=r"version 1: tag ricenet\.digest is no digest"):
        ensemble_files(project, store, replace(first, digest="../elsewhere"))


def test_damaged_files_at_hand_are_not_used(registered: Registered) -> None:
    second = registered.versions("dose")[1]
    path = registered.project / "models/ensembles/dose/fold-1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    fetched = ensemble_files(registered.project, registered.store, second)
    assert fetched.is_relative_to(registered.project / ENSEMBLES)
    assert Ensemble.load(fetched).digest == second.digest


@pytest.mark.parametrize("fault", ["gone", "exchanged", "damaged"])
def test_files_that_are_not_those_that_were_registered_are_refused(
    registered: Registered, tmp_path: Path, fault: str
) -> None:
    first, second = registered.versions("dose")
    of_first, kept = artifacts_of(registered, first), tmp_path / "kept"
    shutil.copytree(of_first, kept)
    if fault == "exchanged":
        # consistent in itself, but another ensemble
        shutil.copytree(artifacts_of(registered, second), of_first, dirs_exist_ok=True)
    elif fault == "damaged":
        (path,) = of_first.rglob("fold-0.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        shutil.rmtree(of_first)
    with pytest.raises(RegistryError, match=r"rice-net-dose version 1 .* cannot be loaded: .*Delete mlflow"):
        ensemble_files(registered.project, registered.store, first)
    shutil.rmtree(of_first, ignore_errors=True)
    shutil.copytree(kept, of_first)
    assert Ensemble.load(ensemble_files(registered.project, registered.store, first)).digest == first.digest


def test_an_ensemble_that_was_exchanged_together_with_its_tag_is_refused(
    registered: Registered, tmp_path: Path
) -> None:
    """Consistent in itself and with MLflow, but none that this project noted."""
    first, client = registered.versions("dose")[0], registered.store.client()
    digest = train(make_project(tmp_path / "theirs"), "dose", seed=99)
    of_first, kept = artifacts_of(registered, first), tmp_path / "kept"
    shutil.copytree(of_first, kept)
    (record,) = of_first.rglob("ensemble.json")
    shutil.copytree(tmp_path / "theirs/models/ensembles/dose", record.parent, dirs_exist_ok=True)
    client.set_model_version_tag(DOSE, "1", "ricenet.digest", digest)
    theirs = registered.versions("dose")[0]
    try:
        with pytest.raises(RegistryError, match=r"version 1 .* is not among the ensembles that this project"):
            ensemble_files(registered.project, registered.store, theirs)
        with pytest.raises(RegistryError, match=r"version 1 .* is not among the ensembles that this project"):
            decision_threshold(registered.project, theirs)
    finally:
        client.set_model_version_tag(DOSE, "1", "ricenet.digest", first.digest)
        shutil.rmtree(of_first)
        shutil.copytree(kept, of_first)


def test_votes_are_decided_by_what_the_project_noted_and_not_by_changed_tags(registered: Registered) -> None:
    first, second = registered.versions("dose")
    noted = decision_threshold(registered.project, first)
    assert noted is not None and noted.least_confidence == 0.6
    for tags in ({**first.tags, "ricenet.least_confidence": "0.5"}, {}):
        with pytest.raises(RegistryError, match=r"its tags in MLflow decide votes by other numbers"):
            decision_threshold(registered.project, replace(first, tags=tags))
        # of the second the evidence is at hand, which decides alone: also before anything was noted
        assert decision_threshold(registered.project, replace(second, tags=tags)) == noted
    elsewhere = {**second.tags, "ricenet.splits_digest": "0" * 64}
    with pytest.raises(RegistryError, match=r"name other data than its files do \(splits_digest\)"):
        ensemble_files(registered.project, registered.store, replace(second, tags=elsewhere))
    with pytest.raises(RegistryError, match=r"tagged as event, but was registered for dose"):
        decision_threshold(registered.project, replace(first, modality_set="event"))


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.symlink_to("gone")])
def test_a_record_of_registrations_that_cannot_be_read_counts_as_a_fault_and_not_as_empty(
    registered: Registered, damage: Callable[[Path], None]
) -> None:
    path = own_record_path(registered.project)
    path.unlink()
    damage(path)
    with pytest.raises(RegistryError, match=r"is no record of registered ensembles\. Restore it from git"):
        ensemble_files(registered.project, registered.store, registered.versions("dose")[0])
    path.unlink()


def test_what_is_known_of_the_evidence_stays_noted_where_it_is_no_longer_at_hand(
    registered: Registered,
) -> None:
    first, _ = registered.versions("dose")
    before = own_ensembles(registered.project)[first.digest]
    assert before.gate is not None and before.decision
    note_registered(registered.project, first.digest, OwnEnsemble(modality_set="dose"))
    assert own_ensembles(registered.project)[first.digest] == before


@pytest.mark.parametrize("damage", [b"", b"?"])
def test_a_damaged_download_is_fetched_again(
    registered: Registered, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = registered.versions("dose")[0]
    weights = ensemble_files(registered.project, registered.store, first) / "fold-1.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[: -1 if damage else 0] + damage)
    again = ensemble_files(registered.project, registered.store, first)
    assert "is damaged; it is replaced" in caplog.text
    assert Ensemble.load(again).digest == first.digest


def test_nothing_that_is_fetched_is_executed(registered: Registered, tmp_path: Path) -> None:
    first = registered.versions("dose")[0]
    (code,) = artifacts_of(registered, first).rglob("ensemble_model.py")
    kept, ran = code.read_text(), tmp_path / "ran"
    code.write_text(f"open({str(ran)!r}, 'w')\n{kept}")
    Ensemble.load(ensemble_files(registered.project, registered.store, first))
    code.write_text(kept)
    assert not ran.exists()


def test_a_registered_version_holds_no_pickle(registered: Registered) -> None:
    models = [p for p in artifacts_of(registered, registered.versions("dose")[0]).rglob("*") if p.is_file()]
    assert {p.suffix for p in models} <= {".safetensors", ".json", ".py", ".yaml", ".txt", ""}
    assert all(p.read_bytes()[:1] != b"\x80" for p in models)


def test_others_load_a_version_with_mlflow_and_get_what_the_files_predict(registered: Registered) -> None:
    volumes = np.random.default_rng(0).normal(size=(3, 2, 8, 8, 8)).astype(np.float32)
    expected = Ensemble.load(registered.project / "models/ensembles/post_op+dose").predict(volumes)
    mlflow.set_tracking_uri(registered.store.uri)
    model = mlflow.pyfunc.load_model("models:/rice-net-post_op+dose/1")
    kinds = np.array(["photon", "", "proton"])
    answer = model.predict(
        {"volumes": volumes, "age_years": np.array([50.0, np.nan, 70.0]), "rt_modality": kinds}
    )
    columns = ["votes_rice", "p_rice", "p_rice_calibrated", "label", "three_way"]
    assert list(answer.columns) == ["fold_0", "fold_1", *columns]
    # by the temperature of 2 and the threshold of 0.6 that the gate's record holds
    calibrated = expit(logit(expected) / 2).mean(axis=1)
    np.testing.assert_allclose(answer["p_rice_calibrated"], calibrated, rtol=1e-12)
    agrees = (calibrated >= 0.5) == majority_vote(expected)
    answered = (np.maximum(calibrated, 1 - calibrated) >= 0.6) & agrees
    assert list(answer["three_way"] == answer["label"]) == list(answered)
    np.testing.assert_allclose(answer[["fold_0", "fold_1"]], expected, rtol=1e-12)
    np.testing.assert_allclose(answer["p_rice"], expected.mean(axis=1), rtol=1e-12)
    assert list(answer["label"]) == ["rice" if r else "recurrence" for r in majority_vote(expected)]
    inputs = {given["name"]: given["tensor-spec"] for given in model.metadata.signature.inputs.to_dict()}
    assert inputs["volumes"] == {"dtype": "float32", "shape": (-1, 2, 8, 8, 8)}
    assert list(inputs) == ["volumes", "age_years", "rt_modality"]


def test_a_version_with_a_temperature_alone_is_recalibrated_by_it() -> None:
    halved = Recalibration(method="temperature", slope=0.5, intercept=0.0)
    platt = Recalibration(method="Platt", slope=0.25, intercept=-1.5)
    assert recalibration_of({"ricenet.temperature": "2.0"}) == halved
    both = {"ricenet.temperature": "2.0", "ricenet.calibration": platt.model_dump_json()}
    assert recalibration_of(both) == platt
    for damaged in ({}, {"ricenet.temperature": "0"}, {"ricenet.calibration": "{"}):
        assert recalibration_of(damaged) is None
