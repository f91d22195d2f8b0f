"""Calibration intercept, slope and test, against enumeration, published methods and drawn labels."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ricenet.evaluation.evidence.weak_calibration import (
    calibration_p_value,
    intercept,
    logits_of,
    slope,
    weak_calibration,
)


def drawn(rng: np.random.Generator, subjects: int, a: float = 1, b: float = 1) -> tuple:
    """Probabilities from a beta distribution, and labels drawn from them, two of each at least."""
    while True:
        p_rice = rng.beta(a, b, subjects)
        is_rice = rng.random(subjects) < p_rice
        if 2 <= is_rice.sum() <= subjects - 2:
            return p_rice, is_rice


def test_the_intercepts_ends_are_where_the_count_is_as_improbable_as_clopper_and_pearson_ask() -> None:
    p_rice = np.array([0.1, 0.3, 0.5, 0.6, 0.8])
    is_rice = np.array([False, True, False, True, True])
    found = intercept(p_rice, is_rice)

    def probability(shift: float, counts: range) -> float:
        shares = expit(logit(p_rice) + shift)
        return sum(
            float(np.prod(np.where(labels, shares, 1 - shares)))
            for labels in product((0, 1), repeat=5)
            if sum(labels) in counts
        )

    assert probability(found.low, range(3, 6)) == pytest.approx(0.025, abs=1e-6)
    assert probability(found.high, range(4)) == pytest.approx(0.025, abs=1e-6)
    assert found.low < 0 < found.value < found.high


def test_the_slopes_ends_are_those_of_enumerated_conditional_logistic_regression() -> None:
    # on the grid exactly: 6 logits, a step of 10 * 6 / 8000
    logits = np.array([-3.0, -1.5, 0.0, 1.5, 3.0, 7.0])
    is_rice = np.array([False, True, False, True, False, True])
    found = slope(logits, is_rice)
    assert found is not None
    sums = np.array([logits[list(chosen)].sum() for chosen in combinations(range(6), 3)])
    observed = logits[is_rice].sum()

    def probability(parameter: float, inside: np.ndarray) -> float:
        weights = np.exp(parameter * sums)
        return float(weights[inside].sum() / weights.sum())

    assert probability(found.low, sums >= observed - 1e-9) == pytest.approx(0.025, abs=1e-4)
    assert probability(found.high, sums <= observed + 1e-9) == pytest.approx(0.025, abs=1e-4)


def test_of_many_subjects_both_are_those_of_a_regression() -> None:
    p_rice, _ = drawn(np.random.default_rng(1), 400)
    is_rice = np.random.default_rng(2).random(400) < expit(0.5 * logit(p_rice) + 0.4)
    logits = logits_of(p_rice)
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], is_rice)
    found = weak_calibration(p_rice, is_rice, 7, 999)
    assert found.slope is not None
    assert found.slope.value == pytest.approx(float(regression.coef_[0, 0]), abs=0.01)
    # the slope held at 1: where as many are foretold as have RICE
    assert expit(logits + found.intercept.value).sum() == pytest.approx(is_rice.sum(), abs=0.6)
    assert found.is_off and "too sure of themselves" in found.sentence


@pytest.mark.parametrize("subjects", [12, 40, 80])
@pytest.mark.parametrize("shape", [(1, 1), (0.5, 0.5), (4, 4)])
def test_at_most_7_percent_of_calibrated_cohorts_are_called_miscalibrated(subjects, shape) -> None:
    cohorts, called = 1000, 0
    for number in range(cohorts):
        p_rice, is_rice = drawn(np.random.default_rng([subjects, number]), subjects, *shape)
        called += calibration_p_value(p_rice, is_rice, number, 199) <= 0.05
    assert 0.01 <= called / cohorts <= 0.07


@pytest.mark.parametrize("subjects", [12, 40])
def test_intervals_hold_the_truth_of_calibrated_cohorts(subjects: int) -> None:
    missed = np.zeros(2)
    for number in range(300):
        p_rice, is_rice = drawn(np.random.default_rng([5, subjects, number]), subjects)
        of_intercept, of_slope = intercept(p_rice, is_rice), slope(logits_of(p_rice), is_rice)
        assert of_slope is not None
        missed += not of_intercept.low <= 0 <= of_intercept.high, not of_slope.low <= 1 <= of_slope.high
    assert (missed / 300 <= 0.06).all()


def test_answers_three_times_too_sure_are_found() -> None:
    p_rice, is_rice = drawn(np.random.default_rng(3), 80)
    found = weak_calibration(expit(3 * logit(p_rice)), is_rice, 7, 999)
    assert found.p == 1 / 1000
    assert found.slope is not None and found.slope.high < 1


def test_the_test_is_repeatable_and_keyed_by_its_seed() -> None:
    p_rice, is_rice = drawn(np.random.default_rng(4), 40)
    first, again, other = (calibration_p_value(p_rice, is_rice, seed, 999) for seed in (1, 1, 2))
    assert first == again != other


def test_equal_probabilities_have_no_slope_and_an_exact_share() -> None:
    found = weak_calibration(np.full(40, 0.5), np.arange(40) < 10, 7, 9999)
    assert found.slope is None
    assert "slope none, all being equal" in found.sentence
    # 10 or fewer, or 30 or more, of 40 fair coins: 0.0022
    assert found.p == pytest.approx(0.0022, abs=0.0015)


def test_where_all_are_rightly_ranked_the_slope_has_no_upper_end() -> None:
    is_rice = np.arange(20) < 8
    found = weak_calibration(np.where(is_rice, 0.7, 0.2), is_rice, 7, 999)
    assert found.slope is not None
    assert math.isinf(found.slope.high) and math.isfinite(found.slope.value) and found.slope.low > 0


def test_a_certain_answer_that_is_wrong_is_miscalibrated() -> None:
    is_rice = np.arange(20) < 10
    assert weak_calibration(np.ones(20), is_rice, 7, 999).p == 1 / 1000
    assert weak_calibration(np.where(is_rice, 0.0, 1.0), is_rice, 7, 999).p == 1 / 1000
    # nothing is off where every certain answer is right
    assert weak_calibration(np.where(is_rice, 1.0, 0.0), is_rice, 7, 999).p == 1


@pytest.mark.parametrize(
    ("factor", "shift", "way"),
    [
        (4.0, 0.0, "too sure of themselves"),
        (0.25, 0.0, "less sure than they might be"),
        (1.0, 2.0, "foretelling RICE too often"),
        (1.0, -2.0, "foretelling RICE too seldom"),
    ],
)
def test_the_sentence_says_in_which_way_probabilities_are_off(factor, shift, way) -> None:
    p_rice, is_rice = drawn(np.random.default_rng(9), 150)
    found = weak_calibration(expit(factor * logit(p_rice) + shift), is_rice, 7, 999)
    assert found.sentence.startswith("are miscalibrated") and way in found.sentence
    as_given = weak_calibration(p_rice, is_rice, 7, 999)
    assert as_given.sentence.startswith("are not shown to be miscalibrated (p = ")
