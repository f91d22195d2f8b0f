import numpy as np
import pytest
from small_ensembles import ensemble_record

from ricenet.config.networks import ResNetParams
from ricenet.evaluation.occlusion.estimate import geometric_mean_over_subjects, mean_over_subjects
from ricenet.evaluation.occlusion.sanity import (
    DIFFERS_BELOW,
    SanityCheck,
    sanity_of_subjects,
    untrained_network,
    weights_sanity,
)

NETWORK = ResNetParams(widen_factor=0.125, stem_stride=2)
RECORD = ensemble_record("post_op+dose", network=NETWORK)
BRAIN = np.zeros((2, 2, 2), bool)
BRAIN[0] = True
"""Four voxels of eight."""


def in_brain(values, elsewhere=0.0):
    data = np.full(BRAIN.shape, elsewhere, np.float32)
    data[BRAIN] = values
    return data


def test_rank_correlation_by_hand():
    # ranks 1 2 3 4 and 2 1 4 3: rho = 1 - 6 (1 + 1 + 1 + 1) / (4 (16 - 1)) = 0.6
    found = weights_sanity(in_brain([0.1, 0.2, 0.3, 0.4]), in_brain([5, 1, 90, 7]), BRAIN)
    assert found.rank_correlation == pytest.approx(0.6)
    assert "resembles the map of an untrained network" in found.verdict
    assert "rank correlation 0.60, limit 0.5" in found.verdict
    assert not found.differs


def test_signs_and_what_lies_outside_the_brain_do_not_count():
    trained, untrained = [0.1, -0.2, 0.3, -0.4], [-4, 3, -2, 1]
    found = weights_sanity(in_brain(trained, elsewhere=9), in_brain(untrained, elsewhere=9), BRAIN)
    assert found.rank_correlation == pytest.approx(-1)
    assert found.differs
    assert "differs from the map of an untrained network (rank correlation -1.00" in found.verdict


def test_unrelated_maps_differ_and_the_same_map_resembles_itself():
    rng = np.random.default_rng(0)
    brain = np.ones((12, 12, 12), bool)
    a, b = rng.normal(size=(2, 12, 12, 12)).astype(np.float32)
    assert abs(weights_sanity(a, b, brain).rank_correlation) < 0.1
    assert weights_sanity(a, -3 * a, brain).rank_correlation == pytest.approx(1)


@pytest.mark.parametrize(
    ("trained", "untrained", "whose"),
    [([0, 0, 0, 0], [1, 2, 3, 4], "the trained network is"),
     ([1, 2, 3, 4], [7, -7, 7, -7], "the untrained network is"),
     ([0, 0, 0, 0], [2, 2, 2, 2], "the trained network and of the untrained network is")],
)  # fmt: skip
def test_a_map_that_is_constant_in_the_brain_cannot_be_compared(trained, untrained, whose):
    found = weights_sanity(in_brain(trained, elsewhere=3), in_brain(untrained, elsewhere=4), BRAIN)
    assert found.rank_correlation is None
    assert not found.differs
    assert found.verdict.startswith("cannot be said")
    assert f"{whose} the same everywhere in the brain" in found.verdict


def test_the_limit_itself_is_resemblance():
    assert not SanityCheck(DIFFERS_BELOW, "").differs
    assert SanityCheck(DIFFERS_BELOW - 1e-9, "").differs


def test_mean_over_subjects_leaves_out_those_that_could_not_be_compared():
    checks = [SanityCheck(0.2, ""), SanityCheck(None, ""), SanityCheck(0.4, "")]
    found = sanity_of_subjects(checks, seed=0)
    assert (found.mean, found.n) == (pytest.approx(0.3), 2)
    assert found.low == pytest.approx(0.2) and found.high == pytest.approx(0.4)
    assert sanity_of_subjects([SanityCheck(None, "")], seed=0) is None


def test_an_untrained_network_is_like_the_ensembles_and_repeats():
    import torch

    network = untrained_network(RECORD, fold=1, seed=7)
    again, other = untrained_network(RECORD, 1, 7), untrained_network(RECORD, 2, 7)
    inputs = torch.randn(1, 2, 16, 16, 16, device=next(network.parameters()).device)
    assert not network.training
    with torch.inference_mode():
        assert network(inputs).shape == (1, 2)
        assert torch.equal(network(inputs), again(inputs))
        assert not torch.equal(network(inputs), other(inputs))


def test_an_untrained_network_is_not_the_one_from_which_training_started():
    from ricenet.training.networks import initial_network

    start = initial_network(NETWORK, "post_op+dose", 1, 7, channels=2).conv1.weight
    assert not np.allclose(untrained_network(RECORD, 1, 7).conv1.weight.detach().cpu(), start.detach())


def test_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        found = mean_over_subjects(rng.normal(1.0, 1.0, 40).tolist(), seed=1, resamples=400)
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_geometric_mean_by_hand():
    found = geometric_mean_over_subjects([4.0, 0.25], seed=0)
    assert found.mean == pytest.approx(1)  # twice twice as much, and half of a half
    assert (found.low, found.high) == (pytest.approx(0.25), pytest.approx(4))


def test_a_factor_of_0_makes_the_geometric_mean_0():
    found = geometric_mean_over_subjects([0.0, 2.0, 2.0, 2.0, 2.0, 2.0], seed=0)
    assert (found.mean, found.low) == (0, 0)
    assert found.high == pytest.approx(2)


def test_one_subject_has_no_interval_and_none_no_mean():
    assert geometric_mean_over_subjects([3.0], seed=0).low is None
    assert mean_over_subjects([], seed=0) is None


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(5).uniform(size=9).tolist()
    assert mean_over_subjects(values, 7) == mean_over_subjects(values, 7)
    assert mean_over_subjects(values, 7) != mean_over_subjects(values, 8)
