"""Occlusion maps by hand and against their definition, of networks whose answer is known."""

import numpy as np
import pytest
import torch
from explained_cases import settings

from ricenet.evaluation.occlusion.hidden_cubes import CubeGrid, cube_starts, filled
from ricenet.evaluation.occlusion.sensitivity import occlusion_maps


def logit_network(weights, calls=None):
    """Two logits (0, sum of weights times input): p_rice is the logistic function of that sum."""

    def network(inputs):
        if calls is not None:
            calls.append(len(inputs))
        rice = (inputs.double() * torch.from_numpy(weights)).sum(dim=(1, 2, 3, 4))
        return torch.stack([torch.zeros_like(rice), rice], dim=1)

    return network


def one_map(networks, volumes, cube, stride, hidden=None, brain=None, progress=None, **values):
    """The map of hiding all channels, or some."""
    brain = np.ones(volumes.shape[1:], bool) if brain is None else brain
    ways = {"x": list(range(len(volumes))) if hidden is None else hidden}
    networks = networks if isinstance(networks, list) else [networks]
    return occlusion_maps(networks, volumes, brain, ways, settings(cube, stride, **values), progress)["x"]


def logistic(x):
    return 1 / (1 + np.exp(-x))


def plain_loop(p_rice, volumes, cube, stride, channels=slice(None), fill=0):
    """The definition, voxel by voxel: mean change over the cubes that hold the voxel.

    fill: a number, or an image to take the cubes from.
    """
    fill = np.broadcast_to(fill, volumes.shape)
    shape = volumes.shape[1:]
    starts = []
    for n in shape:
        along = list(range(0, n - cube + 1, stride))
        starts.append(along if along[-1] == n - cube else [*along, n - cube])
    result = np.zeros(shape)
    for voxel in np.ndindex(*shape):
        changes = []
        for corner in ((x, y, z) for x in starts[0] for y in starts[1] for z in starts[2]):
            if all(c <= v < c + cube for c, v in zip(corner, voxel, strict=True)):
                hidden = volumes.copy()
                x, y, z = corner
                box = (channels, slice(x, x + cube), slice(y, y + cube), slice(z, z + cube))
                hidden[box] = fill[box]
                changes.append(p_rice(volumes) - p_rice(hidden))
        result[voxel] = np.mean(changes)
    return result


def noise(shape, seed):
    """Volumes, and weights of a network that looks at all of their voxels."""
    rng = np.random.default_rng(seed)
    volumes = rng.normal(size=shape).astype(np.float32)
    weights = rng.normal(size=shape) / 5
    return volumes, weights, lambda v: logistic((v.astype(float) * weights).sum())


def test_one_informative_voxel_by_hand():
    # cubes of 2 at 0 and 1 along each axis of 3 voxels; the centre lies in all eight cubes
    volumes, weights = np.zeros((1, 3, 3, 3), np.float32), np.ones((1, 3, 3, 3))
    volumes[0, 1, 1, 1] = 2
    result = one_map(logit_network(weights), volumes, 2, 1)
    assert result.baseline_p_rice == pytest.approx(logistic(2))
    # every cube hides the centre, so every voxel's mean is the same fall from 0.88 to 0.5
    np.testing.assert_allclose(result.change, logistic(2) - 0.5, rtol=1e-6)


def test_hiding_evidence_against_rice_is_a_negative_change():
    volumes, weights = np.zeros((1, 4, 4, 4), np.float32), np.full((1, 4, 4, 4), -1.0)
    volumes[0, 0, 0, 0] = 3
    change = one_map(logit_network(weights), volumes, 2, 2).change
    np.testing.assert_allclose(change[:2, :2, :2], logistic(-3) - 0.5, rtol=1e-6)
    assert np.count_nonzero(change) == 8


@pytest.mark.parametrize(("cube", "stride"), [(2, 1), (3, 2), (2, 2), (5, 5), (4, 3)])
def test_equals_the_plain_loop_over_voxels_and_cubes(cube, stride):
    volumes, weights, p_rice = noise((2, 5, 6, 7), cube * 10 + stride)
    volumes[:, :2] = 0
    # room for nine copies of the input at once: several uneven batches
    found = one_map(logit_network(weights), volumes, cube, stride, memory_mb=1).change
    np.testing.assert_allclose(found, plain_loop(p_rice, volumes, cube, stride), atol=1e-7)


def test_all_channels_are_hidden_together():
    volumes = np.ones((2, 2, 2, 2), np.float32)
    weights = np.stack([np.full((2, 2, 2), 0.5), np.full((2, 2, 2), -0.5)])
    # one channel alone would change p_rice; hidden at once the two cancel
    assert np.allclose(one_map(logit_network(weights), volumes, 1, 1).change, 0)
    np.testing.assert_allclose(
        one_map(logit_network(weights), volumes, 2, 2, hidden=[0]).change, 0.5 - logistic(-4), rtol=1e-6
    )


def test_each_volume_alone_is_the_plain_loop_over_its_channel():
    volumes, weights, p_rice = noise((3, 5, 4, 4), 4)
    brain = np.ones(volumes.shape[1:], bool)
    hidden = {"together": [0, 1, 2], "t1": [0], "flair": [1], "dose": [2]}
    found = occlusion_maps([logit_network(weights)], volumes, brain, hidden, settings(2, 2))
    assert list(found) == list(hidden)
    for name, channels in hidden.items():
        expected = plain_loop(p_rice, volumes, 2, 2, channels)
        np.testing.assert_allclose(found[name].change, expected, atol=1e-7)


