"""Promotion through the gate, by hand past it, the vote on the test set, and what is kept of both."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preprocessed_subjects import saved_volumes
from registered_project import DOSE, Registered, promote, run_stage
from tracked_project import RECALIBRATION, write_gate

from ricenet.evaluation.evidence.calibration_record import ConformalThresholds
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.evaluation.intervals import Estimate
from ricenet.inference.test_ledger import read_ledger
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.result import GuardResult
from ricenet.tracking.evidence_content import recalibration_of
from ricenet.tracking.own_record import own_ensembles, own_record_path
from ricenet.tracking.promotion import how_it_passed, promote_through_gate
from ricenet.tracking.publish import publish
from ricenet.tracking.register_models import register_ensembles
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import LABELS

LEAK = GuardResult(name="same_image", outcome="failed", found="sub-001 is sub-002", remedy="Leave one out.")
POOR = Estimate(value=0.5, low=0.3, high=0.7, method="bca")
LEDGER = "models/test_ledger.tsv"


@pytest.fixture
def stage(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda name: run_stage(name, registered.project, monkeypatch)


def set_param(project: Path, before: str, after: str) -> None:
    path = project / "params.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


@pytest.fixture
def params(registered: Registered) -> Iterator[Path]:
    kept = (registered.project / "params.yaml").read_text()
    yield registered.project
    (registered.project / "params.yaml").write_text(kept)


# --- promotion ---


def test_what_passes_is_promoted_and_says_so(registered: Registered) -> None:
    promote_through_gate(registered.gate, "dose", None)
    tags = registered.tags("2")
    assert registered.champions() == {"dose": "2"}
    assert tags["ricenet.gate"] == "passed" and "ricenet.promoted_utc" in tags
    assert "ricenet.promotion_reason" not in tags
    assert recalibration_of(tags) == RECALIBRATION and tags["ricenet.least_confidence"] == "0.6"
    promote_through_gate(registered.gate, "post_op+dose", 1, reason="the board's choice")
    assert registered.champions() == {"dose": "2", "post_op+dose": "1"}
    tags = registered.tags("1", "post_op+dose")
    assert (tags["ricenet.promotion_reason"], tags["ricenet.forced_past"]) == ("the board's choice", "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"failed_guards": (LEAK,)}, r"guard same_image: sub-001 is sub-002\. Leave one out"),
        ({"macro_f1": POOR}, r"chance: its cross-validated macro-F1 of 0\.50 \(0\.30 to 0\.70\)"),
        ({"folds": ()}, r"folds: it has none"),
    ],
)
def test_each_failed_condition_is_refused_with_its_reason(
    registered: Registered, change: dict[str, Any], reason: str
) -> None:
    write_gate(registered.project, "dose", **change)
    with pytest.raises(RegistryError, match=reason) as refused:
        promote_through_gate(registered.gate, "dose", None)
    assert "--force --reason TEXT" in str(refused.value)
    assert registered.champions() == {}


def test_without_evidence_of_its_own_a_version_is_refused(registered: Registered) -> None:
    path, digest = registered.gate_in_run("1"), registered.versions("dose")[0].digest
    kept = path.read_text()
    path.write_text(kept.replace(digest, "0" * 64))
    registered.note_gate("1")
    with pytest.raises(RegistryError, match="evidence in its run is that of another ensemble"):
        promote_through_gate(registered.gate, "dose", 1)
    path.unlink()
    with pytest.raises(RegistryError, match="its run holds no evidence of the cross-validation"):
        promote_through_gate(registered.gate, "dose", 1)
    path.write_text(kept)


def test_a_pass_that_somebody_wrote_into_the_run_is_none(registered: Registered) -> None:
    """The project's own record decides; what MLflow holds counts only where it is that, byte for byte."""
    path = registered.gate_in_run("1")
    kept = path.read_bytes()
    write_json(path, read_json(path) | {"failed_guards": [], "chance_macro_f1": 0.0, "predictions": []})
    with pytest.raises(RegistryError, match=r"evidence: .* is not what this project recorded"):
        promote_through_gate(registered.gate, "dose", 1)
    registered.move_alias(1)
    with pytest.raises(RegistryError, match=r"evidence: .* is not what this project recorded"):
        how_it_passed(registered.gate, registered.versions("dose")[0])
    path.write_bytes(kept)
    assert promote_through_gate(registered.gate, "dose", 1).version == "1"


