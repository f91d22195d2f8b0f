"""The network's answer to a changed box, without a whole forward, against the whole forward."""

import itertools

import numpy as np
import pytest
import torch

from ricenet.config import network_params
from ricenet.config.network_params import DenseNetParams, ResNetParams, SmallCnnParams
from ricenet.evaluation.occlusion.answering import WholeInput, known_input
from ricenet.evaluation.occlusion.incremental import KnownInput, is_understood, rectified_difference
from ricenet.evaluation.occlusion.receptive_field import Boxes, SlidingWindow, moved, windows
from ricenet.training.networks import WithVariables, build_network, p_rice


def trained_looking(channels=1, widen_factor=0.125, stem_stride=1, norm="batch", name="resnet18"):
    """A network whose batch norms have statistics and scales of their own, some of them negative."""
    settings = ResNetParams(name=name, widen_factor=widen_factor, stem_stride=stem_stride, norm=norm)
    return with_statistics(build_network(settings, channels))


def with_statistics(network):
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.3, 2)
            torch.nn.init.normal_(module.weight, 1, 0.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


@torch.inference_mode()
def both(network, volumes, cube, starts, fill=0.0, precision=torch.float32):
    """p_rice with a cube filled at each start: incremental, by whole forwards, and without any cube.

    The network is made undecided about the input as it is, where p_rice tells the most.
    """
    image = torch.from_numpy(volumes)
    network.fc.bias -= network(image[None])[0]
    expected = []
    for x, y, z in starts:
        copy = image.clone()
        copy[:, x : x + cube, y : y + cube, z : z + cube] = fill
        expected.append(network(copy[None])[0])
    hidden = torch.stack(
        [fill - image[:, x : x + cube, y : y + cube, z : z + cube].permute(1, 2, 3, 0) for x, y, z in starts]
    )
    found = KnownInput(network, image, precision).logits_with(hidden, np.array(starts))
    return p_rice(found).numpy(), p_rice(torch.stack(expected)).numpy(), p_rice(network(image[None])).numpy()


def corners_faces_and_middle(shape, cube):
    """Starts at every corner, edge and face of a volume, and in its middle."""
    return list(itertools.product(*[(0, (n - cube) // 2, n - cube) for n in shape]))


def noise(shape, channels=1, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_volumes_agrees_at_every_border(channels):
    network, volumes = trained_looking(channels), noise((24, 24, 24), channels)
    found, expected, baseline = both(network, volumes, 6, corners_faces_and_middle((24, 24, 24), 6))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected - baseline).max() > 1e-3  # the cubes matter, so the agreement says something


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_random_cubes_positions_and_odd_shapes_agree(seed, stem_stride):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(17, 40, 3))
    cube = int(rng.integers(1, 14))
    starts = [tuple(int(rng.integers(0, n - cube + 1)) for n in shape) for _ in range(6)]
    network = trained_looking(2, stem_stride=stem_stride)
    volumes = noise(shape, 2, seed)
    found, expected, _ = both(network, volumes, cube, starts, fill=float(rng.normal()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_large_volume_with_boxes_that_cover_no_map_agrees():
    # the boxes stay smaller than the map up to the third stage
    network, volumes = trained_looking(widen_factor=1 / 16), noise((104, 97, 90))
    starts = [(0, 0, 0), (41, 47, 52), (99, 92, 85), (99, 3, 40)]
    found, expected, baseline = both(network, volumes, 5, starts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(np.unique(np.append(expected, baseline))) == 5


def test_a_cube_as_large_as_the_volume_agrees():
    network, volumes = trained_looking(), noise((20, 20, 20))
    found, expected, _ = both(network, volumes, 20, [(0, 0, 0)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_full_width_of_the_paper_agrees():
    network, volumes = trained_looking(widen_factor=1), noise((32, 32, 32))
    found, expected, _ = both(network, volumes, 8, [(0, 0, 0), (12, 9, 24)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_is_near():
    # the differences are rounded, not the activations
    network, volumes = trained_looking(), noise((32, 32, 32))
    found, expected, baseline = both(network, volumes, 8, [(12, 9, 24)], precision=torch.bfloat16)
    np.testing.assert_allclose(found - baseline, expected - baseline, rtol=0.05)


def test_a_box_that_is_not_changed_changes_nothing_at_all():
    network, volumes = trained_looking(), torch.from_numpy(noise((24, 24, 24)))
    with torch.inference_mode():
        known = KnownInput(network, volumes)
        found = known.logits_with(torch.zeros(2, 5, 5, 5, 1), np.array([(0, 0, 0), (7, 19, 3)]))
    assert (found == known.logits).all()


def test_known_logits_are_the_networks():
    network, volumes = trained_looking(2), torch.from_numpy(noise((23, 24, 25), 2))
    with torch.inference_mode():
        torch.testing.assert_close(KnownInput(network, volumes).logits, network(volumes[None])[0])


def test_whole_forwards_answer_the_same():
    network, volumes = trained_looking(), torch.from_numpy(noise((20, 20, 20)))
    differences, starts = torch.randn(3, 4, 4, 4, 1), np.array([(0, 0, 0), (16, 16, 16), (3, 9, 12)])
    with torch.inference_mode():
        known = KnownInput(network, volumes).logits_with(differences, starts)
        whole = WholeInput(network, volumes).logits_with(differences, starts)
    torch.testing.assert_close(known, whole, atol=1e-5, rtol=0)


NETWORKS = {
    "resnet18": (ResNetParams(widen_factor=0.125, stem_stride=2), True),
    "resnet10": (ResNetParams(name="resnet10", widen_factor=0.125, stem_stride=1), True),
    "densenet121": (DenseNetParams(), False),
    "small_cnn": (SmallCnnParams(widths=[4, 4, 4]), False),
}


def test_every_network_is_tried():
    # that of several visits has to know its volumes' sessions: test_visits_network.py
    assert NETWORKS.keys() | {"visits"} == network_params.NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_as_its_whole_forward(name):
    settings, understood = NETWORKS[name]
    network, image = with_statistics(build_network(settings, 2)), torch.from_numpy(noise((32, 32, 32), 2))
    differences, starts = torch.randn(2, 6, 6, 6, 2), np.array([(0, 13, 26), (9, 9, 9)])
    with torch.inference_mode():
        found = known_input(network, image.numpy(), "float32").logits_with(differences, starts)
        for logits, difference, (x, y, z) in zip(found, differences, starts, strict=True):
            changed = image.clone()
            changed[:, x : x + 6, y : y + 6, z : z + 6] += difference.permute(3, 0, 1, 2)
            torch.testing.assert_close(logits, network(changed[None])[0], atol=1e-4, rtol=1e-4)
    assert is_understood(network) is understood


def test_variables_of_the_subject_stay_as_they_are():
    network = build_network(SmallCnnParams(widths=[4, 4, 4], variables=True), 1, variables=3).eval()
    image, row = torch.randn(1, 1, 16, 16, 16), torch.tensor([[0.5, -1.0, 1.0]])
    with torch.inference_mode():
        known = known_input(WithVariables(network, row), image[0].numpy(), "float32")
        torch.testing.assert_close(known.logits, network(image, row)[0])


def test_networks_with_group_norm_or_in_training_are_not_understood():
    assert is_understood(trained_looking())
    assert not is_understood(trained_looking(norm="group"))
    assert not is_understood(trained_looking().train())
    assert not is_understood(torch.nn.Identity())


def test_rectified_difference_by_hand():
    known = torch.tensor([1.0, 1.0, -2.0, -2.0, -torch.inf])
    change = torch.tensor([0.5, -3.0, 1.0, 5.0, 7.0])
    assert rectified_difference(change, known).tolist() == [0.5, -1.0, 0.0, 3.0, 0.0]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(7, 1, 3), (7, 2, 3), (3, 1, 1), (3, 2, 1), (1, 2, 0)]
)
def test_boxes_hold_exactly_the_outputs_that_see_them(kernel, stride, padding):
    window, voxels = SlidingWindow(kernel, stride, padding), 25
    for start, size in itertools.product(range(voxels - 4), range(1, 5)):
        seeing = [
            output
            for output in range((voxels + 2 * padding - kernel) // stride + 1)
            if any(start <= output * stride - padding + i < start + size for i in range(kernel))
        ]
        boxes = Boxes(np.array([[start] * 3]), (size,) * 3, (voxels,) * 3).through(window)
        first, last = boxes.starts[0, 0], boxes.starts[0, 0] + boxes.shape[0] - 1
        inside = [i for i in range(first, last + 1) if 0 <= i < boxes.whole[0]]
        assert inside == seeing or (boxes.shape == boxes.whole and set(seeing) <= set(inside))


def test_boxes_of_different_alignment_share_the_largest_shape():
    boxes = Boxes(np.array([[4, 4, 4], [5, 4, 4]]), (3, 4, 4), (32, 32, 32)).through(SlidingWindow(3, 2, 1))
    # inputs 4 to 6 are seen by the outputs 2 and 3, inputs 5 to 7 by 2, 3 and 4
    assert boxes.starts[:, 0].tolist() == [2, 2]
    assert boxes.shape[0] == 3


def test_moving_boxes_keeps_what_they_share():
    held = Boxes(np.array([[2, 0, 0], [-1, 0, 0]]), (3, 1, 1), (9, 1, 1))
    wanted = Boxes(np.array([[3, 0, 0], [-2, 0, 0]]), (3, 1, 1), (9, 1, 1))
    values = torch.tensor([[1.0, 2, 3], [4, 5, 6]])[:, :, None, None, None]
    assert moved(values, held, wanted, outside=9).flatten(1).tolist() == [[2, 3, 9], [9, 4, 5]]


def test_windows_hang_over_the_maps_edge():
    whole = torch.arange(4.0)[:, None, None, None]
    boxes = Boxes(np.array([[-1, 0, 0], [2, 0, 0]]), (3, 1, 1), (4, 1, 1))
    assert windows(whole, boxes, outside=-7).flatten(1).tolist() == [[-7, 0, 1], [2, 3, -7]]
