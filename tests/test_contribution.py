"""Shapley values of the volumes, against all orders and a game with a known answer."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from held_out_cases import drawn, held_out, predictions_of

from ricenet.cohort.splits import Splits
from ricenet.evaluation.evidence.build import CrossValidation, EvidenceSettings, build_evidence
from ricenet.evaluation.evidence.contribution import (
    NONE,
    contribution_sentence,
    contributions,
    contributors,
    prior,
    shapley_value,
    subject_contributions,
)
from ricenet.evaluation.evidence.record import Contribution
from ricenet.evaluation.evidence.written import write_evidence
from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.scores import log_losses
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

FLAIR = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR", required=False)
FOUR = Volumes([*PAPER_VOLUMES, FLAIR])


def random_values(volumes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=3) for name in (NONE, *volumes.sets)}


def by_orders(values, name, volumes):
    """The gain when the volume joins, averaged over all orders."""
    gains = []
    for order in permutations(volumes.names):
        before = set(order[: order.index(name)])
        gains.append(values[volumes.set_name(before | {name})] - values[volumes.set_name(before)])
    return np.mean(gains, axis=0)


@pytest.mark.parametrize("volumes", [PAPER_VOLUMES, FOUR], ids=["three", "four"])
def test_a_value_is_the_mean_gain_over_all_orders_and_all_add_up(volumes):
    values = random_values(volumes)
    for name in volumes.names:
        assert shapley_value(values, name) == pytest.approx(by_orders(values, name, volumes))
    total = sum(shapley_value(values, name) for name in volumes.names)
    assert total == pytest.approx(values[volumes.sets[-1]] - values[NONE])


def test_two_left_gloves_and_a_right_one_are_worth_a_sixth_and_two_thirds():
    # the glove game (Shapley and Shubik 1969): only a pair is worth something; the dose is the right glove
    names = (NONE, *PAPER_VOLUMES.sets)
    values = {name: np.array([float("dose" in name and "+" in name)]) for name in names}
    found = [float(shapley_value(values, name)[0]) for name in PAPER_VOLUMES.names]
    assert found == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def a_case(informative, first_seed=10):
    """Networks that see the informative volume are right mostly, all others guess."""
    good, is_rice = drawn(3.0, seed=4)
    guesses = {name: drawn(0.0, seed=first_seed + i)[0] for i, name in enumerate(PAPER_VOLUMES.sets)}
    return held_out(is_rice, {n: good if informative and informative in n else p for n, p in guesses.items()})


def test_the_volume_that_knows_the_label_is_found():
    case = a_case("dose")
    found = {c.score: c for c in contributions(case, PAPER_VOLUMES, 7, 500)}
    assert list(found) == ["macro_f1", "auc", "log_loss"]
    for contribution in found.values():
        assert contribution.n == 80
        assert contribution.modalities["dose"].low > 0.1
        assert contribution.modalities["dose"].value > 3 * abs(contribution.modalities["event"].value)
    # subjects' values average to the cohort's log-loss
    for name, values in subject_contributions(case, PAPER_VOLUMES).items():
        assert values.mean() == pytest.approx(found["log_loss"].modalities[name].value)
    everything = log_losses(case.p_rice["post_op+event+dose"], case.is_rice).mean()
    assert found["log_loss"].everything == pytest.approx(everything)


def test_where_no_volume_knows_anything_none_is_said_to():
    above = {"macro_f1": 0, "auc": 0}
    for cohort in range(40):
        case = a_case(None, first_seed=10 * cohort)
        for found in contributions(case, PAPER_VOLUMES, 7, 300)[:2]:
            above[found.score] += sum(estimate.low > 0 for estimate in found.modalities.values())
    # of 120 intervals each, 2.5 % would lie above 0 by chance
    assert all(count <= 9 for count in above.values()), above


def test_what_is_known_without_a_volume_is_the_chance_level():
    case = a_case(None)
    macro_f1, auc, log_loss = contributions(case, PAPER_VOLUMES, 7, 200)
    # guessing among 48 recurrences and 32 RICE: F1 of 0.6 / 1.1 and 0.4 / 0.9
    assert macro_f1.empty == pytest.approx((0.6 / 1.1 + 0.4 / 0.9) / 2)
    assert auc.empty == 0.5
    assert log_loss.empty == pytest.approx(log_losses(prior(case), case.is_rice).mean())


def test_without_a_volume_only_the_other_folds_share_of_rice_is_known():
    case = held_out([True, False, False, False], {"dose": [0.5] * 4}, folds=2)
    # folds 0, 1, 0, 1: fold 0's subjects see fold 1's share, which is none of two
    assert prior(case) == pytest.approx([0, 0.5, 0, 0.5])


def test_a_run_of_all_sets_keeps_their_contributions_with_its_evidence(tmp_path):
    is_rice = np.arange(16) % 4 < 2
    p_rice = {name: drawn(0.0, 16, 8, seed)[0] for seed, name in enumerate(PAPER_VOLUMES.sets)}
    of_sets, case = predictions_of(is_rice, p_rice, 2), held_out(is_rice, p_rice, 2)
    folds = tuple(tuple(np.array(case.subjects)[case.fold == k]) for k in range(2))
    splits = Splits({p.participant_id: p.label for p in of_sets["dose"]}, folds, ())
    scalars = {subject: {"dose_max_gy": float(i)} for i, subject in enumerate(case.subjects)}
    made = build_evidence(
        CrossValidation(of_sets, scalars),
        (),
        None,
        splits,
        PAPER_VOLUMES,
        (),
        EvidenceSettings(7, 100, 0.1, 0.9),
    )
    assert made.contributions == contributions(case, PAPER_VOLUMES, 7, 100) and len(made.contributions) == 3
    assert len(made.comparisons) == 7 * 6 / 2
    write_evidence(made, of_sets, scalars, (), tmp_path / "evidence")
    assert len((tmp_path / "evidence/contributions.csv").read_text().splitlines()) == 1 + 3 * 3
    assert len((tmp_path / "evidence/log_loss.tsv").read_text().splitlines()) == 1 + 16


def test_exact_values_need_every_combination_of_the_trained_volumes():
    p_rice, is_rice = drawn(1.0)
    assert contributions(held_out(is_rice, {"dose": p_rice, "event": p_rice}), PAPER_VOLUMES, 7, 200) == ()
    # a declared volume that no set has takes no part
    assert contributors(PAPER_VOLUMES.sets, FOUR) == PAPER_VOLUMES.names
    assert contributors(["dose"], FOUR) == ("dose",)
    assert contributors([*PAPER_VOLUMES.sets, "flair"], FOUR) == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"post_op": 0.0, "event": -0.1, "dose": 0.3}, "only the dose is shown to raise it"),
        ({"post_op": 0.2, "event": 0.0, "dose": 0.3}, "dose and post-op T1ce are shown to raise it"),
        ({"post_op": 0.0, "event": 0.0, "dose": 0.05}, "most comes from the dose, but no volume is shown"),
    ],
)
def test_contributions_are_said_in_words(values, said):
    modalities = {n: Estimate(value=v, low=v - 0.1, high=v + 0.1, method="bca") for n, v in values.items()}
    found = Contribution(score="macro_f1", n=80, empty=0.5, everything=0.7, modalities=modalities)
    assert said in contribution_sentence([found], PAPER_VOLUMES)
    assert contribution_sentence([], PAPER_VOLUMES) == ""
