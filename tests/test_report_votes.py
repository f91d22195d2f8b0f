"""The test set on the page: votes, how they came about, and the evaluation ledger."""

import json
from dataclasses import asdict

import pytest
from small_evidence import evidence, write_evidence
from small_report import ALL_THREE, page_of, table_of, write_ledger, write_project, write_vote
from small_results import FOLDS, LABELS, TEST, write_json, write_text

from ricenet.cohort.splits import Splits, write_splits
from ricenet.evaluation.metrics import confusion_matrix, macro_f1
from ricenet.inference.test_label_sets import LabelCoverage, SetsOnTest
from ricenet.inference.test_ledger import identify_test_set
from ricenet.report.promoted_votes import name_of_test_set, read_votes
from ricenet.report.results import read_results
from ricenet.report.sentences import gate_text
from ricenet.runtime.tables import table_text
from ricenet.tracking.promotion import FORCED_PAST, REASON


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


def test_without_a_vote_the_page_says_what_to_do(project):
    html = page_of(project)
    assert "ricenet promote" in html
    assert "No champion fits the data at hand" in html
    # in the summary, at figure 2, in the section on the test set and in the methods
    assert (
        html.count("No model of this run has voted on the test set; the ledger holds no evaluation of it.")
        == 4
    )
    assert "The ledger is empty." in html


def with_sets(project, sets):
    write_vote(project)
    path = project / "work/vote/vote.json"
    vote = json.loads(path.read_text())
    vote[ALL_THREE]["label_sets"] = asdict(sets)
    write_json(path, vote)
    return page_of(project).replace("\xa0", " ").replace("&nbsp;", " ")


def test_the_coverage_of_the_sets_of_labels_stands_by_label(project):
    covered = {
        "recurrence": LabelCoverage(1, 1, 1.0, 0.025, 1.0),
        "rice": LabelCoverage(1, 0, 0.0, 0.0, 0.975),
    }
    html = with_sets(project, SetsOnTest(0.9, "", covered, (0, 1, 1)))
    (row,) = [row for row in table_of(html, "Sets of labels of the same subjects").values() if "0.90" in row]
    assert row[2:] == ["recurrence 1 of 1: 1.00 (0.03 to 1.00); rice 0 of 1: 0.00 (0.00 to 0.97)", "0, 1, 1"]


def test_a_model_without_sets_of_labels_says_why(project):
    html = with_sets(project, SetsOnTest(None, "fewer than 9 held-out subjects have rice"))
    assert "no set: fewer than 9 held-out subjects have rice" in html


def test_votes_of_earlier_versions_show_no_sets(project):
    write_vote(project)
    assert "Sets of labels of the same subjects" not in page_of(project)


def test_evaluations_of_other_models_are_reported_where_none_at_hand_has_voted(project):
    write_ledger(project)
    html = page_of(project)
    said = "No promoted model has voted on the test set in this run; the ledger counts 2 evaluations of it."
    assert html.count(said) == 4
    assert "No champion fits the data at hand" in html
    for untrue in ("has not been used", "No model has been promoted", "holds no evaluation", "is empty"):
        assert untrue not in html


def test_evaluations_of_other_test_sets_are_none_of_this_one(project):
    write_ledger(project)
    ledger = project / "models/test_ledger.tsv"
    ledger.write_text(
        ledger.read_text().replace(name_of_test_set(read_results(project, seed=7).splits), "0" * 12)
    )
    html = page_of(project)
    assert "the ledger holds no evaluation of it" in html
    assert "2 evaluations in all, 0 of the test set of this page." in html


def test_without_a_test_set_nobody_is_asked_to_promote_for_it(project):
    splits = Splits({s: label for s, label in LABELS.items() if s not in TEST}, tuple(map(tuple, FOLDS)), ())
    write_splits(splits, project / "work/splits/splits.json")
    write_evidence(project)
    html = page_of(project)
    assert html.count("No test set was set aside.") == 3
    assert "ricenet promote" not in html


def test_vote_is_shown_with_its_interval_and_the_count_of_evaluations(project):
    write_vote(project)
    html = page_of(project)
    row = table_of(html, "Majority vote of the folds")["post-op T1ce + event T1ce + dose"]
    # both test subjects are called recurrence: F1 of 2/3 and 0
    assert row[1] == "0.333"
    assert row[3:] == ["exact bound", "2 evaluations", "passed", "2", "1 of 1", "0 of 1", "0.916", "e2" * 6]
    low, high = map(float, row[2].split(" to "))
    assert low < 1 / 3 < high
    assert "2 evaluations in all, 2 of the test set of this page" in html
    assert "after 2 evaluations of this test set" in html
    assert "The ledger counts 2 evaluations of this test set." in html
    assert "ricenet promote" not in html
    assert "past the gate" not in html


def test_a_vote_past_the_gate_is_marked_wherever_it_is_reported(project):
    write_vote(project, gate="forced")
    html = page_of(project)
    assert (
        table_of(html, "Majority vote of the folds")["post-op T1ce + event T1ce + dose"][5] == "past the gate"
    )
    looks = [row[-1] for row in table_of(html, "Every evaluation").values()]
    assert looks[1:] == ["past the gate"]
    assert "It votes past the gate, conditions of which it failed." in html
    assert "Let through although it failed conditions of promotion: post-op T1ce + event T1ce + dose." in html
    assert FORCED_PAST in html and REASON in html


def test_what_an_earlier_ledger_did_not_record_is_not_called_passed(project):
    write_vote(project, gate="n/a")
    assert gate_text(read_results(project, seed=7).votes[ALL_THREE].gate) == "not recorded"


def test_the_ledgers_people_stay_in_the_ledger(project):
    write_vote(project)
    assert "someone" not in page_of(project)


@pytest.mark.parametrize(
    ("predicted", "by"),
    [
        # three of each label; some resamples hold the one that is wrong and some do not
        (["rice", "recurrence", "recurrence", "rice", "rice", "rice"], "bootstrap"),
        # all right: no resample differs
        (["recurrence"] * 3 + ["rice"] * 3, "exact bound"),
        # a label wrong in all of its subjects
        (["recurrence"] * 6, "exact bound"),
    ],
)
def test_an_interval_is_called_what_it_is(tmp_path, predicted, by):
    labels = {f"sub-{i}": ("recurrence" if i < 3 else "rice") for i in range(6)}
    write_text(
        tmp_path / "dose.tsv",
        table_text(["label", "predicted"], list(zip(labels.values(), predicted, strict=True))),
    )
    found = {
        "macro_f1": macro_f1(list(labels.values()), predicted),
        "confusion": confusion_matrix(list(labels.values()), predicted),
        "n": 6,
        "digest": "e" * 64,
    }
    write_json(tmp_path / "vote.json", {"dose": found})
    vote = read_votes(tmp_path, Splits(labels, (), tuple(labels)), (), 7, evidence("x"))["dose"]
    assert vote.interval_by == by
    assert vote.evaluations == 1


def test_evaluations_of_another_test_set_do_not_count(project):
    write_vote(project)
    ledger = project / "models/test_ledger.tsv"
    test_set = identify_test_set({s: LABELS[s] for s in TEST})
    ledger.write_text(ledger.read_text().replace(test_set, "0" * 12, 1))
    assert read_results(project, seed=7).votes[ALL_THREE].evaluations == 1