def test_several_networks_probabilities_are_averaged():
    volumes = np.ones((1, 2, 2, 2), np.float32)
    found = one_map([logit_network(np.full(volumes.shape, w)) for w in (0.5, -1.0)], volumes, 2, 2)
    baseline = (logistic(4) + logistic(-8)) / 2
    assert found.baseline_p_rice == pytest.approx(baseline)
    np.testing.assert_allclose(found.change, baseline - 0.5, rtol=1e-6)


def test_background_needs_no_forward_pass_and_the_input_stays_as_it_was():
    volumes, calls = np.zeros((1, 8, 8, 8), np.float32), []
    volumes[0, 0, 0, 0] = 1
    found = one_map(logit_network(np.ones(volumes.shape), calls), volumes, 2, 2)
    assert calls == [1, 1]  # the baseline, and the one cube of 64 that holds something
    assert (found.cubes, found.of_cubes) == (1, 64)
    assert volumes.sum() == volumes[0, 0, 0, 0] == 1


def test_fills_by_hand():
    volumes = np.zeros((2, 4, 4, 4), np.float32)
    volumes[0, 1:3, 1:3, 1:3] = 3
    volumes[1] = 5
    brain = volumes[0] > 0
    brain[0, 0, 0] = True  # one of nine voxels is 0
    assert not filled(volumes, brain, "background", 2).any()
    means = filled(volumes, brain, "brain_mean", 2)
    assert np.unique(means[0]).tolist() == [np.float32(24 / 9)]
    assert np.unique(means[1]).tolist() == [5]
    blurred = filled(volumes, brain, "blurred", 2)
    np.testing.assert_allclose(blurred[1], 5, rtol=1e-6)
    assert 0 < blurred[0, 0, 0, 0] < blurred[0, 1, 1, 1] < 3


@pytest.mark.parametrize("fill", ["brain_mean", "blurred"])
def test_other_fills_equal_the_plain_loop(fill):
    volumes, weights, p_rice = noise((2, 5, 5, 5), 5)
    brain = np.random.default_rng(5).random((5, 5, 5)) > 0.5
    found = one_map(logit_network(weights), volumes, 3, 2, brain=brain, fill=fill).change
    image = filled(volumes, brain, fill, 3)
    np.testing.assert_allclose(found, plain_loop(p_rice, volumes, 3, 2, fill=image), atol=1e-7)


def test_within_the_brain_the_map_is_complete_and_outside_it_is_0():
    volumes, weights, _ = noise((1, 9, 9, 9), 6)
    brain = np.zeros((9, 9, 9), bool)
    brain[1:3, 1:4, 2:4] = True
    full, within = (
        one_map(logit_network(weights), volumes, 3, 2, brain=brain, within_brain=w) for w in (False, True)
    )
    assert within.cubes < full.cubes
    np.testing.assert_array_equal(within.change[brain], full.change[brain])
    assert not within.change[~brain].any()


def test_a_refined_map_equals_the_full_map_where_the_coarse_one_is_strong():
    volumes = 0.05 * noise((1, 17, 16, 18), 7)[0]
    volumes[0, 10:13, 2:5, 8:11] += 1  # one strong place
    network = logit_network(np.full(volumes.shape, 0.3))
    full, coarse, refined = (
        one_map(network, volumes, 4, stride, refine_above=share)
        for stride, share in ((2, None), (4, None), (2, 0.3))
    )
    strong = np.abs(coarse.change) >= 0.3 * np.abs(coarse.change).max()
    np.testing.assert_allclose(refined.change[strong], full.change[strong], atol=1e-7)
    np.testing.assert_allclose(refined.change[~strong], coarse.change[~strong], atol=1e-7)
    assert coarse.cubes < refined.cubes < full.cubes / 2
    assert np.abs(full.change).argmax() == np.abs(refined.change).argmax()


@pytest.mark.parametrize(
    ("voxels", "cube", "stride"), [(32, 6, 3), (32, 6, 6), (9, 4, 4), (7, 7, 1), (5, 1, 1)]
)
def test_cubes_cover_every_voxel_and_end_at_the_border(voxels, cube, stride):
    starts = cube_starts(voxels, cube, stride)
    assert {start + i for start in starts for i in range(cube)} == set(range(voxels))
    assert len(set(starts)) == len(starts)


def test_positions_that_touch_voxels_are_those_whose_cube_holds_one():
    grid = CubeGrid((9, 8, 7), cube_voxels=3, stride_voxels=2)
    voxels = np.random.default_rng(8).random(grid.shape) > 0.95
    corners = grid.corners(np.ones(grid.counts, bool))
    holds = [voxels[x : x + 3, y : y + 3, z : z + 3].any() for x, y, z in corners]
    assert grid.touching(voxels).ravel().tolist() == holds


def test_progress_counts_every_cube():
    volumes, seen = np.ones((2, 16, 16, 16), np.float32), []
    network = logit_network(np.ones(volumes.shape))
    one_map(network, volumes, 8, 8, memory_mb=1, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 8) for done in range(1, 9)]