def test_an_ensemble_that_the_project_did_not_note_passes_by_nothing_in_its_run(
    registered: Registered,
) -> None:
    own_record_path(registered.project).unlink()
    with pytest.raises(RegistryError, match=r"evidence: .* is not among the ensembles that this project"):
        promote_through_gate(registered.gate, "dose", 1)


def test_a_project_that_has_noted_nothing_yet_votes_with_what_it_has_at_hand(
    registered: Registered, stage: Any
) -> None:
    """As after an update from a version that kept no such record: `register`, which writes it, comes last."""
    own_record_path(registered.project).unlink()
    promote_through_gate(registered.gate, "dose", 2)
    stage("resolve")
    stage("vote")
    assert read_json(registered.project / "work/vote/vote.json")["dose"]["n"] == 2
    stage("register")
    assert registered.versions("dose")[1].digest in own_ensembles(registered.project)


def predicted(right: bool) -> tuple[...]:
    """Sixteen subjects, all right or all wrong."""
    return tuple(
        Prediction(
            participant_id=f"sub-{i:03d}",
            label="rice" if i % 2 else "recurrence",
            fold=i % 2,
            p_rice=0.9 if bool(i % 2) == right else 0.1,
        )
        for i in range(16)
    )


@pytest.fixture
def worse(registered: Registered) -> Iterator[Registered]:
    """Version 1 right on all, and champion; version 2 wrong on all."""
    path = registered.gate_in_run("1")
    kept = path.read_bytes()
    write_json(path, read_json(path) | {"predictions": [asdict(p) for p in predicted(right=True)]})
    registered.note_gate("1")
    write_gate(registered.project, "dose", predictions=predicted(right=False))
    promote_through_gate(registered.gate, "dose", 1)
    yield registered
    path.write_bytes(kept)


def test_a_worse_version_does_not_follow_the_champion_neither_by_command_nor_by_hand(
    worse: Registered, stage: Any
) -> None:
    with pytest.raises(RegistryError, match=r"worse_than_champion: .* differs by -1\.00 .*version 1"):
        promote_through_gate(worse.gate, "dose", 2)
    worse.move_alias(2)
    stage("resolve")
    with pytest.raises(RegistryError, match=r"worse_than_champion: .* version 1"):
        stage("vote")
    # and back again: the champion of before is not compared with what was never promoted
    worse.move_alias(1)
    assert promote_through_gate(worse.gate, "dose", 1).version == "1"


def test_a_new_champion_is_not_held_against_the_one_it_replaced(worse: Registered, stage: Any) -> None:
    promote_through_gate(worse.gate, "dose", 2, reason="a dry run")
    promote_through_gate(worse.gate, "dose", 1)
    stage("resolve")
    stage("vote")
    assert set(read_json(worse.project / "work/vote/vote.json")) == {"dose"}


@pytest.mark.parametrize(
    "earlier", ["2999-01-01T00:00:00.000000+00:00", "soon", "9999-12-31T23:59:59.999999+00:00"]
)
def test_a_promotion_is_the_last_although_the_clock_was_set_back_since(
    registered: Registered, earlier: str
) -> None:
    promote_through_gate(registered.gate, "dose", 2)
    registered.store.client().set_model_version_tag(DOSE, "2", "ricenet.promoted_utc", earlier)
    promote_through_gate(registered.gate, "dose", 1, reason="a test of the clock")
    assert registered.champions() == {"dose": "1"}
    now = registered.tags("1")["ricenet.promoted_utc"]
    assert now.startswith("2999-01-01T00:00:00.000001" if earlier.startswith("2999") else "20")


