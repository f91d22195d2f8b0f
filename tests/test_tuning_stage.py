"""The stage `tune` and what follows: training takes the best trial's folds, MLflow shows all trials."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from small_folds import PROJECT, SERIAL, run_stage, write_project
from small_searches import Scores, small_search, trials_of

from ricenet.cohort.splits import Splits, write_splits
from ricenet.config.tuned import read_tuned
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore, open_store
from ricenet.tracking.publish import publish
from ricenet.tracking.runs import KIND, PARENT
from ricenet.tracking.tuning_runs import LiveTrials, tuning_contents
from ricenet.training.tuning.search_results import lay_out_tuning
from ricenet.training.tuning.searching import Worker, search_settings, staged_worker
from ricenet.training.tuning.trial_records import TrialObserver, read_study, read_trials

SPACE = {"training.learning_rate": [1e-3, 1e-1], "training.batch_size": [3, 4]}


def write_tuned_project(project: Path, **tuning: Any) -> None:
    """What the stages before `tune` leave; of the test subjects there are no volumes."""
    labels = write_project(project, tuning={"space": SPACE, "trials": 2, **tuning}).labels
    subjects = list(labels)
    splits = Splits(labels, (tuple(subjects[:4]), tuple(subjects[4:8])), tuple(subjects[8:]))
    write_splits(splits, project / "work/splits/splits.json")
    for subject in splits.test:
        shutil.rmtree(project / "work/preprocessed" / subject)


def kinds(store: TrackingStore) -> list[str]:
    return sorted(run.data.tags[KIND] for run in store.client().search_runs([store.experiment_id]))


def test_tuning_from_params_to_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tuned_project(tmp_path, modality_sets=["dose"])
    monkeypatch.chdir(tmp_path)
    run_stage("tune")

    study, best = read_study(tmp_path / "work/tuning/dose/study.json")
    trials = read_trials(tmp_path / "work/tuning/dose/trials.csv", study)
    assert [(trial.state, len(trial.scores)) for trial in trials] == [("complete", 2)] * 2
    assert best["macro_f1"] == max(trial.score.macro_f1 for trial in trials if trial.score)
    tuned = read_tuned(tmp_path / "work/tuning/best.json")
    assert tuned.folds_of == {"dose": [trials[best["trial"]].values] * 2}
    for name in ("history.png", "slices.png"):
        height, width, _ = matplotlib.image.imread(tmp_path / "work/tuning/dose" / name).shape
        assert 300 <= height <= 2000 and 500 <= width <= 2500

    # the best trial's folds are the very ones that training asks for: none is trained again
    kept = {path: path.stat().st_mtime_ns for path in Path("work/store/folds").glob("*/fold.json")}
    run_stage("train")
    assert {path: path.stat().st_mtime_ns for path in Path("work/store/folds").glob("*/fold.json")} == kept
    record = read_json(tmp_path / "work/training/dose/fold-0/fold.json")
    assert record["parameters"]["training.learning_rate"] == best["values"]["training.learning_rate"]

    shows_in_mlflow(tmp_path)


def shows_in_mlflow(project: Path) -> None:
    """The trials appeared during the search; publishing adds the figures once, then nothing."""
    store = open_store(project, None, "rice-net")
    runs = store.client().search_runs([store.experiment_id])
    (study,) = (run for run in runs if run.data.tags[KIND] == "tuning")
    trials = [run for run in runs if run.data.tags[KIND] == "trial"]
    assert {run.data.tags[PARENT] for run in trials} == {study.info.run_id}
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert {"macro_f1", "log_loss", "fold_macro_f1", "fold_log_loss"} == set(trials[0].data.metrics)
    assert set(trials[0].data.params) == set(SPACE)
    steps = store.client().get_metric_history(trials[0].info.run_id, "fold_macro_f1")
    assert sorted(step.step for step in steps) == [0, 1]
    assert any("tuning" in name for name in publish(project, store).completed)
    assert not publish(project, store).created
    names = {item.path for item in store.client().list_artifacts(study.info.run_id, "tuning")}
    assert {"tuning/trials.csv", "tuning/study.json", "tuning/history.png", "tuning/slices.png"} <= names
    assert kinds(store).count("trial") == 2


def test_a_nested_search_gives_each_fold_its_own_values(tmp_path: Path) -> None:
    search = small_search(tmp_path, trials=3)
    searches = [
        replace(search, outer_fold=fold, tasks=search.tasks[fold : fold + 3], keeps_folds=False)
        for fold in range(2)
    ]
    search_settings(searches, SERIAL, score_fold=Scores(tmp_path / "calls.txt"))
    lay_out_tuning(searches, 2, tmp_path / "tuning")
    found = read_json(tmp_path / "tuning/best.json")["dose"]
    assert found["nested"]
    for fold, of_fold in enumerate(searches):
        assert found["folds"][fold] == trials_of(of_fold)[found["trials"][fold]].values
        study, best = read_study(tmp_path / f"tuning/dose/fold-{fold}/study.json")
        assert (study.outer_fold, best["values"]) == (fold, found["folds"][fold])
    assert found["folds"][0] != found["folds"][1]


def test_a_worker_takes_its_volumes_along_to_another_machine(tmp_path: Path) -> None:
    search = small_search(tmp_path / "here")
    for subject in search.tasks[0].labels:
        volumes = tmp_path / "here/preprocessed" / subject / "dose.npy"
        volumes.parent.mkdir(parents=True)
        volumes.write_text(f"volumes of {subject}")
    worker = Worker(3, [search], Scores(tmp_path / "calls.txt"), TrialObserver())
    travel = staged_worker(worker)
    there = tmp_path / "there" / travel.folder.name
    copies = {}
    for number, (key, path) in enumerate(travel.inputs.items()):
        copies[key] = tmp_path / "there" / f"{number}"
        copies[key].parent.mkdir(exist_ok=True)
        copies[key].write_bytes(path.read_bytes())
    (moved,) = travel.at(copies, there).searches
    assert moved.study == search.study
    for task in moved.tasks:
        assert task.store.is_relative_to(tmp_path / "there")
        for subject in (*task.training_subjects, *task.validation_subjects):
            assert (task.preprocessed / subject / "dose.npy").read_text() == f"volumes of {subject}"


def test_importance_is_drawn_once_there_are_trials_to_compare(tmp_path: Path) -> None:
    ranges = {"training.learning_rate": (1e-4, 1e-1), "augmentation.gamma": (0.0, 0.5)}
    search = small_search(tmp_path, trials=12, ranges=ranges, folds=2)
    search_settings([search], SERIAL, score_fold=Scores(tmp_path / "calls.txt"))
    lay_out_tuning([search], 2, tmp_path / "tuning")
    height, width, _ = matplotlib.image.imread(tmp_path / "tuning/dose/importance.png").shape
    assert 150 <= height <= 1000 and 500 <= width <= 1500


def test_the_search_goes_on_without_mlflow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = LiveTrials(TrackingStore(f"sqlite:///{tmp_path}/none/mlflow.db", "1"))
    search = small_search(tmp_path, trials=2)
    elsewhere.start([search.study])
    search_settings([search], SERIAL, elsewhere, Scores(tmp_path / "calls.txt"))
    assert [trial.state for trial in trials_of(search)] == ["complete"] * 2
    assert "MLflow fails, so this appears when the search has ended: mlflow.db does not exist" in caplog.text
    assert not (tmp_path / "none").exists()


def test_damaged_results_are_reported_with_who_makes_them(tmp_path: Path) -> None:
    search = small_search(tmp_path, trials=1)
    search_settings([search], SERIAL, score_fold=Scores(tmp_path / "calls.txt"))
    lay_out_tuning([search], 4, tmp_path / "work/tuning")
    (tmp_path / "work/tuning/dose/trials.csv").unlink()
    with pytest.raises(ResultError, match=r"trials.csv cannot be read.*The stage `tune` makes it"):
        list(tuning_contents(tmp_path))


def test_without_a_set_to_tune_the_stage_loads_nothing_heavy(tmp_path: Path) -> None:
    write_tuned_project(tmp_path)
    stage = PROJECT / "src/stages/tune.py"
    heavy = "{'torch', 'mlflow', 'optuna', 'matplotlib', 'monai'}"
    code = (
        "import runpy, sys; import ricenet.training.planning; "
        f"runpy.run_path({str(stage)!r}, run_name='__main__'); "
        f"assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert read_json(tmp_path / "work/tuning/best.json") == {}
    assert [path.name for path in (tmp_path / "work/tuning").iterdir()] == ["best.json"]
