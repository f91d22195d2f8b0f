"""MLflow's runs are a projection of the files."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.db import utils
from preprocessed_subjects import head_of
from small_results import write_fold, write_json, write_text
from tracked_project import COMMIT, EPOCHS, EVALUATION, SETS, empty_database, make_project, store_of

from ricenet.config.params import read_params
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import read_json
from ricenet.runtime.git import home_of
from ricenet.runtime.store import seal
from ricenet.tracking.address import redacted
from ricenet.tracking.connection import TrackingStore, mlflow_errors, open_store
from ricenet.tracking.publish import publish
from ricenet.tracking.run_content import code_tags, common_params, flat
from ricenet.tracking.runs import search_runs
from ricenet.training.history import read_history
from ricenet.training.task import FoldTask

GIT_COMMIT = "mlflow.source.git.commit"
METRICS = ("train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("files"))


@pytest.fixture
def project(files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files, tmp_path / "project"))


@pytest.fixture(scope="module")
def published(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, TrackingStore]]:
    """Published once; tests that use it change nothing."""
    project = Path(shutil.copytree(files, tmp_path_factory.mktemp("published") / "project"))
    store = store_of(project)
    publish(project, store)
    yield project, store


def runs(store: TrackingStore) -> dict:
    return {run.info.run_name: run for run in store.client().search_runs([store.experiment_id])}


def artifacts(store: TrackingStore, run_name: str, folder: str) -> set[str]:
    run_id = runs(store)[run_name].info.run_id
    return {item.path for item in store.client().list_artifacts(run_id, folder)}


def history(store: TrackingStore, run_name: str, metric: str) -> list[tuple[int, float]]:
    run_id = runs(store)[run_name].info.run_id
    logged = store.client().get_metric_history(run_id, metric)
    return sorted((m.step, m.value) for m in logged)


def test_a_set_is_a_run_and_its_folds_are_its_children(published: tuple[Path, TrackingStore]) -> None:
    _, store = published
    by_name = runs(store)

    assert set(by_name) == {*SETS, *(f"{name} fold {k}" for name in SETS for k in (0, 1))}
    for name in SETS:
        for k in (0, 1):
            parent = by_name[f"{name} fold {k}"].data.tags["mlflow.parentRunId"]
            assert parent == by_name[name].info.run_id
    assert {run.info.status for run in by_name.values()} == {"FINISHED"}


def test_a_set_run_holds_the_cross_validation_and_the_settings_that_its_folds_share(
    published: tuple[Path, TrackingStore],
) -> None:
    _, store = published
    data = runs(store)["dose"].data
    assert {name: data.metrics[name] for name in ("macro_f1_mean", "macro_f1_sd")} == {
        name: EVALUATION["dose"][name] for name in ("macro_f1_mean", "macro_f1_sd")
    }
    assert [data.metrics[f"confusion_{cell}"] for cell in ("tn", "fp", "fn", "tp")] == [3, 1, 1, 3]
    settings = {
        "preprocessing.cube_voxels": "8",
        "preprocessing.brain.mode": "fast",
        "training.epochs": str(EPOCHS),
        "training.learning_rate": "0.001",
        "seed": "7",
        "folds": "2",
    }
    assert settings.items() <= data.params.items() and "fold" not in data.params
    assert data.tags["ricenet.data_digest"] == "d" * 64
    assert artifacts(store, "dose", "occlusion/sub-001") == {"occlusion/sub-001/figure.png"}
    assert artifacts(store, "dose", "figures") == {"figures/macro_f1.png"}
    assert artifacts(store, "post_op+dose", "occlusion") == set()


def test_a_setting_in_which_folds_differ_is_not_the_sets() -> None:
    records = [
        {"modality_set": "dose", "fold": k, "seed": 7, "parameters": {"training": {"epochs": 4 + k, "lr": 1}}}
        for k in (0, 1)
    ]

    assert common_params(records) == {"modality_set": "dose", "seed": "7", "training.lr": "1"}


def test_a_fold_run_holds_every_epoch_of_the_table(published: tuple[Path, TrackingStore]) -> None:
    project, store = published
    table = read_history(project / "work/training/dose/fold-1/history.csv")

    for metric in METRICS:
        assert history(store, "dose fold 1", metric) == [
            (epoch, getattr(values, metric)) for epoch, values in enumerate(table, start=1)
        ]
    assert runs(store)["dose fold 1"].data.metrics["macro_f1"] == 0.8
    assert runs(store)["dose fold 1"].data.params["training.epochs"] == str(EPOCHS)
    assert artifacts(store, "dose fold 1", "checkpoint") == {"checkpoint/fold-1.safetensors"}
    assert "training/predictions.tsv" in artifacts(store, "dose fold 1", "training")


def test_runs_are_found_however_many_pages_they_fill(
    published: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = published
    key = next(iter(runs(store).values())).data.tags["ricenet.set_key"]
    whole = [run.info.run_id for run in search_runs(store, f"tags.`ricenet.set_key` = '{key}'")]
    assert len(whole) > 1
    monkeypatch.setattr("ricenet.tracking.runs.RUNS_PER_CALL", 1)
    assert [run.info.run_id for run in search_runs(store, f"tags.`ricenet.set_key` = '{key}'")] == whole


def test_publishing_again_writes_nothing(published: tuple[Path, TrackingStore]) -> None:
    project, store = published
    database = project / "mlflow" / "mlflow.db"
    before, bytes_before = runs(store), database.read_bytes()

    again = publish(project, store)

    assert (again.created, again.completed) == ((), ())
    assert {n: r.info.run_id for n, r in runs(store).items()} == {n: r.info.run_id for n, r in before.items()}
    assert database.read_bytes() == bytes_before


def test_a_lost_database_is_rebuilt_from_the_files(
    published: tuple[Path, TrackingStore], tmp_path: Path
) -> None:
    old_project, old_store = published
    project = tmp_path / "rebuilt"
    for folder in ("work", "models"):
        shutil.copytree(old_project / folder, project / folder)
    store = store_of(project)

    assert len(publish(project, store).created) == 6

    old, new = runs(old_store), runs(store)
    for name in old:
        assert new[name].data.metrics == old[name].data.metrics
        assert new[name].data.params == old[name].data.params
        assert new[name].data.tags["ricenet.key"] == old[name].data.tags["ricenet.key"]
    assert history(store, "dose fold 0", "train_loss") == history(old_store, "dose fold 0", "train_loss")


def test_later_files_complete_the_runs_that_exist(project: Path) -> None:
    store = store_of(project)
    publish(project, store)
    digest = read_json(project / "models/ensembles/dose/ensemble.json")["digest"]
    write_text(project / "work/report/index.html", "a page")
    (project / "work/evaluation/figures/macro_f1.png").rename(
        project / "work/evaluation/figures/figure_2.png"
    )
    write_json(project / "work/vote/vote.json", {"dose": {"macro_f1": 0.5, "digest": digest}})
    write_text(project / "work/vote/dose.tsv", "votes")
    store.client().delete_run(runs(store)["dose fold 0"].info.run_id)

    outcome = publish(project, store)

    assert outcome.created == ("dose fold 0",)
    assert outcome.completed == ("dose", "post_op+dose")
    assert artifacts(store, "dose", "figures") == {"figures/figure_2.png"}
    assert artifacts(store, "dose", "report") == {"report/index.html"}
    assert artifacts(store, "dose", "vote") == {"vote/dose.tsv"}
    assert runs(store)["dose"].data.metrics["test_macro_f1"] == 0.5
    assert "test_macro_f1" not in runs(store)["post_op+dose"].data.metrics


@pytest.mark.parametrize("changed", [range(1, EPOCHS + 1), [2]], ids=["all epochs", "one epoch"])
def test_training_again_with_another_outcome_replaces_the_run(project: Path, changed: Sequence[int]) -> None:
    store = store_of(project)
    publish(project, store)
    old = runs(store)["dose fold 1"].info.run_id
    path = project / "work/training/dose/fold-1/history.csv"
    table = path.read_text().splitlines()
    for epoch in changed:
        table[epoch] = table[epoch].replace("0.", "0.9")
    path.write_text("\n".join(table) + "\n")
    assert publish(project, store).created == ("dose fold 1",)
    assert runs(store)["dose fold 1"].info.run_id != old
    assert len(history(store, "dose fold 1", "train_loss")) == EPOCHS


def fold_task(folder: Path) -> FoldTask:
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    return FoldTask(
        modality_set="dose",
        fold=0,
        seed=7,
        training=params.training,
        augmentation=params.augmentation,
        network=params.network,
        grid=head_of(8, 6.0),
        labels={"sub-001": "rice", "sub-002": "recurrence"},
        training_subjects=("sub-001",),
        validation_subjects=("sub-002",),
        subject_keys={"sub-001": "one", "sub-002": "two"},
        code="code",
        preprocessed=folder,
        store=folder / "store",
    )


def test_a_training_records_the_commit_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    elsewhere = fold_task(tmp_path)
    write_text(tmp_path / "params.yaml", "seed: 7")
    monkeypatch.chdir(tmp_path)
    task = fold_task(tmp_path)

    assert (task.record["commit"], task.record["uncommitted_changes"]) == (head.strip(), True)
    assert pickle.loads(pickle.dumps(task)).record == task.record  # noqa: S301
    assert task.key == elsewhere.key


def test_a_finished_training_keeps_the_commit_of_then(tmp_path: Path) -> None:
    task = fold_task(tmp_path)
    write_json(task.folder / "fold.json", {**task.record, "commit": "then"})
    seal(task.folder, ["fold.json"])

    assert fold_task(tmp_path).record["commit"] == "then"


def test_runs_name_the_commit_that_trained_them_and_not_the_present_one(
    published: tuple[Path, TrackingStore],
) -> None:
    _, store = published

    for run in runs(store).values():
        assert run.data.tags[GIT_COMMIT] == COMMIT
        assert run.data.tags["ricenet.uncommitted_changes"] == "false"


def test_folds_of_two_commits_and_settings_leave_their_set_without_these(project: Path) -> None:
    store = store_of(project)
    publish(project, store)
    before = runs(store)["dose"].data.tags["ricenet.params_digest"]
    path = project / "work/training/dose/fold-1/fold.json"
    changed = json.loads(path.read_text().replace("0.001", "0.002"))
    write_json(path, {**changed, "commit": "b" * 40, "uncommitted_changes": True})
    publish(project, store)
    assert runs(store)["dose"].data.tags["ricenet.params_digest"] != before
    assert runs(store)["dose fold 1"].data.tags[GIT_COMMIT] == "b" * 40
    assert GIT_COMMIT not in runs(store)["dose"].data.tags
    assert runs(store)["dose"].data.tags["ricenet.uncommitted_changes"] == "true"


def test_without_git_no_commit_is_claimed() -> None:
    assert code_tags([{"commit": None, "uncommitted_changes": False}]) == {
        "ricenet.uncommitted_changes": "false"
    }
    assert code_tags([{}]) == {}


def test_a_database_whose_making_is_killed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = utils.InitialBase.metadata.create_all

    def killed(engine: Any) -> None:
        made(engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils.InitialBase.metadata, "create_all", killed)
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path, None, "rice-net")
    assert not (tmp_path / "mlflow/mlflow.db").exists()
    assert open_store(tmp_path, None, "rice-net").experiment_id
    assert [path.name for path in (tmp_path / "mlflow").iterdir() if path.suffix != ".lock"] == ["mlflow.db"]


def test_processes_that_open_a_new_store_at_once_share_it(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ricenet.tracking.connection import open_store; "
        f"open_store(Path({str(tmp_path)!r}), None, 'rice-net')"
    )
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]

    assert [process.wait() for process in started] == [0, 0]
    found = [e.name for e in store_of(tmp_path).client().search_experiments()]
    assert found.count("rice-net") == 1


def test_the_experiment_opens_in_the_view_that_compares_runs(published: tuple[Path, TrackingStore]) -> None:
    _, store = published
    experiment = store.client().get_experiment(store.experiment_id)

    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_deleted_experiment_is_restored(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.client().delete_experiment(store.experiment_id)

    assert store_of(tmp_path) == store
    assert store.client().get_experiment(store.experiment_id).lifecycle_stage == "active"


def test_a_database_that_was_moved_without_its_artifacts_is_refused(
    published: tuple[Path, TrackingStore], tmp_path: Path
) -> None:
    old, _ = published
    (tmp_path / "mlflow").mkdir()
    shutil.copy(old / "mlflow/mlflow.db", tmp_path / "mlflow/mlflow.db")

    with pytest.raises(RegistryError, match=r"made in another folder.*expected .*Delete mlflow/mlflow.db"):
        store_of(tmp_path)


def test_an_unreachable_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 cannot be used.*Check that it is reachable"):
        open_store(tmp_path, "http://127.0.0.1:9", "rice-net")


def test_a_relative_database_lies_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(empty_database())
    store = open_store(tmp_path, "sqlite:///runs.db", "rice-net")

    assert store.database == tmp_path / "runs.db"
    assert (tmp_path / "runs.db").is_file()


def test_the_files_of_every_sqlite_store_lie_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "runs.db").write_bytes(empty_database())
    store = open_store(project, f"sqlite:///{tmp_path}/runs.db", "rice-net")

    experiment = store.client().get_experiment(store.experiment_id)
    assert experiment.artifact_location == (project / "mlflow" / "artifacts").as_uri()
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(RegistryError, match=r"another folder.*is this project's alone.*tracking.experiment"):
        open_store(elsewhere, f"sqlite:///{tmp_path}/runs.db", "rice-net")


@pytest.mark.parametrize(
    "uri", ["http://ann:se/cret@127.0.0.1:9", "https://ann:se@cret@127.0.0.1:9", "HTTP://se:cret@host/x"]
)
def test_an_address_with_a_password_is_refused_without_repeating_it(tmp_path: Path, uri: str) -> None:
    with pytest.raises(
        RegistryError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        open_store(tmp_path, uri, "rice-net")

    assert "cret" not in str(caught.value)
    assert "ann" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_passwords_of_databases_are_left_out_of_errors() -> None:
    uri = "postgresql://ann:secret@db.example.org/runs"

    with (
        pytest.raises(RegistryError, match=r"store postgresql://\*\*\*@db.example.org/runs cannot") as caught,
        mlflow_errors(uri),
    ):
        raise ConnectionError(f"no answer from {uri}")
    assert "secret" not in str(caught.value)
    assert redacted("http://127.0.0.1:5000 of ann@example.org") == "http://127.0.0.1:5000 of ann@example.org"


def test_a_temporary_copy_of_dvc_records_in_the_project_itself(tmp_path: Path) -> None:
    assert home_of(tmp_path / ".dvc" / "tmp" / "exps" / "tmp1") == tmp_path
    assert home_of(tmp_path) == tmp_path


def test_settings_become_dotted_names() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": None}) == {"a.b.c": "1", "d": "None"}


@pytest.mark.parametrize(
    "name",
    [
        "work/training/dose/fold-1/fold.json",
        "work/training/dose/fold-1/history.csv",
        "work/training/dose/fold-1/predictions.tsv",
        "models/ensembles/dose/fold-1.safetensors",
    ],
)
def test_a_missing_file_of_the_project_is_not_taken_for_a_fault_of_mlflow(
    published: tuple[Path, TrackingStore], name: str
) -> None:
    project, store = published
    kept = (project / name).rename(project / "kept")
    with pytest.raises(ResultError, match=rf"{name} .*The stage `train` makes it: run `dvc repro`"):
        publish(project, store)
    kept.rename(project / name)


def test_a_project_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "mlflow", "a file where the folder should be")

    with pytest.raises(RegistryError, match=r"mlflow.db cannot be used"):
        open_store(tmp_path, None, "rice-net")


def test_a_half_trained_set_is_not_published(project: Path) -> None:
    (project / "models/ensembles/dose/ensemble.json").unlink()
    write_fold(project, "event", 0)
    store = store_of(project)

    assert {name.split()[0] for name in publish(project, store).created} == {"post_op+dose"}
