"""Calibration, temperature and the three-way vote, against slow references and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ricenet.evaluation.evidence.abstention import abstention, coverage_risk, three_way_vote, threshold_for
from ricenet.evaluation.evidence.calibration import (
    calibration,
    fit_platt,
    fit_recalibration,
    fit_temperature,
    fold_recalibrations,
    recalibrated,
    recalibration,
    reliability,
    scaled,
)
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.evaluation.scores import log_losses

AS_GIVEN = Recalibration(method="temperature", slope=1.0, intercept=0.0)


def test_a_temperature_divides_logits():
    assert scaled(np.array([0.2, 0.9]), 2.0) == pytest.approx(expit(logit([0.2, 0.9]) / 2))
    assert scaled(np.array([0.2, 0.9]), 1.0) == pytest.approx([0.2, 0.9])
    assert np.isfinite(scaled(np.array([0.0, 1.0]), 3.0)).all()


def test_the_temperature_is_the_most_probable_of_a_fine_grid():
    p_rice, is_rice = drawn(1.0, n=40, rice=18)
    sure = expit(4 * logit(p_rice))
    logs = np.linspace(-3, 3, 6001)
    answers = logit(sure) / np.exp(logs)[:, None]
    losses = np.logaddexp(0, np.where(is_rice, -answers, answers)).sum(axis=1) + (logs / 0.35) ** 2 / 2
    assert fit_temperature(sure, is_rice) == pytest.approx(np.exp(logs[losses.argmin()]), rel=2e-3)


def test_many_subjects_outweigh_the_priors_and_few_change_little():
    p_rice, is_rice = drawn(1.0, n=20_000, rice=9_000)
    sure = expit(4 * logit(p_rice) + 1)
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(sure)[:, None], is_rice)
    expected = (float(regression.coef_[0, 0]), float(regression.intercept_[0]))
    assert fit_platt(sure, is_rice) == pytest.approx(expected, rel=0.01)
    # 8 that could not be more wrong, which without a prior would be taken to a bound
    wrong, truth = np.array([0.9, 0.1] * 4), np.array([False, True] * 4)
    assert 1 < fit_temperature(wrong, truth) < 2.5
    slope, intercept = fit_platt(wrong, truth)
    assert slope > 0.1 and abs(intercept) < 0.3


@pytest.mark.parametrize("subjects", [8, 32])
@pytest.mark.parametrize("method", ["temperature", "Platt"])
def test_on_average_few_subjects_do_not_spoil_calibrated_probabilities(subjects, method):
    rng = np.random.default_rng(subjects)
    of_all = rng.beta(1, 1, 20_000)
    labels = rng.random(20_000) < of_all
    before, changes = log_losses(of_all, labels).mean(), []
    for _ in range(60):
        p_rice = rng.beta(1, 1, subjects)
        found = fit_recalibration(p_rice, rng.random(subjects) < p_rice, method)
        changes.append(log_losses(recalibrated(of_all, found), labels).mean() - before)
    assert np.mean(changes) < 0.01


def test_a_fold_has_no_part_in_its_own_temperature():
    p_rice, is_rice = drawn(1.0)
    fold = np.arange(80) % 5
    before = fold_recalibrations(p_rice, is_rice, fold)
    changed = np.where(fold == 2, 1 - p_rice, p_rice)
    after = fold_recalibrations(changed, is_rice, fold)
    assert after[2] == before[2]
    assert all(after[k] != before[k] for k in (0, 1, 3, 4))


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
    found = calibration(sure, is_rice, np.arange(200) % 5, 7, 300)
    assert found.recalibration.slope < 0.4
    assert found.weak.is_off
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


def test_platt_scaling_is_the_most_probable_of_a_fine_grid():
    p_rice, is_rice = drawn(1.0, n=40, rice=12)
    slopes, intercepts = np.meshgrid(np.linspace(0, 2, 401), np.linspace(-1.5, 1.5, 601), indexing="ij")
    answers = slopes[..., None] * logit(p_rice) + intercepts[..., None]
    losses = np.logaddexp(0, np.where(is_rice, -answers, answers)).sum(axis=-1)
    losses += (((slopes - 1) / 0.3) ** 2 + (intercepts / 0.3) ** 2) / 2
    where = np.unravel_index(losses.argmin(), losses.shape)
    assert fit_platt(p_rice, is_rice) == pytest.approx((slopes[where], intercepts[where]), abs=0.006)


def test_an_inverted_classifier_is_not_inverted_back():
    p_rice, is_rice = drawn(1.5, n=200, rice=60)
    fold = np.arange(200) % 5
    found = recalibration(1 - p_rice, is_rice, fold)
    assert found.method == "Platt" and found.says_the_share
    assert recalibrated(np.array([0.01, 0.5, 0.99]), found) == pytest.approx(np.full(3, 61 / 202))
    assert "the share of RICE, 0.30, for everyone" in found.sentence


def test_the_better_method_is_taken_by_its_cross_fitted_loss():
    p_rice, is_rice = drawn(1.5, n=200, rice=100)
    fold = np.arange(200) % 5
    # sure and shifted by 3: no temperature mends a shift
    shifted = expit(5 * logit(p_rice) + 3)
    found = calibration(shifted, is_rice, fold, 7, 300)
    assert found.recalibration.method == "Platt" and found.platt_log_loss < found.temperature_log_loss
    assert found.scaled_log_loss == pytest.approx(found.platt_log_loss)
    by_hand = np.empty(200)
    for k in range(5):
        slope, intercept = fit_platt(shifted[fold != k], is_rice[fold != k])
        by_hand[fold == k] = expit(slope * logit(shifted[fold == k]) + intercept)
    losses = -np.log(np.where(is_rice, by_hand, 1 - by_hand))
    assert found.platt_log_loss == pytest.approx(losses.mean(), rel=1e-6)


def test_who_changes_sides_by_recalibration_gets_no_answer():
    # all are called rice and a quarter are: what is recalibrated says recurrence
    is_rice = np.arange(40) < 10
    p_rice, fold = np.full(40, 0.9), np.arange(40) % 5
    by = Recalibration(method="Platt", slope=0.0, intercept=float(logit(0.25)))
    found = abstention(p_rice, is_rice, fold, by, target_error=0.8)
    assert (found.coverage.value, found.error) == (0, None)
    assert found.curve[-1] == (1.0, pytest.approx(30 / 40))
    low = Recalibration(method="Platt", slope=0.0, intercept=-1.0)
    assert three_way_vote(np.array([[0.9, 0.9]]), low, 0.5) == ["indeterminate"]
