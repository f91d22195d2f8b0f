"""Sets of labels that hold the true one of nine in ten patients of each label."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from ricenet.evaluation.evidence.calibration_record import ConformalThresholds, Recalibration
from ricenet.evaluation.evidence.conformal import (
    conformal_sets,
    conformal_thresholds,
    label_set,
    label_sets,
    least_calibration_cases,
)
from ricenet.inference.test_label_sets import SetsOnTest, coverage_sentences, sets_on_test
from ricenet.inference.test_vote import count_votes, vote_table
from ricenet.inference.three_way import DecisionThreshold, label_set_said, three_way_answer

AS_GIVEN = Recalibration(method="temperature", slope=1.0, intercept=0.0)


@pytest.mark.parametrize(("coverage", "cases"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_tail_takes_at_least_one_subject_of_a_label(coverage: float, cases: int):
    assert least_calibration_cases(coverage) == cases


def test_a_new_subject_falls_below_the_lowest_of_nine_once_in_ten_times():
    rice, recurrence = np.linspace(0.5, 0.9, 9), np.linspace(0.1, 0.5, 9)
    p_rice, is_rice = np.concatenate([rice, recurrence]), np.repeat([True, False], 9)
    found = conformal_thresholds(p_rice, is_rice, 0.9)
    assert (found.rice_from, found.recurrence_to) == pytest.approx((0.5, 0.5))


def test_between_two_subjects_a_threshold_is_interpolated():
    # of 14, a tenth of 15 distances: half way between the first and the second
    p_rice = np.concatenate([np.arange(14) / 20 + 0.2, 1 - np.arange(14) / 20 - 0.2])
    found = conformal_thresholds(p_rice, np.repeat([True, False], 14), 0.9)
    assert found.rice_from == pytest.approx(0.225)
    assert found.recurrence_to == pytest.approx(0.775)


def test_with_one_subject_too_few_no_set_is_known():
    p_rice, is_rice = np.linspace(0.1, 0.9, 20), np.array([True] * 8 + [False] * 12)
    found = conformal_thresholds(p_rice, is_rice, 0.9)
    assert found.rice_from is None and found.recurrence_to is not None
    assert label_set(0.9, found) is None
    with pytest.raises(ValueError, match="too few"):
        label_sets(p_rice, found)
    of_fold = conformal_sets(p_rice, is_rice, np.arange(20) % 5, 0.9)
    assert (of_fold.covered, of_fold.cases, of_fold.needed) == (None, {"recurrence": 12, "rice": 8}, 9)


@pytest.mark.parametrize(
    ("p_rice", "labels"),
    [(0.2, ("recurrence",)), (0.5, ("recurrence", "rice")), (0.9, ("rice",)), (0.4, ("recurrence", "rice"))],
)
def test_what_a_set_holds(p_rice: float, labels: tuple[str, ...]):
    assert label_set(p_rice, ConformalThresholds(coverage=0.9, rice_from=0.4, recurrence_to=0.6)) == labels


def test_a_case_like_neither_label_has_an_empty_set():
    assert label_set(0.5, ConformalThresholds(coverage=0.9, rice_from=0.7, recurrence_to=0.3)) == ()


def test_held_out_subjects_are_judged_by_the_other_folds():
    """Against the obvious loop; labels and folds as they come."""
    rng = np.random.default_rng(3)
    is_rice, fold = rng.random(80) < 0.45, np.arange(80) % 5
    p_rice = 1 / (1 + np.exp(-rng.normal(np.where(is_rice, 1, -1))))
    found = conformal_sets(p_rice, is_rice, fold, 0.9)
    sizes, right = [], []
    for p, label, k in zip(p_rice, is_rice, fold, strict=True):
        by = conformal_thresholds(p_rice[fold != k], is_rice[fold != k], 0.9)
        holds = label_set(float(p), by)
        assert holds is not None
        sizes.append(len(holds))
        right.append(("rice" if label else "recurrence") in holds)
    assert found.covered is not None and found.one is not None and found.both is not None
    assert found.covered["rice"].value == pytest.approx(np.mean(np.array(right)[is_rice]))
    assert found.covered["recurrence"].value == pytest.approx(np.mean(np.array(right)[~is_rice]))
    assert found.one.value == pytest.approx(np.mean(np.array(sizes) == 1))
    assert found.both.value == pytest.approx(np.mean(np.array(sizes) == 2))


def test_nine_in_ten_of_new_subjects_of_either_label_are_covered():
    """One model, exchangeable subjects: the mean over 400 cohorts, whose standard error is 0.003."""
    rng, covered = np.random.default_rng(5), {True: [0.0], False: [0.0]}
    is_rice = np.arange(80) < 32
    for _ in range(400):
        p_rice = 1 / (1 + np.exp(-rng.normal(np.where(is_rice, 1, -1))))
        by = conformal_thresholds(p_rice, is_rice, 0.9)
        for label in (True, False):
            new = 1 / (1 + np.exp(-rng.normal(1 if label else -1, size=500)))
            covered[label].append(float(label_sets(new, by)[:, int(label)].mean()))
    for of_label in covered.values():
        assert np.mean(of_label[1:]) == pytest.approx(0.9, abs=0.012)


def test_the_answer_of_a_case_says_its_set():
    by = ConformalThresholds(coverage=0.9, rice_from=0.4, recurrence_to=0.6)
    threshold = DecisionThreshold(recalibration=AS_GIVEN, least_confidence=0.6, conformal=by)
    sure, unsure = (three_way_answer([p] * 5, threshold) for p in (0.8, 0.5))
    assert (sure.labels, sure.labels_coverage) == (("rice",), 0.9)
    assert unsure.labels == ("recurrence", "rice")
    before = three_way_answer([0.8] * 5, DecisionThreshold(recalibration=AS_GIVEN, least_confidence=0.6))
    assert before.labels is None and "before there were sets" in before.labels_why


@pytest.mark.parametrize(
    ("rice_from", "recurrence_to", "few"),
    [(None, 0.6, "have rice,"), (0.4, None, "have recurrence,"), (None, None, "have recurrence and rice,")],
)
def test_with_too_few_subjects_of_a_label_an_answer_says_why_it_has_no_set(
    rice_from: float | None, recurrence_to: float | None, few: str
):
    by = ConformalThresholds(coverage=0.9, rice_from=rice_from, recurrence_to=recurrence_to)
    answer = three_way_answer(
        [0.8] * 5, DecisionThreshold(recalibration=AS_GIVEN, least_confidence=0.6, conformal=by)
    )
    assert answer.labels is None
    assert answer.labels_why.startswith("fewer than 9 held-out subjects") and few in answer.labels_why


def test_the_test_sets_coverage_is_counted_by_label_with_exact_intervals():
    by = ConformalThresholds(coverage=0.9, rice_from=0.4, recurrence_to=0.6)
    threshold = DecisionThreshold(recalibration=AS_GIVEN, least_confidence=0.6, conformal=by)
    # of RICE 0.3 is missed, 0.5 has both labels; of recurrence 0.7 is missed
    labels, p_rice = ["rice"] * 4 + ["recurrence"] * 3, [0.9, 0.8, 0.5, 0.3, 0.1, 0.2, 0.7]
    votes = count_votes([f"sub-{i}" for i in range(7)], labels, np.array([p_rice] * 5).T, threshold)
    found = sets_on_test(labels, [vote.decision for vote in votes])
    rice, recurrence = found.covered["rice"], found.covered["recurrence"]
    assert (rice.n, rice.covered, recurrence.n, recurrence.covered) == (4, 3, 3, 2)
    # Clopper-Pearson of 3 of 4, from tables
    assert (rice.low, rice.high) == pytest.approx((0.194, 0.994), abs=0.001)
    assert (found.aimed_at, found.sizes) == (0.9, (0, 6, 1))
    assert SetsOnTest.of_json(json.loads(json.dumps(asdict(found)))) == found
    rows = [line.split("\t")[-1] for line in vote_table(votes).splitlines()]
    assert rows == ["label_set", "rice", "rice", "recurrence+rice", *["recurrence"] * 3, "rice"]


def test_every_size_of_a_set_is_counted_also_where_none_has_it():
    by = ConformalThresholds(coverage=0.9, rice_from=0.6, recurrence_to=0.4)
    threshold = DecisionThreshold(recalibration=AS_GIVEN, least_confidence=0.6, conformal=by)
    answers = [three_way_answer([p] * 5, threshold) for p in (0.5, 0.9, 0.8)]
    assert sets_on_test(["rice"] * 3, answers).sizes == (1, 2, 0)


def test_a_version_without_sets_has_no_coverage_but_a_reason():
    (vote,) = count_votes(["sub-1"], ["rice"], np.array([[0.8, 0.9]]))
    found = sets_on_test(["rice"], [vote.decision])
    assert (found.aimed_at, found.covered) == (None, {}) and "holds no evidence" in found.why
    assert list(coverage_sentences(found)) == [f"no set of labels: {found.why}"]


def test_the_set_is_said_in_words():
    answer = {"label_set": ["recurrence", "rice"], "label_set_coverage": 0.9, "label_set_why": "x"}
    assert label_set_said(answer).startswith("recurrence or rice (such sets hold the true label of 90 %")
    assert label_set_said(answer | {"label_set": []}).startswith("none, since")
    assert label_set_said(answer | {"label_set": None}) == "not known: x"