def test_what_was_forced_past_one_condition_is_not_let_past_another(worse: Registered, stage: Any) -> None:
    write_gate(worse.project, "dose", macro_f1=POOR, predictions=predicted(right=True))
    promote_through_gate(worse.gate, "dose", 2, reason="a dry run")
    assert worse.tags("2")["ricenet.forced_past"] == "chance"
    promote_through_gate(worse.gate, "dose", 1)
    write_gate(worse.project, "dose", macro_f1=POOR, predictions=predicted(right=False))
    worse.move_alias(2)
    stage("resolve")
    with pytest.raises(RegistryError, match=r"worse_than_champion"):
        stage("vote")


# --- the command ---


def test_best_is_the_set_that_the_report_calls_best(registered: Registered) -> None:
    """The mean over folds and the pooled macro-F1 may name different sets."""
    from ricenet.report.sentences import best_sentence

    metrics = read_json(registered.project / "work/evaluation/metrics.json")
    assert max(metrics, key=lambda name: float(metrics[name]["macro_f1_mean"])) == "post_op+dose"
    path = registered.project / "work/evidence/evidence.json"
    content = read_json(path)
    content["sets"] = {
        name: content["sets"][other] for name, other in (("dose", "post_op+dose"), ("post_op+dose", "dose"))
    }
    write_json(path, content)
    assert "highest macro-F1 is that of dose" in best_sentence(read_evidence(path))
    assert promote("best").stdout.startswith("rice-net-dose version 2")


def test_the_command_promotes_the_best_set_once(registered: Registered) -> None:
    first, second = promote("best", "--if-none", "--demo-only"), promote("dose", "--if-none")
    assert first.exit_code == second.exit_code == 0
    assert first.stdout.startswith("rice-net-post_op+dose version 1 (ensemble ")
    assert "nothing promoted: the champion is rice-net-post_op+dose version 1" in second.stdout
    assert registered.champions() == {"post_op+dose": "1"}


def test_the_command_leaves_other_cohorts_than_the_demo_alone(registered: Registered, params: Path) -> None:
    set_param(params, "root: data/demo", "root: data/ours")
    outcome = promote("best", "--demo-only")
    assert (outcome.exit_code, outcome.stdout) == (
        0,
        "nothing promoted: the cohort is data/ours, not data/demo\n",
    )
    assert registered.champions() == {}


@pytest.mark.parametrize("arguments", [("--force",), ("--reason", "why not"), ("--force", "--reason", " ")])
def test_force_and_reason_belong_together(registered: Registered, arguments: tuple[str, ...]) -> None:
    refused = promote("dose", *arguments)
    assert refused.exit_code == 1
    assert "--force and --reason TEXT belong together" in refused.stderr


def test_the_command_forces_with_a_reason(registered: Registered) -> None:
    write_gate(registered.project, "dose", failed_guards=(LEAK,))
    refused = promote("dose")
    assert refused.exit_code == 1 and "guard same_image" in refused.stderr
    forced = promote("dose", "--force", "--reason", "a dry run")
    assert forced.exit_code == 0 and forced.stdout.startswith("rice-net-dose version 2")


def test_a_champion_that_may_not_vote_does_not_keep_another_from_promotion(registered: Registered) -> None:
    write_gate(registered.project, "dose", failed_guards=(LEAK,))
    registered.move_alias()
    assert promote("post_op+dose", "--if-none").stdout.startswith("rice-net-post_op+dose version 1")
    assert "nothing promoted" in promote("dose", "--if-none").stdout


# --- the vote ---

BOTH = ConformalThresholds(coverage=0.9, rice_from=0.0, recurrence_to=1.0)


