"""The one network that may lack volumes beside separate ones: evidence of each subset, decisions, report's
table.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from small_evidence import evidence
from small_report import page_of, plain_page, table_of, write_project

from ricenet.cohort.splits import read_splits
from ricenet.evaluation.evidence.calibration import recalibration
from ricenet.evaluation.evidence.gate import GateRecord
from ricenet.evaluation.evidence.missing_volumes import missing_volumes
from ricenet.evaluation.evidence.record import MissingVolumes
from ricenet.evaluation.held_out import HeldOut
from ricenet.inference.three_way import DecisionThreshold
from ricenet.report.missing_volumes_table import missing_volumes_rows, training_seconds
from ricenet.runtime.files import write_json
from ricenet.tracking.evidence_content import SUBSETS, decision_tags, threshold_of, version_tags
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import Label

ONE = "event+dose@any"


def answers(wrong: int) -> list[Prediction]:
    """Of 24 subjects in two folds, the first few of which get the wrong label."""
    rows = []
    for number in range(24):
        label: Label = "rice" if number % 2 else "recurrence"
        says_rice = (label == "rice") != (number < wrong)
        p_rice = (0.7 if says_rice else 0.3) + number / 1000
        rows.append(Prediction(f"sub-{number:03d}", label, number // 2 % 2, p_rice))
    return rows


BY_SUBSET = {ONE: {"event": answers(8), "dose": answers(2), "event+dose": answers(0)}}
SEPARATE = {"event": answers(2), "dose": answers(2), "post_op": answers(0), ONE: answers(0)}


@pytest.fixture(scope="module")
def found() -> MissingVolumes:
    (of_set,) = missing_volumes(BY_SUBSET, SEPARATE, 7, 200, 0.2, 0.75)
    return of_set


def test_each_subset_is_scored_by_the_answers_from_it(found: MissingVolumes) -> None:
    assert [of_subset.volumes for of_subset in found.subsets] == ["event", "dose", "event+dose"]
    # balanced labels, as many wrong in both: macro-F1 is the share of right answers
    assert [s.scores.macro_f1.value for s in found.subsets] == pytest.approx([16 / 24, 22 / 24, 1.0])


def test_it_is_compared_with_separate_networks_of_the_same_volumes_alone(found: MissingVolumes) -> None:
    assert [(c.a, c.b) for c in found.comparisons] == [
        (f"{ONE} from event", "event"),
        (f"{ONE} from dose", "dose"),
    ]
    event, dose = found.comparisons
    assert event.macro_f1.value == pytest.approx(-6 / 24)
    assert (event.only_a_right, event.only_b_right) == (0, 6)
    assert dose.macro_f1.value == 0
    # two pairs: the lower p-value is doubled
    assert event.p_mcnemar_holm == pytest.approx(2 * event.p_mcnemar)


def test_a_subset_is_decided_by_what_was_fitted_to_its_own_answers(found: MissingVolumes) -> None:
    held = HeldOut.of({"event": BY_SUBSET[ONE]["event"]})
    by = recalibration(held.p_rice["event"], held.is_rice, held.fold)
    assert found.decisions()["event"].recalibration == by
    assert list(found.decisions()) == ["event", "dose"]
    assert found.decisions()["dose"].threshold is not None


def test_decisions_reach_a_version_by_its_tags_and_come_back(found: MissingVolumes) -> None:
    content = {"modality_set": ONE, "ensemble_digest": "d", "folds": (), "failed_guards": ()}
    record = GateRecord(
        **content,
        macro_f1=found.subsets[-1].scores.macro_f1,
        chance_macro_f1=0.5,
        recalibration=found.subsets[-1].decision.recalibration,
        threshold=0.8,
        subsets=found.decisions(),
        predictions=(),
    )
    tags = version_tags(record)
    assert SUBSETS in decision_tags(tags)
    threshold = threshold_of(tags)
    assert isinstance(threshold, DecisionThreshold)
    of_event = threshold.with_volumes("event")
    assert of_event is not None
    assert of_event.recalibration == found.decisions()["event"].recalibration
    assert threshold.with_volumes("post_op") is None
    without = record.model_copy(update={"subsets": {}})
    assert SUBSETS not in version_tags(without)
    assert "subsets" not in without.model_dump()


def test_the_page_shows_both_sides_their_difference_and_the_time(
    found: MissingVolumes, tmp_path: Path
) -> None:
    project = write_project(tmp_path)
    digest = read_splits(project / "work/splits/splits.json").digest
    known = evidence(digest).model_copy(update={"missing_volumes": (found,)})
    write_json(project / "work/evidence/evidence.json", known.model_dump(mode="json"))
    for fold in range(2):
        write_json(project / f"work/training/dose/fold-{fold}/fold.json", {"key": f"key-{fold}"})
        write_json(project / f"work/store/folds/key-{fold}/seconds.json", {"trained_s": 30.0})
    rows = table_of(page_of(project), "Out-of-fold scores of the one network")
    dose, event, both = rows["dose"], rows["event T1ce"], rows["event T1ce + dose"]
    assert dose[3] == "dose"
    assert dose[9] == "1 min 0 s"
    assert event[1].startswith("0.67")
    assert event[6].startswith("-0.25")
    assert event[9] == "\u2013"
    assert both[3] == "none trained"


def test_without_such_a_network_the_page_and_the_evidence_are_as_they_were() -> None:
    assert "may lack volumes" not in plain_page()
    assert "missing_volumes" not in evidence("splits").model_dump()
    assert missing_volumes({}, SEPARATE, 7, 200, 0.2, 0.75) == ()
    assert missing_volumes_rows(evidence("splits"), {}) == []


def test_seconds_are_told_only_where_every_fold_noted_its_own(tmp_path: Path) -> None:
    for fold, seconds in enumerate((10.0, None)):
        write_json(tmp_path / f"training/dose/fold-{fold}/fold.json", {"key": f"key-{fold}"})
        if seconds is not None:
            write_json(tmp_path / f"store/key-{fold}/seconds.json", {"trained_s": seconds})
    assert training_seconds(tmp_path / "training", tmp_path / "store", ["dose"]) == {}
    write_json(tmp_path / "store/key-1/seconds.json", {"trained_s": 5.5})
    assert training_seconds(tmp_path / "training", tmp_path / "store", ["dose"]) == {"dose": 15.5}
