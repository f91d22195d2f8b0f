"""Shapley values of the modalities, against all orders and a game with a known answer."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from held_out_cases import drawn, held_out

from ricenet.evaluation.evidence.contribution import (
    NONE,
    contributions,
    prior,
    shapley_value,
    subject_contributions,
)
from ricenet.evaluation.scores import log_losses
from ricenet.vocabulary import MODALITIES, MODALITY_SETS

SUBSETS = (NONE, *MODALITY_SETS)


def random_values(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=3) for name in SUBSETS}


def by_orders(values, modality):
    """The gain when the modality joins, averaged over all six orders."""
    gains = []
    for order in permutations(MODALITIES):
        before = set(order[: order.index(modality)])
        name = "+".join(m for m in MODALITIES if m in before)
        with_it = "+".join(m for m in MODALITIES if m in before | {modality})
        gains.append(values[with_it] - values[name])
    return np.mean(gains, axis=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_value_is_the_mean_gain_over_all_orders(modality):
    values = random_values()
    assert shapley_value(values, modality) == pytest.approx(by_orders(values, modality))


def test_values_add_up_to_what_all_three_gain():
    values = random_values(1)
    total = sum(shapley_value(values, m) for m in MODALITIES)
    assert total == pytest.approx(values["post_op+event+dose"] - values[NONE])


def test_two_left_gloves_and_a_right_one_are_worth_a_sixth_and_two_thirds():
    # the glove game (Shapley and Shubik 1969): only a pair is worth something; the dose is the right glove
    pairs = {name: float("dose" in name and "+" in name) for name in SUBSETS}
    values = {name: np.array([worth]) for name, worth in pairs.items()}
    assert [float(shapley_value(values, m)[0]) for m in MODALITIES] == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def a_case(informative, first_seed=10):
    """Networks that see the informative modality are right mostly, all others guess."""
    good, is_rice = drawn(3.0, seed=4)
    guesses = {name: drawn(0.0, seed=first_seed + i)[0] for i, name in enumerate(MODALITY_SETS)}
    return held_out(
        is_rice, {n: good if informative and informative in n else guesses[n] for n in MODALITY_SETS}
    )


def test_the_modality_that_knows_the_label_is_found():
    case = a_case("dose")
    found = {c.score: c.modalities for c in contributions(case, case.resampling(7, 500))}
    assert list(found) == ["macro_f1", "auc", "log_loss"]
    for modalities in found.values():
        assert modalities["dose"].low > 0.1
        assert modalities["dose"].value > 3 * abs(modalities["event"].value)


def test_where_no_modality_knows_anything_none_is_said_to():
    above = {"macro_f1": 0, "auc": 0}
    for cohort in range(40):
        case = a_case(None, first_seed=10 * cohort)
        for found in contributions(case, case.resampling(7, 300))[:2]:
            above[found.score] += sum(estimate.low > 0 for estimate in found.modalities.values())
    # of 120 intervals each, 2.5 % would lie above 0 by chance
    assert all(count <= 9 for count in above.values()), above


def test_what_is_known_without_a_modality_is_what_a_coin_knows():
    macro_f1, auc, log_loss = contributions(a_case(None), a_case(None).resampling(7, 200))
    # a fair coin among 48 recurrences and 32 RICE: F1 of 0.6 / 1.1 and 0.4 / 0.9
    assert macro_f1.empty == pytest.approx((0.6 / 1.1 + 0.4 / 0.9) / 2)
    assert auc.empty == 0.5
    case = a_case(None)
    assert log_loss.empty == pytest.approx(log_losses(prior(case), case.is_rice).mean())


def test_subjects_values_average_to_the_cohorts_log_loss():
    case = a_case("dose")
    of_subjects = subject_contributions(case)
    of_cohort = contributions(case, case.resampling(7, 200))[2]
    for modality in MODALITIES:
        assert of_subjects[modality].mean() == pytest.approx(of_cohort.modalities[modality].value)
    assert of_cohort.everything == pytest.approx(
        log_losses(case.p_rice["post_op+event+dose"], case.is_rice).mean()
    )


def test_without_a_modality_only_the_other_folds_share_of_rice_is_known():
    case = held_out([True, False, False, False], {"dose": [0.5] * 4}, folds=2)
    # folds 0, 1, 0, 1: fold 0's subjects see fold 1's share, which is none of two
    assert prior(case) == pytest.approx([0, 0.5, 0, 0.5])


def test_a_missing_set_makes_exact_values_impossible():
    p_rice, is_rice = drawn(1.0)
    case = held_out(is_rice, {"dose": p_rice, "event": p_rice})
    assert contributions(case, case.resampling(7, 200)) == ()