def test_a_champion_that_votes_is_a_row_in_the_ledger_and_a_metric_of_its_run(
    registered: Registered, stage: Any
) -> None:
    project, version = registered.project, registered.versions("post_op+dose")[0]
    write_gate(project, "post_op+dose", conformal=BOTH)
    promote("post_op+dose")
    stage("resolve")
    stage("vote")
    ledger = (project / LEDGER).read_bytes()
    stage("vote")  # as after a change of a comment in the code
    publish(project, registered.store)
    assert (project / LEDGER).read_bytes() == ledger

    (row,) = read_ledger(project / LEDGER)
    assert (row.evaluation, row.model, row.version, row.n) == (1, "rice-net-post_op+dose", "1", 2)
    assert (row.gate, row.who) == ("passed", "n/a")
    volumes = np.stack([saved_volumes(project / f"work/preprocessed/sub-0{i}") for i in ("09", "10")])
    ensemble = Ensemble.load(project / "models/ensembles/post_op+dose")
    rice = majority_vote(ensemble.predict(volumes[:, [0, 2]]))
    vote = read_json(project / "work/vote/vote.json")["post_op+dose"]
    # sub-009 is rice, sub-010 is recurrence
    assert vote["confusion"] == [[int(not rice[1]), int(rice[1])], [int(not rice[0]), int(rice[0])]]
    metrics = registered.store.client().get_run(str(version.run_id)).data.metrics
    assert (metrics["test_macro_f1"], metrics["test_evaluations"]) == (vote["macro_f1"], 1)
    header, *rows = (project / "work/vote/post_op+dose.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in rows] == ["sub-009", "sub-010"]
    assert header.endswith("\tthree_way\tlabel_set")
    assert {line.split("\t")[-2] for line in rows} <= {"rice", "recurrence", "indeterminate"}
    # by the thresholds of the version's record, which let every set hold both labels
    assert {line.split("\t")[-1] for line in rows} == {"recurrence+rice"}
    covered = vote["label_sets"]["covered"]
    assert [(covered[label]["covered"], covered[label]["n"]) for label in LABELS] == [(1, 1), (1, 1)]


def test_a_champion_of_an_earlier_training_votes_with_its_own_files(
    registered: Registered, stage: Any
) -> None:
    promote("dose", "--version", "1")
    stage("resolve")
    stage("vote")
    first = registered.versions("dose")[0]
    assert read_json(registered.project / "work/vote/vote.json")["dose"]["digest"] == first.digest
    metrics = registered.store.client().get_run(str(first.run_id)).data.metrics
    assert metrics["test_evaluations"] == 1


def test_volumes_that_are_no_numbers_stop_the_vote(registered: Registered, stage: Any) -> None:
    from ricenet.runtime.errors import ScanError

    path = registered.project / "work/preprocessed/sub-010/dose.npy"
    dose = np.load(path)
    dose[0, 0, 0] = np.nan
    np.save(path, dose)
    promote("dose")
    stage("resolve")
    with pytest.raises(ScanError, match=r"sub-010: dose.*1 voxel\(s\) are not finite"):
        stage("vote")
    assert not (registered.project / LEDGER).exists()


def test_forcing_lets_it_vote_and_is_kept(
    registered: Registered, stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write_gate(registered.project, "dose", failed_guards=(LEAK,), macro_f1=POOR)
    promote("dose", "--force", "--reason", "a dry run with copies")
    tags = registered.tags("2")
    assert tags["ricenet.promotion_reason"] == "a dry run with copies"
    assert tags["ricenet.forced_past"] == "guard same_image; chance"
    stage("resolve")
    caplog.set_level(logging.WARNING, "ricenet")
    stage("vote")
    assert "votes past the gate, as it was promoted with --force: guard same_image" in caplog.text
    assert read_ledger(registered.project / LEDGER)[0].gate == "forced"


def test_an_alias_moved_by_hand_past_the_gate_does_not_vote_unless_that_is_set(
    registered: Registered, stage: Any, params: Path
) -> None:
    write_gate(registered.project, "dose", failed_guards=(LEAK,))
    registered.move_alias()
    stage("resolve")
    with pytest.raises(
        RegistryError, match=r"the champion rice-net-dose version 2 .* does not pass"
    ) as refused:
        stage("vote")
    assert "guard same_image: sub-001 is sub-002" in str(refused.value)
    assert "tracking.vote_past_gate" in str(refused.value)
    assert not (params / LEDGER).exists()
    set_param(params, "vote_past_gate: false", "vote_past_gate: true")
    set_param(params, "ledger_names_people: false", "ledger_names_people: true")
    stage("vote")
    (row,) = read_ledger(params / LEDGER)
    assert row.gate == "forced" and "@" in row.who


def test_an_ensemble_that_was_evaluated_may_go_on_voting(registered: Registered, stage: Any) -> None:
    promote("dose")
    stage("resolve")
    stage("vote")
    write_gate(registered.project, "dose", failed_guards=(LEAK,))
    stage("vote")
    assert [row.gate for row in read_ledger(registered.project / LEDGER)] == ["passed"]


def test_champions_of_other_data_do_not_vote_and_do_not_keep_the_others_from_it(
    registered: Registered, stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = registered.store.client()
    registered.move_alias(1)
    kept = {
        name: registered.tags("1")[f"ricenet.{name}"] for name in ("preprocessing_digest", "splits_digest")
    }
    client.set_model_version_tag(DOSE, "1", "ricenet.preprocessing_digest", "q" * 64)
    client.delete_model_version_tag(DOSE, "1", "ricenet.splits_digest")
    outcome = promote("best", "--if-none")
    stage("resolve")
    stage("vote")
    for name, digest in kept.items():
        client.set_model_version_tag(DOSE, "1", f"ricenet.{name}", digest)
    assert outcome.stdout.startswith("rice-net-post_op+dose version 1")
    warning = next(record.message for record in caplog.records if record.levelname == "WARNING")
    assert "does not vote: its preprocessing_digest is qqqqqqqqqqqq, at hand is pppppppppppp" in warning
    assert f"its splits_digest is unknown, at hand is {kept['splits_digest'][:12]}" in warning
    assert "(`ricenet promote dose`), then `dvc repro`" in warning
    assert set(read_json(registered.project / "work/vote/vote.json")) == {"post_op+dose"}


def test_without_a_champion_or_a_test_set_nobody_votes(
    registered: Registered, stage: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ricenet.cohort import splits

    caplog.set_level(logging.INFO, "ricenet")
    stage("resolve")
    stage("vote")
    assert caplog.text.count("No champion yet: compare the runs with `make ui`, then `ricenet promote") == 2
    empty = splits.Splits({"sub-001": "rice", "sub-002": "rice"}, (("sub-001",), ("sub-002",)), ())
    monkeypatch.setattr("ricenet.tracking.promotion.read_splits", lambda path: empty)
    registered.move_alias()
    stage("resolve")
    stage("vote")
    assert "The splits hold no test subjects" in caplog.text
    assert read_json(registered.project / "work/vote/vote.json") == {}
    assert not (registered.project / LEDGER).exists()


def test_a_champion_that_is_not_registered_is_named(registered: Registered, stage: Any) -> None:
    write_json(registered.project / "work/champions.json", {"dose": "f" * 64})
    with pytest.raises(RegistryError, match=r"rice-net-dose: no version holds ensemble ffffffffffff"):
        stage("vote")


# --- what a version says of the evidence ---


def test_the_versions_card_gives_scores_with_intervals_and_limits(registered: Registered) -> None:
    version, client = registered.versions("dose")[1], registered.store.client()
    described = client.get_model_version(version.model, version.version)
    assert "not for clinical use" in described.description
    for title in ("Scores", "Against simple baselines", "Guards against leaks", "Limits"):
        assert f"## {title}" in described.description
    metrics = client.get_run(str(version.run_id)).data.metrics
    assert {"auc", "auc_low", "auc_high", "brier", "calibration_slope", "calibration_p"} <= metrics.keys()
    register_ensembles(registered.project, registered.store, "rice-net")
    again = client.get_model_version(version.model, version.version)
    assert again.last_updated_timestamp == described.last_updated_timestamp
