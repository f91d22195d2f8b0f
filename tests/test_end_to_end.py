"""The whole protocol by `dvc repro` in a scratch clone, with the real ANTs, HD-BET, ResNet and MLflow."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from preprocessed_subjects import saved_volumes
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from ricenet.cohort.layout import RawSubject
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.runtime.files import read_json
from ricenet.vocabulary import PAPER_VOLUMES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[1]
SUBJECTS, FOLDS, EPOCHS = 8, 2, 2
SMALL_COHORT = "post_op+event+dose@small_cohort"
SETS = [*PAPER_VOLUMES.sets, SMALL_COHORT]
TINY = {
    "modality_sets": SETS,
    "recipes": {"small_cohort": {"training": {"steps": 4}}},
    # with this seed the eight subjects are four of each label, and the two for the test one of each
    "phantom": {"subjects": SUBJECTS, "seed": 2, "test_fraction": 0.25, "spacing_mm": 3.0},
    "preprocessing": {"cube_voxels": 24, "spacing_mm": 8.0},
    "split": {"folds": FOLDS},
    "network": {"widen_factor": 0.0625},
    "training": {"epochs": EPOCHS, "batch_size": 4, "checkpoint_every_epochs": 1},
    "explain": {"subjects_per_label": 1, "cube_voxels": 8, "stride_voxels": 8},
}

NAMES_OF_RUNS = """
import json
from pathlib import Path
from ricenet.config.params import read_params
from ricenet.tracking.connection import open_store

tracking = read_params().tracking
store = open_store(Path(), tracking.uri, tracking.experiment)
print(json.dumps(sorted(run.info.run_name for run in store.client().search_runs([store.experiment_id]))))
"""


class Clone:
    """A copy of the project's files in a folder and repository of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # where `make repro` has run, its results are files that git may not know
        listed = self.run(
            *("git", "-C", str(PROJECT), "ls-files", "-co", "--exclude-standard"),
            *("--", ".", ":!*dvc.lock", ":!models"),
            at=PROJECT,
        )
        for name in listed.stdout.splitlines():
            if (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)
        self.set(TINY)
        self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "scratch")

    def set(self, changes: dict[str, object]) -> None:
        yaml = YAML()
        content = yaml.load(self.folder / "params.yaml")
        merge(content, changes)
        yaml.dump(content, self.folder / "params.yaml")

    def run(
        self, *command: str, at: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "dvc-site-cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            command, cwd=at or self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done

    def repro(self) -> str:
        done = self.run("dvc", "repro")
        return done.stdout + done.stderr

    def json(self, name: str):  # type: ignore[no-untyped-def]
        return read_json(self.folder / name)

    def runs(self) -> list[str]:
        """Names of all runs in MLflow, as a new process sees them: this one would keep a deleted database."""
        return [str(name) for name in json.loads(self.run(sys.executable, "-c", NAMES_OF_RUNS).stdout)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The clone after its first `dvc repro`."""
    clone = Clone(tmp_path_factory.mktemp("scratch") / "clone")
    clone.first_output = clone.repro()  # type: ignore[attr-defined]
    return clone


def merge(content: dict[str, object], changes: dict[str, object]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and value and isinstance(content.get(name), dict):
            merge(content[name], value)  # type: ignore[arg-type]
        else:
            content[name] = in_one_line(value)


def in_one_line(value: object) -> object:
    """A list as [a, b]: below a comment, ruamel.yaml cannot write it otherwise."""
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open() as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def stages_run(output: str) -> set[str]:
    """Names of the stages that DVC ran."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage '")]
    return {line.split("'")[1].removesuffix("'").split(":")[-1] for line in lines}


