"""Paired tests, against published examples and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn, held_out

from ricenet.evaluation.delong import auc_covariance, delong_estimate, delong_p_value
from ricenet.evaluation.evidence.comparison import bootstrap_p_value, compare_pairs, holm, mcnemar_p_value
from ricenet.evaluation.evidence.held_out import HeldOut
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import Prediction


def test_delong_gives_the_published_interval_of_hanley_and_mcneils_ratings():
    # Hanley and McNeil 1982, table 1 (58 normal, 51 abnormal CT images, ratings 1 to 5); area and DeLong's
    # interval as the Stata manual prints them for the same data: 0.8932, 0.0307, 0.83295 to 0.95339
    ratings = np.repeat([1.0, 2, 3, 4, 5, 1, 2, 3, 4, 5], [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    abnormal = np.arange(109) >= 58
    found = delong_estimate(ratings, abnormal)
    assert (found.value, found.low, found.high) == pytest.approx((0.8932, 0.83295, 0.95339), abs=1e-4)
    assert np.sqrt(auc_covariance(ratings[np.newaxis], abnormal)[1])[0, 0] == pytest.approx(0.0307, abs=1e-4)


def slow_covariance(rows, is_rice):
    """DeLong's structural components, pair by pair."""
    rice, rest = np.flatnonzero(is_rice), np.flatnonzero(~is_rice)

    def wins(row, i, j):
        return 1.0 if row[i] > row[j] else 0.5 if row[i] == row[j] else 0.0

    v10 = np.array([[np.mean([wins(row, i, j) for j in rest]) for i in rice] for row in rows])
    v01 = np.array([[np.mean([wins(row, i, j) for i in rice]) for j in rest] for row in rows])
    return np.cov(v10) / len(rice) + np.cov(v01) / len(rest)


def test_delongs_covariance_is_that_of_the_structural_components():
    a, is_rice = drawn(1.0, n=25, rice=9)
    b = np.clip(a + np.random.default_rng(1).normal(0, 0.2, 25), 0, 1).round(1)
    rows = np.stack([a, b])
    assert auc_covariance(rows, is_rice)[1] == pytest.approx(slow_covariance(rows, is_rice))


def test_delong_does_not_tell_a_classification_from_itself():
    a, is_rice = drawn(1.0)
    assert delong_p_value(a, a, is_rice) == 1
    assert delong_p_value(a, a**3, is_rice) == 1
    assert delong_p_value(drawn(4.0)[0], 1 - drawn(4.0)[0], is_rice) < 1e-6


def test_delongs_test_knows_nothing_without_variance():
    is_rice = np.array([True, True, False, False])
    assert delong_p_value(np.array([0.9, 0.8, 0.1, 0.2]), np.full(4, 0.5), is_rice) == 1


def test_the_difference_of_two_faultless_opposites_is_not_certain():
    is_rice = np.arange(16) < 8
    case = held_out(is_rice, {"a": np.where(is_rice, 0.9, 0.1), "b": np.where(is_rice, 0.1, 0.9)})
    (found,) = compare_pairs(case, case.resampling(7, 300))
    assert (found.macro_f1.value, found.macro_f1.method) == (1, "exact bound")
    assert 0 < found.macro_f1.low < 0.7
    assert (found.auc.value, found.auc.method) == (1, "exact bound")


def test_delongs_test_keeps_its_level_where_nothing_differs():
    rejected = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        is_rice = np.arange(60) < 25
        common = rng.normal(size=60) + is_rice
        a, b = (common + rng.normal(size=60) for _ in range(2))
        rejected += delong_p_value(a, b, is_rice) < 0.05
    assert 3 <= rejected <= 30


def test_mcnemar_is_the_binomial_of_the_discordant():
    # 1 of 8: 2 (1 + 8) / 256
    assert mcnemar_p_value(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_p_value(4, 4) == 1
    assert mcnemar_p_value(0, 0) == 1


def test_holm_corrects_step_by_step():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, and never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_bootstrap_p_value_counts_the_rarer_side_twice():
    assert bootstrap_p_value(np.array([1.0] * 97 + [-1.0] * 2)) == pytest.approx(2 * 3 / 100)
    assert bootstrap_p_value(np.ones(99)) == pytest.approx(2 / 100)
    assert bootstrap_p_value(np.zeros(99)) == 1


def test_a_better_set_is_told_from_a_worse_one_and_pairs_are_corrected():
    good, is_rice = drawn(4.0)
    case = held_out(is_rice, {"dose": good, "event": drawn(0.0, seed=9)[0], "post_op": good})
    found = compare_pairs(case, case.resampling(7, 500))
    assert [(c.a, c.b) for c in found] == [("dose", "event"), ("dose", "post_op"), ("event", "post_op")]
    better, equal, worse = found
    assert better.macro_f1.low > 0.1
    assert worse.macro_f1.high < -0.1
    assert better.macro_f1.value == pytest.approx(-worse.macro_f1.value)
    assert better.p_macro_f1_holm == pytest.approx(min(1, 3 * better.p_macro_f1))
    assert (equal.macro_f1.low, equal.macro_f1.high) == (0, 0)
    assert (equal.p_macro_f1, equal.p_mcnemar, equal.p_delong) == (1, 1, 1)
    right = {name: (p >= 0.5) == is_rice for name, p in case.p_rice.items()}
    assert better.only_a_right == (right["dose"] & ~right["event"]).sum()
    assert better.n == 80


def test_asked_pairs_alone_are_compared_and_a_single_set_with_nothing():
    p_rice, is_rice = drawn(1.0)
    three = held_out(is_rice, dict.fromkeys(("dose", "event", "post_op"), p_rice))
    (only,) = compare_pairs(three, three.resampling(7, 200), [("post_op", "dose")])
    assert (only.a, only.b) == ("post_op", "dose")
    one = held_out(is_rice, {"dose": p_rice})
    assert compare_pairs(one, one.resampling(7, 200)) == ()


def test_sets_that_predict_other_subjects_are_not_compared():
    both = {"dose": [Prediction("sub-1", "rice", 0, 0.2)], "event": [Prediction("sub-2", "rice", 0, 0.2)]}
    with pytest.raises(ResultError, match="dose and event do not predict the same subjects"):
        HeldOut.of(both)
