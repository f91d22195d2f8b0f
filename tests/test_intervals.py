"""Scores and their intervals, against scikit-learn, textbook formulas and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import drawn
from scipy.stats import bootstrap, norm
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, log_loss, roc_auc_score

from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Resampling, mean_over_subjects, score_of
from ricenet.evaluation.intervals import Estimate, exact_bounds, macro_f1_of_rates, proportion
from ricenet.evaluation.scores import scores_with_intervals

REFERENCES = {
    scores.macro_f1: lambda y, p: f1_score(y, p >= 0.5, average="macro"),
    scores.balanced_accuracy: lambda y, p: balanced_accuracy_score(y, p >= 0.5),
    scores.auc: roc_auc_score,
    scores.brier: brier_score_loss,
}


@pytest.mark.parametrize("score", REFERENCES)
def test_a_score_of_repeated_subjects_is_scikit_learns(score):
    p_rice, is_rice = drawn(1.0, n=30, rice=12)
    p_rice = p_rice.round(1)  # ties
    weights = np.random.default_rng(2).integers(0, 3, size=(20, 30))
    found = score(p_rice, is_rice)(weights.astype(float))
    for value, times in zip(found, weights, strict=True):
        y, p = np.repeat(is_rice, times), np.repeat(p_rice, times)
        assert value == pytest.approx(REFERENCES[score](y, p), abs=1e-12)


def test_log_losses_average_to_scikit_learns():
    p_rice, is_rice = drawn(1.0)
    assert scores.log_losses(p_rice, is_rice).mean() == pytest.approx(log_loss(is_rice, p_rice))
    assert np.isfinite(scores.log_losses(np.array([0.0, 1.0]), np.array([True, False]))).all()


def textbook_bca(statistic, is_rice, resamples, rng):
    """Efron and Tibshirani 1993, equations 14.9 to 14.15, within labels, of counts of subjects."""
    n, value = len(is_rice), score_of(statistic, len(is_rice))
    where = [np.flatnonzero(~is_rice), np.flatnonzero(is_rice)]
    draws = [np.concatenate([rng.choice(w, len(w)) for w in where]) for _ in range(resamples)]
    resampled = statistic(np.array([np.bincount(d, minlength=n) for d in draws], dtype=float))
    z0 = norm.ppf(((resampled < value).mean() + (resampled <= value).mean()) / 2)
    third, second = 0.0, 0.0
    for w in where:
        left = statistic(1.0 - np.eye(n)[w])
        influence = (len(w) - 1) * (left.mean() - left)
        third += (influence**3).sum() / len(w) ** 3
        second += (influence**2).sum() / len(w) ** 2
    a = third / (6 * second**1.5)
    ends = [norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in norm.ppf([0.025, 0.975])]
    return np.quantile(resampled, ends)


@pytest.mark.parametrize("score", [scores.auc, scores.brier, scores.macro_f1])
def test_the_interval_is_the_textbooks_bca_within_half_a_hundredth(score):
    p_rice, is_rice = drawn(1.2, n=60, rice=24, seed=5)
    statistic = score(p_rice, is_rice)
    (found,) = Resampling.of(is_rice, seed=1, resamples=9999).estimates([statistic])
    reference = textbook_bca(statistic, is_rice, 20_000, np.random.default_rng(3))
    # macro-F1 moves in steps of a subject, so that both may lie a step apart
    tolerance = 0.02 if score is scores.macro_f1 else 0.006
    assert [found.low, found.high] == pytest.approx(list(reference), abs=tolerance)
    assert found.method == "bca"


def test_resamples_keep_the_number_of_each_label_and_repeat_by_seed():
    is_rice = np.arange(10) < 4
    seen = []

    def watch(counts):
        seen.append(counts)
        return counts[:, 0] + counts[:, 4]

    for seed in (1, 1, 2):
        Resampling.of(is_rice, seed, 300).estimates([watch])
    resampled, same, other = (counts for counts in seen if len(counts) == 300)
    assert (resampled[:, is_rice].sum(axis=1) == 4).all()
    assert (resampled[:, ~is_rice].sum(axis=1) == 6).all()
    assert (resampled == same).all()
    assert (resampled != other).any()


def test_scores_that_are_estimated_together_are_those_estimated_alone():
    p_rice, is_rice = drawn(1.0)
    resampling = Resampling.of(is_rice, 7, 500)
    statistics = [score(p_rice, is_rice) for score in REFERENCES]
    assert resampling.estimates(statistics) == [resampling.estimates([s])[0] for s in statistics]


def test_exact_proportions_are_the_published_ones():
    # Clopper and Pearson's interval of 4 of 20, as in many tables: 5.73 to 43.66 %
    found = proportion(4, 20)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0573, 0.4366), abs=5e-5)
    # with no hit of 10 the upper end solves (1 - p)^10 = 0.025
    assert proportion(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert (proportion(0, 0).low, proportion(0, 0).high) == (0, 1)


def test_sensitivity_and_specificity_are_those_of_rice():
    is_rice = np.array([True, True, True, False, False])
    found = scores_with_intervals(np.array([0.9, 0.8, 0.1, 0.2, 0.7]), is_rice, 0, 300)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(1 / 2)
    assert found.sensitivity.method == "exact"


def test_a_faultless_classification_is_not_certain():
    p_rice, is_rice = np.r_[np.full(48, 0.1), np.full(32, 0.9)], np.arange(80) >= 48
    found = scores_with_intervals(p_rice, is_rice, 0, 300)
    for estimate in (found.macro_f1, found.balanced_accuracy, found.auc):
        assert (estimate.value, estimate.high, estimate.method) == (1, 1, "exact bound")
        assert 0.85 < estimate.low < 0.95


def test_the_bound_holds_the_rates_corners():
    # both labels 9 of 10 right: macro-F1 at the lower ends of two exact 97.5 % intervals
    is_rice = np.arange(20) < 10
    p_rice = np.where(is_rice != np.isin(np.arange(20), [0, 10]), 0.9, 0.1)
    low, bounds = proportion(9, 10, level=0.975).low, exact_bounds(p_rice, is_rice)
    assert bounds["macro_f1"][0] == pytest.approx(macro_f1_of_rates(low, low, 10, 10))
    assert bounds["balanced_accuracy"][0] == pytest.approx(low)
    # of 100 pairs RICE wins 81 and 18 are ties: an area of 0.9
    assert bounds["auc"] == pytest.approx((proportion(9, 10).low, proportion(9, 10).high))


def test_the_mean_over_subjects_is_scipys_bootstrap_and_open_of_a_single_one():
    values = np.random.default_rng(5).exponential(1, 20)
    found = mean_over_subjects(values, seed=7)
    reference = bootstrap((values,), np.mean, method="BCa", rng=1).confidence_interval
    assert (found.value, found.method) == (pytest.approx(values.mean()), "bca")
    assert (found.low, found.high) == pytest.approx(tuple(reference), abs=0.03)
    alone = mean_over_subjects([2.0], seed=7)
    assert (alone.value, alone.low, alone.high, alone.method) == (2.0, -np.inf, np.inf, "none")
    assert alone.model_dump(mode="json") | {"value": 2.0} == alone.model_dump() | {"low": None, "high": None}
    assert Estimate.model_validate(alone.model_dump(mode="json")) == alone
    assert mean_over_subjects([], seed=7) is None


def test_macro_f1_of_rates_is_that_of_the_confusion_matrix():
    y, called = np.r_[np.ones(10), np.zeros(20)], np.r_[np.ones(8), np.zeros(2), np.ones(5), np.zeros(15)]
    assert macro_f1_of_rates(0.8, 0.75, 10, 20) == pytest.approx(f1_score(y, called, average="macro"))
    assert macro_f1_of_rates(0.0, 1.0, 10, 20) == pytest.approx(
        f1_score(y, 0 * y, average="macro", zero_division=0)
    )