def test_the_first_run_makes_everything_and_says_how_to_go_on(clone: Clone) -> None:
    assert "ricenet promote" in clone.first_output  # type: ignore[attr-defined]
    assert clone.json("work/champions.json") == {} and clone.json("work/vote/vote.json") == {}
    cohort = clone.json("work/cohort/cohort.json")
    assert len(cohort["subjects"]) == SUBJECTS and cohort["excluded"] == []
    for subject in cohort["subjects"]:
        volumes = saved_volumes(clone.folder / "work/preprocessed" / subject["participant_id"])
        assert volumes.shape == (3, 24, 24, 24) and np.isfinite(volumes).all()
        assert 0.9 < volumes[2].max() < 2.0  # dose in units of 60 Gy, whichever way it was stored
    assert set(clone.json("work/evaluation/metrics.json")) == set(SETS)
    assert len(list((clone.folder / "models/ensembles").rglob("*.safetensors"))) == len(SETS) * FOLDS
    assert len(list((clone.folder / "work/explain").rglob("occlusion.nii.gz"))) == 2
    gallery = (clone.folder / f"work/explain/{SMALL_COHORT}/index.html").read_text()
    assert gallery.count('/index.html"') == 2
    assert not list(clone.folder.glob("work/store/**/.partial*"))


def test_every_subject_has_a_page_of_quality_control_and_none_is_marked(clone: Clone) -> None:
    pages = sorted(path.name for path in (clone.folder / "work/quality").glob("sub-*.html"))
    assert pages == [f"sub-{i:03d}.html" for i in range(1, SUBJECTS + 1)]
    assert clone.json("work/quality/marked.json") == {}


def test_the_evidence_and_its_report_hold_every_set(clone: Clone) -> None:
    evidence = read_evidence(clone.folder / "work/evidence/evidence.json")
    assert set(evidence.sets) == set(SETS)
    # every two of one recipe, and the set of both
    assert len(evidence.comparisons) == 21 + 1 and len(evidence.contributions) == 3
    assert {guard.outcome for guard in evidence.guards} == {"passed"}
    assert {"majority", "dose", "site", "masks", "all"} <= {b.name for b in evidence.audit.baselines}
    robustness = clone.json("work/robustness/robustness.json")["effects"]
    assert set(robustness) == set(SETS)
    report = (clone.folder / "work/report/index.html").read_text()
    assert evidence.audit.verdict[:40] in report
    assert "SYNTHETIC" in report and "No model of this run has voted on the test set" in report


def test_every_training_is_a_run_below_its_modality_set(clone: Clone) -> None:
    # and one of quality control
    assert len(clone.runs()) == len(SETS) * (1 + FOLDS) + 1
    metrics = clone.run("dvc", "metrics", "show").stdout
    assert "macro_f1_mean" in metrics


def test_without_a_change_nothing_is_done_again(clone: Clone) -> None:
    runs, report = clone.runs(), (clone.folder / "work/report/index.html").read_bytes()
    assert stages_run(clone.repro()) == {"ledger", "register", "resolve"}
    assert clone.runs() == runs
    assert (clone.folder / "work/report/index.html").read_bytes() == report


def test_the_mlflow_store_is_rebuilt_from_the_files(clone: Clone) -> None:
    before = clone.runs()
    (clone.folder / "mlflow/mlflow.db").unlink()
    shutil.rmtree(clone.folder / "mlflow/artifacts")
    assert "train" not in stages_run(clone.repro())
    assert clone.runs() == before


