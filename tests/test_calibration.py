"""Calibration, temperature and the three-way vote, against slow references and hand-computed numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from held_out_cases import drawn
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ricenet.evaluation.bootstrap import Resampling, score_of
from ricenet.evaluation.evidence.calibration import (
    abstention,
    calibration,
    calibration_error,
    coverage_risk,
    fit_platt,
    fit_temperature,
    fold_recalibrations,
    recalibrated,
    recalibration,
    reliability,
    scaled,
    three_way_vote,
    threshold_for,
)
from ricenet.evaluation.evidence.record import Recalibration

AS_GIVEN = Recalibration(method="temperature", slope=1.0, intercept=0.0)


def test_a_temperature_divides_logits():
    assert scaled(np.array([0.2, 0.9]), 2.0) == pytest.approx(expit(logit([0.2, 0.9]) / 2))
    assert scaled(np.array([0.2, 0.9]), 1.0) == pytest.approx([0.2, 0.9])
    assert np.isfinite(scaled(np.array([0.0, 1.0]), 3.0)).all()


def test_the_temperature_is_that_of_a_regression_on_the_logit_without_intercept():
    p_rice, is_rice = drawn(1.0, n=200, rice=90)
    sure = expit(4 * logit(p_rice))
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(
        logit(sure)[:, None], is_rice
    )
    assert fit_temperature(sure, is_rice) == pytest.approx(1 / float(regression.coef_[0, 0]), rel=1e-3)


def test_a_fold_has_no_part_in_its_own_temperature():
    p_rice, is_rice = drawn(1.0)
    fold = np.arange(80) % 5
    before = fold_recalibrations(p_rice, is_rice, fold)
    changed = np.where(fold == 2, 1 - p_rice, p_rice)
    after = fold_recalibrations(changed, is_rice, fold)
    assert after[2] == before[2]
    assert all(after[k] != before[k] for k in (0, 1, 3, 4))


def slow_error(p_rice, is_rice):
    bins = max(2, min(10, len(p_rice) // 8))
    edges = [-1.0, *np.quantile(p_rice, [k / bins for k in range(1, bins)]), 2.0]
    total = 0.0
    for low, high in pairwise(edges):
        inside = [i for i, p in enumerate(p_rice) if low < p <= high]
        if inside:
            total += abs(np.mean([is_rice[i] for i in inside]) - np.mean([p_rice[i] for i in inside])) * len(
                inside
            )
    return total / len(p_rice)


def test_the_calibration_error_is_that_of_a_loop_over_bins():
    p_rice, is_rice = drawn(1.0)
    found = score_of(calibration_error(p_rice, is_rice), 80)
    assert found == pytest.approx(slow_error(p_rice, is_rice))


def test_bins_hold_all_subjects_and_equal_probabilities_share_one():
    p_rice = np.r_[np.full(10, 0.3), np.full(6, 0.8)]
    found = reliability(p_rice, np.r_[np.arange(10) < 3, np.arange(6) < 3])
    assert [(b.n, b.mean_p_rice, b.share_rice.value) for b in found] == [
        (10, pytest.approx(0.3), 0.3),
        (6, pytest.approx(0.8), 0.5),
    ]


def test_overconfidence_is_seen_and_mended():
    p_rice, is_rice = drawn(1.5, n=200, rice=80)
    sure = expit(6 * logit(p_rice))
    found = calibration(sure, is_rice, np.arange(200) % 5, Resampling.of(is_rice, 7, 300))
    assert found.recalibration.slope < 1 / 3
    assert found.scaled_ece.value < found.ece.value / 2
    assert found.scaled_log_loss < found.log_loss
    assert len(found.recalibrations) == 5


def test_coverage_and_risk_of_four_answers():
    # confidences 0.9 (right), 0.8 (wrong), 0.7 (right), 0.7 (wrong: equally sure, so given together)
    p_rice = np.array([0.9, 0.2, 0.7, 0.3])
    is_rice = np.array([True, True, True, True])
    sure, share, error = coverage_risk(p_rice, is_rice)
    assert sure == pytest.approx([0.9, 0.8, 0.7])
    assert share == pytest.approx([1 / 4, 2 / 4, 4 / 4])
    assert error == pytest.approx([0, 1 / 2, 2 / 4])


def test_the_threshold_is_the_least_that_keeps_the_target():
    p_rice, is_rice = drawn(2.0)
    for target in (0.05, 0.1, 0.2):
        threshold = threshold_for(p_rice, is_rice, target)
        confidence = np.maximum(p_rice, 1 - p_rice)
        wrong = (p_rice >= 0.5) != is_rice
        kept = [t for t in np.unique(confidence) if wrong[confidence >= t].mean() <= target]
        assert threshold == pytest.approx(min(kept))
    assert threshold_for(np.array([0.9, 0.8]), np.array([False, False]), 0.1) is None


def test_abstention_answers_only_the_sure_by_other_folds_thresholds():
    p_rice, is_rice = drawn(2.0, n=200, rice=80)
    fold = np.arange(200) % 5
    found = abstention(p_rice, is_rice, fold, AS_GIVEN, target_error=0.1)
    everyone = ((p_rice >= 0.5) != is_rice).mean()
    assert 0 < found.coverage.value < 1
    assert found.error is not None
    assert found.error.value < everyone
    assert found.curve[-1] == (1.0, pytest.approx(everyone))


def test_where_nobody_can_be_answered_there_is_no_error_rate():
    p_rice, is_rice = np.full(20, 0.9), np.arange(20) < 10
    found = abstention(p_rice, is_rice, np.arange(20) % 5, AS_GIVEN, target_error=0.1)
    assert (found.threshold, found.coverage.value, found.error) == (None, 0, None)


def test_the_three_way_vote_needs_the_majority_and_a_sure_mean():
    folds = np.array(
        [
            [0.9, 0.9, 0.9],  # sure of rice
            [0.1, 0.1, 0.2],  # sure of recurrence
            [0.6, 0.6, 0.4],  # not sure
            [0.51, 0.51, 0.0],  # majority rice, mean recurrence
        ]
    )
    assert three_way_vote(folds, AS_GIVEN, 0.6) == ["rice", "recurrence", "indeterminate", "indeterminate"]
    assert three_way_vote(folds, AS_GIVEN, None) == ["indeterminate"] * 4
    # a temperature makes everyone less sure
    by_five = Recalibration(method="temperature", slope=0.2, intercept=0.0)
    assert three_way_vote(folds[:1], by_five, 0.7) == ["indeterminate"]


def test_platt_scaling_of_two_probabilities_gives_their_shares():
    # of 8 at 0.5, 2 are rice, of 8 at 0.9, 6: logits 0 and ln 9 become -ln 3 and ln 3
    p_rice, is_rice = np.repeat([0.5, 0.9], 8), np.r_[np.arange(8) < 2, np.arange(8) < 6]
    assert fit_platt(p_rice, is_rice) == pytest.approx((1.0, -np.log(3)), abs=1e-4)


def test_platt_scaling_is_an_unpenalised_regression_on_the_logit():
    p_rice, is_rice = drawn(1.0, n=200, rice=60)
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(p_rice)[:, None], is_rice)
    expected = (float(regression.coef_[0, 0]), float(regression.intercept_[0]))
    assert fit_platt(p_rice, is_rice) == pytest.approx(expected, rel=1e-3)


def test_an_inverted_classifier_is_not_inverted_back():
    p_rice, is_rice = drawn(1.5, n=200, rice=60)
    fold = np.arange(200) % 5
    found = recalibration(1 - p_rice, is_rice, fold)
    assert found.method == "Platt" and found.says_the_share
    assert recalibrated(np.array([0.01, 0.5, 0.99]), found) == pytest.approx(np.full(3, 0.3), abs=1e-4)
    assert "the share of RICE, 0.30, for everyone" in found.sentence


def test_the_better_method_is_taken_by_its_cross_fitted_loss():
    p_rice, is_rice = drawn(1.5, n=200, rice=100)
    fold = np.arange(200) % 5
    # sure and shifted by 3: no temperature mends a shift
    shifted = expit(5 * logit(p_rice) + 3)
    found = calibration(shifted, is_rice, fold, Resampling.of(is_rice, 7, 300))
    assert found.recalibration.method == "Platt" and found.platt_log_loss < found.temperature_log_loss
    assert found.scaled_log_loss == pytest.approx(found.platt_log_loss)
    by_hand = np.empty(200)
    for k in range(5):
        slope, intercept = fit_platt(shifted[fold != k], is_rice[fold != k])
        by_hand[fold == k] = expit(slope * logit(shifted[fold == k]) + intercept)
    losses = -np.log(np.where(is_rice, by_hand, 1 - by_hand))
    assert found.platt_log_loss == pytest.approx(losses.mean(), rel=1e-6)


def test_who_changes_sides_by_recalibration_gets_no_answer():
    # all are called rice and half are: the share of 0.45 says recurrence
    is_rice = np.arange(40) < 18
    p_rice, fold = np.full(40, 0.9), np.arange(40) % 5
    by = Recalibration(method="Platt", slope=0.0, intercept=float(logit(0.45)))
    found = abstention(p_rice, is_rice, fold, by, target_error=0.6)
    assert (found.coverage.value, found.error) == (0, None)
    assert found.curve[-1] == (1.0, pytest.approx(22 / 40))
    low = Recalibration(method="Platt", slope=0.0, intercept=-1.0)
    assert three_way_vote(np.array([[0.9, 0.9]]), low, 0.5) == ["indeterminate"]
