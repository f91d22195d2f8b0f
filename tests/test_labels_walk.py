"""Three labels, one of them without an event, from the cohort's table to the report and the vote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_project import (
    NAMES,
    SETS,
    SUBJECTS,
    run_pipeline,
    without_vote,
    write_labelled_cohort,
    write_params,
)

from ricenet.cohort.splits import read_splits
from ricenet.evaluation.evidence.gate import GateRecord, failed_conditions, worse_than
from ricenet.evaluation.labels.record import read_any_evidence, read_label_evidence
from ricenet.inference.test_vote import Voter, vote_on_test_set
from ricenet.report.results_tables import results_tables
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import read_rows
from ricenet.tracking.evidence_content import card_sections, evidence_metrics, threshold_of, version_tags
from ricenet.training.ensemble import Ensemble

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STAGES = (
    *("check_cohort", "preprocess", "split", "guard", "tune", "train", "repeat", "learning_curve"),
    *("evaluate", "evidence", "robustness"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "project"
    write_labelled_cohort(folder / "data/mine")
    write_params(folder)
    with pytest.MonkeyPatch.context() as patched:
        run_pipeline(folder, patched, STAGES)
        without_vote(folder)
        (folder / "work/explain").mkdir(exist_ok=True)
        run_pipeline(folder, patched, ("ledger", "report"))
    return folder


def test_three_labels_are_divided_and_every_table_has_a_column_for_each(project: Path) -> None:
    splits = read_splits(project / "work/splits/splits.json")
    assert splits.label_names == NAMES and {splits.labels[s] for s in splits.test} == set(NAMES)
    rows = read_rows(project / "work/evaluation/out_of_fold.tsv")
    assert len(rows) == 18 * len(SETS)
    for row in rows:
        assert sum(float(row[f"p_{name}"]) for name in NAMES) == pytest.approx(1)
        assert row["predicted"] in NAMES and row["label"] == splits.labels[row["participant_id"]]
    assert Ensemble.load(project / "models/ensembles/dose").record.label_names == NAMES


def test_results_among_events_stand_beside_those_of_all_labels(project: Path) -> None:
    metrics = read_json(project / "work/evaluation/metrics.json")["dose"]
    assert np.array(metrics["confusion"]).shape == (3, 3) and np.sum(metrics["confusion"]) == 18
    assert metrics["among_events"]["n"] == 12 and "label_names" not in metrics["among_events"]
    evidence = read_label_evidence(project / "work/evidence/evidence.json")
    assert evidence == read_any_evidence(project / "work/evidence/evidence.json")
    assert evidence.counts == dict.fromkeys(NAMES, 6) and evidence.controls == ("stable",)
    assert set(evidence.among_events) == set(SETS) and set(evidence.among_events["dose"].aucs) == set(
        NAMES[:2]
    )
    assert {b.name for b in evidence.baselines} >= {"majority", "dose", "all"}
    assert set(evidence.decision_curves) == set(NAMES) and evidence.repeats is not None
    robustness = read_json(project / "work/robustness/robustness.json")
    assert robustness["label_names"] == list(NAMES)
    effects = {effect["perturbation"] for effect in robustness["effects"]["dose"]}
    assert {"dose_shift", "dose_of_same_label", "dose_of_other_label"} <= effects


def test_the_report_says_what_is_told_apart_and_what_it_lacks(project: Path) -> None:
    page = (project / "work/report/index.html").read_text(encoding="utf-8")
    assert "3 labels, recurrence, rice, stable (without an event: stable)" in page
    assert "Among events alone" in page and "no better than chance here" in page
    assert "dose of a subject with another label" in page and "the other label" not in page
    assert "What this page lacks" in page and "the said label&#39;s probability" in page


def test_the_gate_judges_three_labels_and_compares_no_others(project: Path) -> None:
    path = project / "work/evidence/gate/dose.json"
    record = GateRecord.read(path, "evidence")
    assert {failure.condition for failure in failed_conditions(record)} == {"chance"}
    assert record.chance_macro_f1 == pytest.approx(1 / 3) and record.predictions == ()
    assert worse_than(record, record, "itself", 1, 200) is None
    two = record.model_copy(update={"label_names": NAMES[:2], "of_labels": None})
    with pytest.raises(ResultError, match="tells recurrence and rice and stable apart"):
        worse_than(record, two, "the champion", 1, 200)
    tags = version_tags(record)
    assert record.of_labels is not None and record.of_labels.recalibration == threshold_of(tags).recalibration  # type: ignore[union-attr]
    assert evidence_metrics(project / "work", "dose", record.ensemble_digest)["auc_stable"] >= 0
    card = card_sections(project / "work", "dose", record.ensemble_digest, synthetic=True)
    assert "telling recurrence, rice, stable apart" in card and "## Among events alone" in card


def voter(project: Path, files: Path) -> Voter:
    record = GateRecord.read(project / "work/evidence/gate/dose.json", "evidence")
    digest = Ensemble.load(files).digest
    return Voter("dose", "rice-net-dose", "1", digest, files, "passed", threshold_of(version_tags(record)))


def test_a_vote_on_the_test_set_counts_the_folds_by_label(project: Path) -> None:
    (found,) = vote_on_test_set(project, [voter(project, project / "models/ensembles/dose")]).values()
    assert found.n == 3 and np.array(found.confusion).shape == (3, 3)
    rows = read_rows(project / "work/vote/dose.tsv")
    for row in rows:
        assert sum(int(row[f"votes_{name}"]) for name in NAMES) == 2
        assert sum(float(row[f"p_{name}_calibrated"]) for name in NAMES) == pytest.approx(1, abs=1e-5)
        assert row["answer"] in (*NAMES, "indeterminate")


def test_results_are_exported_with_a_column_for_each_label(project: Path) -> None:
    subjects, predictions, *votes, dictionary = results_tables(project)
    assert [table.name for table in votes] == ["votes"] and len(votes[0].rows) == 3
    known = read_rows(project / "work/evaluation/out_of_fold.tsv")
    assert len(predictions.rows) == len(known) and len(subjects.rows) == SUBJECTS
    columns = [column.name for column in predictions.columns]
    calibration = read_label_evidence(project / "work/evidence/evidence.json").calibration
    for cells, row in zip(predictions.rows, known, strict=True):
        found = dict(zip(columns, cells, strict=True))
        p = np.array([float(row[f"p_{name}"]) for name in NAMES])
        by = calibration[row["modality_set"]].recalibrations[int(row["fold"])]
        # by hand: temperature, offsets, and softmax
        scaled = np.exp(by.slope * np.log(np.clip(p, 1e-12, 1)) + np.array([*by.offsets.values()]))
        np.testing.assert_allclose([found[f"p_{name}"] for name in NAMES], p, atol=1e-6)
        calibrated = [found[f"p_{name}_calibrated"] for name in NAMES]
        np.testing.assert_allclose(calibrated, scaled / scaled.sum(), atol=2e-6)
        assert found["correct"] == (found["predicted"] == row["label"])
    said = {(row[0], row[1]): row[5] for row in dictionary.rows}
    assert said["subjects", "label"] == "recurrence; rice; stable; empty: not known"
    assert said["votes", "answer"] == "recurrence; rice; stable; indeterminate"


def test_an_ensemble_of_two_labels_does_not_vote_on_a_test_set_of_three(
    project: Path, tmp_path: Path
) -> None:
    from small_ensembles import ensemble_record, write_untrained

    write_untrained(tmp_path / "two", ensemble_record("dose"))
    with pytest.raises(RegistryError) as refused:
        vote_on_test_set(project, [voter(project, tmp_path / "two")])
    assert "trained to tell recurrence, rice apart" in str(refused.value)
    assert "declare recurrence, rice, stable" in str(refused.value)


def test_a_table_with_an_undeclared_label_is_refused_and_names_the_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labelled_cohort(tmp_path / "data/mine", (*NAMES, "mixed"), 8)
    write_params(tmp_path)
    with pytest.raises(SystemExit):
        run_pipeline(tmp_path, monkeypatch, ("check_cohort",))
    problems = read_json(tmp_path / "work/cohort/problems.json")["problems"]
    said = "label is none of recurrence, rice, stable, n/a (line "
    assert [p["subject"] for p in problems] == ["sub-004", "sub-008"]
    assert all(p["found"].startswith(said) for p in problems)