def test_a_promoted_set_votes_once_and_the_look_is_recorded(clone: Clone) -> None:
    # six subjects are too few for any gate
    clone.run("ricenet", "promote", "dose", "--force", "--reason", "a test with six subjects")
    assert stages_run(clone.repro()) == {"ledger", "register", "resolve", "vote", "report"}
    vote = clone.json("work/vote/vote.json")["dose"]
    assert vote["n"] == 2 and 0 <= vote["macro_f1"] <= 1
    assert stages_run(clone.repro()) == {"ledger", "register", "resolve"}
    with (clone.folder / "models/test_ledger.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["modality_set"], row["n"], row["evaluation"]) for row in rows] == [("dose", "2", "1")]
    assert rows[0]["who"] == "n/a"


def test_a_test_subject_brought_as_a_new_case_gets_the_same_prediction(clone: Clone) -> None:
    with (clone.folder / "work/vote/dose.tsv").open() as stream:
        voted = next(csv.DictReader(stream, delimiter="\t"))
    raw = RawSubject(clone.folder / "data/demo", voted["participant_id"])
    files = {f"--{m.replace('_', '-')}": str(raw.scan(m)) for m in PAPER_VOLUMES.names}
    options = [part for pair in files.items() for part in pair]
    answer = json.loads(clone.run("ricenet", "predict", *options).stdout)
    assert answer["model"] == "rice-net-dose" and answer["label"] == voted["predicted"]
    # the cube is the post-op scan's, so nothing is lost but what the answer's four places leave out
    assert answer["p_rice_folds"] == pytest.approx(
        [float(voted[f"fold_{k}"]) for k in range(FOLDS)], abs=6e-5
    )


def test_changing_one_sets_settings_retrains_that_set_alone(clone: Clone) -> None:
    def keys() -> dict[str, list[str]]:
        return {name: clone.json(f"models/ensembles/{name}/ensemble.json")["fold_keys"] for name in SETS}

    before = keys()
    stored = set((clone.folder / "work/store/folds").iterdir())
    clone.set({"training": {"overrides": {"event": {"learning_rate": 3e-4}}}})
    clone.repro()
    assert {name for name in SETS if keys()[name] != before[name]} == {"event"}
    assert len(set((clone.folder / "work/store/folds").iterdir()) - stored) == FOLDS


def test_another_limit_marks_others_and_examines_nobody_again(clone: Clone) -> None:
    stored = set((clone.folder / "work/store/quality").glob("??/*"))
    clone.set({"quality": {"most_rotation_deg": 1e-3}})
    # the report prints every parameter
    assert stages_run(clone.repro()) == {"ledger", "quality", "register", "report", "resolve"}
    marked = clone.json("work/quality/marked.json")
    assert {m["measure"] for marks in marked.values() for m in marks} == {"rotation_deg"}
    assert len(marked) == SUBJECTS
    assert len(stored) == SUBJECTS and set((clone.folder / "work/store/quality").glob("??/*")) == stored
    assert clone.runs().count("quality") == 2


def test_other_divisions_into_folds_are_trained_where_they_are_asked_for(clone: Clone) -> None:
    clone.set({"evidence": {"repeat_fold_seeds": [1], "repeat_sets": ["dose"]}})
    assert stages_run(clone.repro()) == {"repeat", "evidence", "ledger", "register", "report", "resolve"}
    repeats = read_evidence(clone.folder / "work/evidence/evidence.json").repeats
    assert repeats is not None
    assert repeats.fold_seeds == (1,) and list(repeats.macro_f1) == ["dose"]
    everyone = {subject for fold in clone.json("work/splits/splits.json")["folds"] for subject in fold}
    repeated = clone.folder / "work/repeats/1/dose"
    judged = [row for k in range(FOLDS) for row in rows_of(repeated / f"fold-{k}" / "predictions.tsv")]
    assert {row["participant_id"] for row in judged} == everyone and len(judged) == len(everyone)


def test_a_patient_who_is_there_twice_stops_the_pipeline_before_training(clone: Clone) -> None:
    twice = clone.folder / "data/twice"
    shutil.copytree(clone.folder / "data/demo", twice)
    one, other = RawSubject(twice, "sub-002"), RawSubject(twice, "sub-003")
    for modality in PAPER_VOLUMES.names:
        shutil.copyfile(one.scan(modality), other.scan(modality))
    shutil.copyfile(one.dose_sidecar, other.dose_sidecar)
    clone.set({"cohort": {"root": "data/twice"}})
    done = clone.run("dvc", "repro", check=False)
    clone.set({"cohort": {"root": "data/demo"}})
    assert done.returncode != 0
    assert "same_image" in done.stderr and "sub-002" in done.stderr and "sub-003" in done.stderr
    assert "train" not in stages_run(done.stdout + done.stderr) and "Traceback" not in done.stderr


def test_a_faulty_subject_of_an_own_cohort_stops_the_pipeline_by_name(clone: Clone) -> None:
    mine = clone.folder / "data/mine"
    shutil.copytree(clone.folder / "data/demo", mine)
    dose = mine / "sub-003/ses-postop/rt/sub-003_ses-postop_dose.json"
    dose.unlink()
    clone.set({"cohort": {"root": "data/mine"}})
    done = clone.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "sub-003" in done.stderr and "Traceback" not in done.stderr
    assert (mine / "sub-001").is_dir()  # the user's folder is not touched
    clone.set({"cohort": {"root": "data/demo"}})
