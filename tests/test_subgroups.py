"""Scores by subgroup, and the decision curve, by hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ricenet.evaluation.evidence.net_benefit import THRESHOLDS, benefits, decision_curve
from ricenet.evaluation.evidence.subgroups import groups_of, subgroup_scores
from ricenet.evaluation.held_out import HeldOut
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import VariableSpec

LABELS = ["rice", "rice", "rice", "recurrence", "recurrence", "recurrence", "rice", "recurrence"]
P_RICE = [0.9, 0.8, 0.4, 0.1, 0.2, 0.7, 0.6, 0.3]


def held_out() -> HeldOut:
    return HeldOut.of(
        {
            "dose": [
                Prediction(participant_id=f"sub-{i}", label=label, fold=i % 2, p_rice=p)
                for i, (label, p) in enumerate(zip(LABELS, P_RICE, strict=True))
            ]
        }
    )


def test_numbers_are_cut_at_the_median_and_what_is_not_known_is_a_group():
    groups = groups_of([10.0, 20.0, None, 40.0, 30.0], "Gy")
    assert {name: inside.tolist() for name, inside in groups.items()} == {
        "below 25 Gy": [True, True, False, False, False],
        "25 Gy or more": [False, False, False, True, True],
        "not known": [False, False, True, False, False],
    }


def test_categories_are_groups_and_a_variable_that_is_the_same_in_all_is_none():
    groups = groups_of(["proton", "photon", "photon"])
    assert {name: inside.tolist() for name, inside in groups.items()} == {
        "photon": [False, True, True],
        "proton": [True, False, False],
    }
    assert groups_of(["photon", "photon", None]) == {}
    assert groups_of([None, None]) == {}


def test_each_group_has_its_own_rates():
    scalars = {f"sub-{i}": {"site": "A" if i < 6 else "B", "sex": None} for i in range(8)}
    of_a, of_b = subgroup_scores(held_out(), "dose", scalars, (), 7, 200)
    assert (of_a.variable, of_a.group, of_a.n, of_a.rice) == ("site", "A", 6, 3)
    assert of_a.sensitivity is not None and of_a.sensitivity.value == pytest.approx(2 / 3)
    assert of_a.specificity is not None and of_a.specificity.value == pytest.approx(2 / 3)
    # of nine pairs of A only 0.4 against 0.7 is the wrong way round
    assert of_a.auc is not None and of_a.auc.value == pytest.approx(8 / 9)
    assert (of_b.n, of_b.auc) == (2, None), "one subject of a label has no interval"


def test_a_declared_variable_is_named_by_its_title_and_not_told_twice():
    scalars = {f"sub-{i}": {"age_years": 50.0 + i} for i in range(8)}
    age = VariableSpec(name="age_years", kind="number", unit="years", title="age at the event")
    found = subgroup_scores(held_out(), "dose", scalars, (age,), 7, 200)
    assert [(s.variable, s.group) for s in found] == [
        ("age at the event", "below 53.5 years"),
        ("age at the event", "53.5 years or more"),
    ]


def test_net_benefit_weighs_a_missed_recurrence_by_the_odds_of_the_threshold():
    is_rice, p_rice = np.array(LABELS) == "rice", np.array(P_RICE)
    curve = decision_curve(p_rice, is_rice, 7, 200)
    by = {point.threshold: point for point in curve.points}
    assert tuple(by) == THRESHOLDS
    # from 0.5 on: three of RICE rightly, one wrongly, of eight
    assert by[0.5].model == pytest.approx((3 - 1) / 8)
    assert by[0.5].everyone == pytest.approx((4 - 4) / 8)
    # at 0.8: 0.9 and 0.8 rightly, none wrongly
    assert by[0.8].model == pytest.approx(2 / 8)
    assert by[0.8].everyone == pytest.approx((4 - 4 * 4) / 8)
    # nobody is better than everyone there
    assert by[0.8].gain.value == pytest.approx(2 / 8)
    # at 0.05 everyone is above
    assert by[0.05].gain.value == pytest.approx(0)


def test_a_perfect_answer_gains_the_share_of_the_rarer_choice():
    is_rice = np.arange(10) < 4
    curve = decision_curve(np.where(is_rice, 0.99, 0.01), is_rice, 7, 200)
    for point in curve.points:
        assert point.model == pytest.approx(0.4)
        odds = point.threshold / (1 - point.threshold)
        assert point.gain.value == pytest.approx(0.4 - max(0.4 - 0.6 * odds, 0))


def test_nobody_called_rice_has_no_benefit():
    assert benefits(np.zeros(4, bool), np.array([True, False, True, False]), 0.3).tolist() == [0, 0, 0, 0]
