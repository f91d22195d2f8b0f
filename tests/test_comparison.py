"""Paired tests, against published examples and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn, held_out, predictions_of

from ricenet.evaluation.evidence.comparison import (
    auc_covariance,
    bootstrap_p_value,
    compare,
    compare_pairs,
    delong_estimate,
    delong_p_value,
    holm,
    mcnemar_p_value,
)
from ricenet.evaluation.held_out import HeldOut
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


def test_delong_finds_no_difference_of_a_classification_from_itself_or_without_variance():
    a, is_rice = drawn(1.0)
    assert delong_p_value(a, a, is_rice) == 1
    assert delong_p_value(a, a**3, is_rice) == 1
    assert delong_p_value(drawn(4.0)[0], 1 - drawn(4.0)[0], is_rice) < 1e-6
    four = np.array([True, True, False, False])
    assert delong_p_value(np.array([0.9, 0.8, 0.1, 0.2]), np.full(4, 0.5), four) == 1


def test_the_difference_of_two_faultless_opposites_is_not_certain():
    is_rice = np.arange(16) < 8
    case = held_out(is_rice, {"a": np.where(is_rice, 0.9, 0.1), "b": np.where(is_rice, 0.1, 0.9)})
    found = compare(case, "a", "b", seed=7, resamples=300)
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


def test_a_better_set_is_found_and_pairs_are_corrected():
    good, is_rice = drawn(4.0)
    columns = {"dose": good, "event": drawn(0.0, seed=9)[0], "post_op": good}
    found = compare_pairs(predictions_of(is_rice, columns), 7, 500)
    assert [(c.a, c.b) for c in found] == [("dose", "event"), ("dose", "post_op"), ("event", "post_op")]
    better, equal, worse = found
    assert better.macro_f1.low > 0.1
    assert worse.macro_f1.high < -0.1
    assert better.macro_f1.value == pytest.approx(-worse.macro_f1.value)
    assert better.p_macro_f1_holm == pytest.approx(min(1, 3 * better.p_macro_f1))
    assert (equal.macro_f1.low, equal.macro_f1.high) == (0, 0)
    assert (equal.p_macro_f1, equal.p_mcnemar, equal.p_delong) == (1, 1, 1)
    right = {name: (p >= 0.5) == is_rice for name, p in columns.items()}
    assert better.only_a_right == (right["dose"] & ~right["event"]).sum()
    assert better.n == 80
    (only,) = compare_pairs(predictions_of(is_rice, columns), 7, 200, [("post_op", "dose")])
    assert (only.a, only.b) == ("post_op", "dose")


def test_a_pair_is_compared_on_its_common_subjects_alone():
    p_rice, is_rice = drawn(1.0)
    sets = predictions_of(is_rice, {"dose": p_rice, "event": p_rice, "flair": drawn(0.0, seed=9)[0]})
    sets["flair"] = sets["flair"][10:]
    found = {(c.a, c.b): c for c in compare_pairs(sets, 7, 200)}
    assert {pair: c.n for pair, c in found.items()} == {
        ("dose", "event"): 80, ("dose", "flair"): 70, ("event", "flair"): 70
    }  # fmt: skip
    fewer = {name: rows[10:] for name, rows in sets.items() if name != "flair"} | {"flair": sets["flair"]}
    (alone,) = compare_pairs(fewer, 7, 200, [("dose", "flair")])
    assert alone.macro_f1 == found["dose", "flair"].macro_f1
    # with one subject of a label in common nothing can be said
    sets["flair"] = [p for p in sets["flair"] if p.label == "recurrence"]
    assert [(c.a, c.b) for c in compare_pairs(sets, 7, 200)] == [("dose", "event")]
    assert compare_pairs({"dose": sets["dose"]}, 7, 200) == ()


def test_predictions_that_contradict_each_other_are_not_joined():
    one, other = Prediction("sub-1", "rice", 0, 0.2), Prediction("sub-1", "recurrence", 0, 0.2)
    with pytest.raises(ResultError, match="dose and event call sub-1 by different labels"):
        HeldOut.of({"dose": [one], "event": [other]})
    with pytest.raises(ResultError, match="dose predicts a subject in two folds"):
        HeldOut.of({"dose": [one, one]})
