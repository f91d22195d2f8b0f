"""From an archive's export to a prediction in a scratch clone: import, check, `dvc repro`, promote, predict.

With the real ANTs, HD-BET, ResNet and MLflow. Tests follow each other: each finds what those before it left.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from cloned_project import OF_EVERY_RUN, stages_run
from end_to_end_walk import (
    ALL_THREE,
    CUBE_VOXELS,
    FOLDS,
    PATIENTS,
    PROMOTED,
    SETS,
    SMALL_COHORT,
    SUBJECTS,
    Walk,
    contents,
    folders_of,
    identifiers,
    pattern_of,
)
from preprocessed_subjects import saved_volumes

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.importing.dicom.dose import read_dose
from ricenet.runtime.tables import read_rows
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import load_nifti

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("walk"))


def raw_subject(walk: Walk, number: int) -> RawSubject:
    return RawSubject(walk.project / "data/mine", f"sub-{number:03d}")


def test_the_proposal_needs_no_decision_where_there_is_one_candidate(walk: Walk) -> None:
    assert "7 complete" in walk.proposal and "0 undecided" in walk.proposal
    assert "6 patient(s): 6 imported, 0 excluded, 0 failed" in walk.imported


def test_every_scan_lies_where_the_phantom_put_it(walk: Walk) -> None:
    rows = {row["participant_id"]: row for row in read_rows(walk.project / "data/mine/participants.tsv")}
    for number in range(1, PATIENTS):
        raw, of_patient = raw_subject(walk, number), walk.truth[f"PHANTOM-{number:04d}"]
        dose, sidecar = load_nifti(raw.scan("dose")), read_dose_sidecar(raw.dose_sidecar)
        course_gy = float(dose.data.max()) * sidecar.factor
        assert course_gy == pytest.approx(of_patient["dose_max_gy"], rel=1e-3)
        row = rows[raw.subject]
        for name in ("days_post_op_to_event", "days_planning_to_event", "days_rt_end_to_event"):
            assert int(row[name]) == of_patient[name]
        assert row["label"] == of_patient["label"]


def test_a_dose_planned_on_a_ct_follows_the_ct_within_a_millimetre_of_the_truth(walk: Walk) -> None:
    doses = {s.first.patient_id: s.first for s in walk.tree.series if s.kind == "RTDOSE"}
    placed = 0
    for number in (n for n in range(1, PATIENTS) if n != 4):  # the fourth shares the MRI's frame
        patient, raw = f"PHANTOM-{number:04d}", raw_subject(walk, number)
        found = load_nifti(raw.scan("dose")).grid
        in_ct = read_dose(doses[patient]).values.grid
        post_op_from_ct = np.array(walk.truth[patient]["post_op_world_from_ct_world"])
        centre = (np.array(found.shape) - 1) / 2
        expected = post_op_from_ct @ np.append(in_ct.world_mm(centre), 1)
        assert np.linalg.norm(found.world_mm(centre) - expected[:3]) < 1.0
        assert raw.planning_ct.is_file()
        placed += 1
    assert placed == 5


def test_the_first_run_makes_everything_and_says_how_to_go_on(walk: Walk) -> None:
    clone, project = walk.clone, walk.project
    assert "ricenet promote" in walk.first_output
    assert clone.json("work/champions.json") == {} and clone.json("work/vote/vote.json") == {}
    cohort = clone.json("work/cohort/cohort.json")
    assert cohort["root"] == "data/mine"
    assert len(cohort["subjects"]) == SUBJECTS and cohort["excluded"] == []
    for subject in cohort["subjects"]:
        volumes = saved_volumes(project / "work/preprocessed" / subject["participant_id"])
        assert volumes.shape == (3, *[CUBE_VOXELS] * 3) and np.isfinite(volumes).all()
        assert 0.9 < volumes[2].max() < 2.0  # dose in units of 60 Gy, whichever way it was stored
    assert set(clone.json("work/evaluation/metrics.json")) == set(SETS)
    assert "macro_f1_mean" in clone.run("dvc", "metrics", "show").stdout
    assert len(list((project / "models/ensembles").rglob("*.safetensors"))) == len(SETS) * FOLDS
    assert len(list((project / "work/explain").rglob("occlusion.nii.gz"))) == 2
    gallery = (project / f"work/explain/{SMALL_COHORT}/index.html").read_text()
    assert gallery.count('<a href="sub-') == 2
    for page in re.findall(r'<a href="(\.\./\.\./[^"]+)"', gallery):
        assert (project / "work/explain" / SMALL_COHORT / page).is_file()
    assert not list(project.glob("work/store/**/.partial*"))


def test_every_subject_has_a_page_of_quality_control_and_none_is_marked(walk: Walk) -> None:
    pages = sorted(path.name for path in (walk.project / "work/quality").glob("sub-*.html"))
    assert pages == [f"sub-{i:03d}.html" for i in range(1, SUBJECTS + 1)]
    assert walk.clone.json("work/quality/marked.json") == {}


def test_the_evidence_and_its_report_hold_every_set(walk: Walk) -> None:
    evidence = read_evidence(walk.project / "work/evidence/evidence.json")
    assert set(evidence.sets) == set(SETS)
    # every two of one recipe, and the set of both; contributions follow from all seven sets alone
    assert len(evidence.comparisons) == 3 + 1 and evidence.contributions == ()
    assert {guard.outcome for guard in evidence.guards} == {"passed"}
    assert {"majority", "dose", "time", "site", "all"} <= {b.name for b in evidence.audit.baselines}
    assert set(walk.clone.json("work/robustness/robustness.json")["effects"]) == set(SETS)
    report = (walk.project / "work/report/index.html").read_text()
    assert evidence.audit.verdict[:40] in report
    assert "SYNTHETIC" in report and "No model of this run has voted on the test set" in report


def test_without_a_change_nothing_is_done_again_and_a_lost_mlflow_is_rebuilt_from_the_files(
    walk: Walk,
) -> None:
    runs, report = walk.clone.runs(), (walk.project / "work/report/index.html").read_bytes()
    # every training is a run below its modality set; and one of quality control
    assert len(runs) == len(SETS) * (1 + FOLDS) + 1
    (walk.project / "mlflow/mlflow.db").unlink()
    shutil.rmtree(walk.project / "mlflow/artifacts")
    assert stages_run(walk.run("dvc", "repro")) == OF_EVERY_RUN
    assert walk.clone.runs() == runs
    assert (walk.project / "work/report/index.html").read_bytes() == report


def test_a_promoted_set_votes_once_and_the_look_is_recorded(walk: Walk) -> None:
    for name in PROMOTED:
        # so few subjects pass no gate
        walk.run("ricenet", "promote", name, "--force", "--reason", "a test of the way from end to end")
    assert stages_run(walk.run("dvc", "repro")) == OF_EVERY_RUN | {"vote", "report"}
    votes = walk.clone.json("work/vote/vote.json")
    assert set(votes) == set(PROMOTED)
    assert all(vote["n"] == 2 and 0 <= vote["macro_f1"] <= 1 for vote in votes.values())
    assert looks(walk) == ONE_LOOK_EACH


ONE_LOOK_EACH = [(name, "2", str(k), "n/a") for k, name in enumerate(PROMOTED, start=1)]


def looks(walk: Walk) -> list[tuple[str, ...]]:
    """The evaluations on the test set: modality set, subjects, their count, and whose they are."""
    rows = read_rows(walk.project / "models/test_ledger.tsv")
    return [tuple(row[name] for name in ("modality_set", "n", "evaluation", "who")) for row in rows]


def test_a_test_subject_brought_as_a_new_case_from_dicom_gets_the_same_prediction(walk: Walk) -> None:
    voted = read_rows(walk.project / "work/vote/dose.tsv")[0]
    assert voted["participant_id"] == "sub-001"
    # one folder of each kind of object
    folders = folders_of(walk.tree, "PHANTOM-0001", walk.private / "new case")
    answer = json.loads(walk.predict(folders, "models:/rice-net-dose@champion"))
    assert answer["model"] == "rice-net-dose" and "not a medical device" in answer["notice"]
    assert answer["label"] == voted["predicted"]
    # the cube is the post-op scan's, so nothing is lost but what the answer's four places leave out
    expected = [float(voted[f"fold_{k}"]) for k in range(FOLDS)]
    assert answer["p_rice_folds"] == pytest.approx(expected, abs=6e-5)
    dose_max_gy = walk.truth["PHANTOM-0001"]["dose_max_gy"]
    # the cube's voxels are coarse, so that the largest dose is averaged
    assert 0.7 * dose_max_gy < answer["measurements"]["dose_max_gy"] <= 1.01 * dose_max_gy


CHANGES: dict[str, tuple[dict[str, object], set[str]]] = {
    "one set's settings": (
        {"training": {"overrides": {ALL_THREE: {"learning_rate": 3e-4}}}},
        {"check_cohort", "learning_curve", "repeat", "report", "train", "tune"},
    ),
    # the report prints every parameter
    "a limit of quality control": ({"quality": {"most_rotation_deg": 1e-3}}, {"quality", "report"}),
    "other divisions into folds": (
        {"evidence": {"repeat_fold_seeds": [1], "repeat_sets": ["dose"]}},
        {"repeat", "report"},
    ),
}


def changed(walk: Walk) -> dict[str, dict[str, set[str]]]:
    """Stage -> file -> the parameters, or the outputs that it reads, in which the file is not as it was.

    Without those of the demo, whose names tell their file: it is not asked for.
    """
    status = json.loads(walk.clone.run("dvc", "status", "--json").stdout)
    return {
        stage: {
            file: set(what) if isinstance(what, dict) else set()
            for reason in reasons
            if isinstance(reason, dict)
            for file, what in reason["changed deps"].items()
        }
        for stage, reasons in status.items()
        if "." not in stage and reasons != ["always changed"]
    }


def test_a_change_redoes_what_depends_on_it_and_no_more(walk: Walk) -> None:
    def keys() -> dict[str, list[str]]:
        return {name: walk.clone.json(f"models/ensembles/{name}/ensemble.json")["fold_keys"] for name in SETS}

    def stored(kind: str) -> set[Path]:
        places = (walk.project / "work/store" / kind).glob("??/*" if kind == "quality" else "*")
        return {path for path in places if path.is_dir()}

    for change, _ in CHANGES.values():
        walk.clone.set(change)
    stages = defaultdict[str, set[str]](set)
    for stage, files in changed(walk).items():
        assert files.keys() == {"params.yaml"}
        for parameter in files["params.yaml"]:
            stages[parameter.split(".")[0]].add(stage)
    assert stages == {section: those for change, those in CHANGES.values() for section in change}
    before, folds, repeats, quality = keys(), stored("folds"), stored("repeats"), stored("quality")
    of_them = set.union(*stages.values()) - {"report"}
    assert stages_run(walk.run("dvc", "repro", "evidence", "quality")) == of_them | {"evidence"}
    assert {name for name in SETS if keys()[name] != before[name]} == {ALL_THREE}
    assert len(stored("folds") - folds) == len(stored("repeats") - repeats) == FOLDS
    assert len(quality) == SUBJECTS and stored("quality") == quality
    # what else would run; no vote
    rest = {stage: files.keys() for stage, files in changed(walk).items()}
    assert rest.keys() == {"evaluate", "explain", "robustness", "resolve", "report", "register"}
    assert rest["evaluate"] == {"work/training"} and rest["robustness"] == {"models/ensembles"}
    assert rest["explain"] == {"models/ensembles", "work/training"}
    assert rest["resolve"] == {"work/evidence"}


def test_another_limit_marks_others(walk: Walk) -> None:
    marked = walk.clone.json("work/quality/marked.json")
    assert {m["measure"] for marks in marked.values() for m in marks} == {"rotation_deg"}
    assert len(marked) == SUBJECTS


def test_other_divisions_into_folds_judge_everyone_once(walk: Walk) -> None:
    repeats = read_evidence(walk.project / "work/evidence/evidence.json").repeats
    assert repeats is not None
    assert repeats.fold_seeds == (1,) and list(repeats.macro_f1) == ["dose"]
    everyone = {subject for fold in walk.clone.json("work/splits/splits.json")["folds"] for subject in fold}
    repeated = walk.project / "work/repeats/1/dose"
    judged = [row for k in range(FOLDS) for row in read_rows(repeated / f"fold-{k}" / "predictions.tsv")]
    assert {row["participant_id"] for row in judged} == everyone and len(judged) == len(everyone)


def test_nothing_of_the_export_identifies_a_patient_in_what_the_project_wrote(walk: Walk) -> None:
    secrets = identifiers(walk.images)
    assert len(secrets) > 1000
    pattern = re.compile(pattern_of(secrets))
    searched = 0
    for name, content in contents(walk):
        assert not (found := pattern.search(content)), f"{found.group()!r} in {name}"
        assert not pattern.search(name.encode()), name
        searched += 1
    assert searched > 100


def test_a_patient_who_is_there_twice_stops_the_pipeline_before_training(walk: Walk) -> None:
    twice = walk.project / "data/twice"
    shutil.copytree(walk.project / "data/mine", twice)
    one, other = RawSubject(twice, "sub-002"), RawSubject(twice, "sub-003")
    for modality in PAPER_VOLUMES.names:
        shutil.copyfile(one.scan(modality), other.scan(modality))
    shutil.copyfile(one.dose_sidecar, other.dose_sidecar)
    walk.clone.set({"cohort": {"root": "data/twice"}})
    done = walk.clone.run("dvc", "repro", "train", check=False)
    assert done.returncode != 0
    assert "same_image" in done.stderr and "sub-002" in done.stderr and "sub-003" in done.stderr
    assert "train" not in stages_run(done.stdout + done.stderr) and "Traceback" not in done.stderr


def test_a_faulty_subject_of_an_own_cohort_stops_the_pipeline_by_name(walk: Walk) -> None:
    faulty = walk.project / "data/faulty"
    shutil.copytree(walk.project / "data/mine", faulty)
    RawSubject(faulty, "sub-003").dose_sidecar.unlink()
    walk.clone.set({"cohort": {"root": "data/faulty"}})
    done = walk.clone.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "sub-003" in done.stderr and "Traceback" not in done.stderr
    assert (faulty / "sub-001").is_dir()  # the user's folder is not touched


def test_the_demo_cohort_is_made_where_the_parameters_ask_for_it(walk: Walk) -> None:
    assert not (walk.project / "data/demo").exists()
    walk.clone.set({"cohort": {"root": "data/demo"}})
    assert {"phantom", "check_cohort"} <= stages_run(walk.run("dvc", "repro", "check_cohort"))
    cohort = walk.clone.json("work/cohort/cohort.json")
    assert cohort["root"] == "data/demo" and len(cohort["subjects"]) == 6
