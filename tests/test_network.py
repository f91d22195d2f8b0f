"""The network is the paper's, its seed decides alone, and volumes that cannot be used are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ricenet.runtime.errors import ParamsError
from ricenet.training.networks import build_network, initial_network, p_rice, predict_logits


def test_at_full_width_it_is_the_resnet_18_of_the_paper() -> None:
    network = build_network("post_op+event+dose", widen_factor=1.0, stem_stride=1)
    stem = network.conv1
    assert isinstance(stem, torch.nn.Conv3d)
    assert (stem.in_channels, stem.out_channels, stem.kernel_size, stem.stride) == (
        3,
        64,
        (7, 7, 7),
        (1, 1, 1),
    )
    stages = [network.get_submodule(f"layer{k}") for k in range(1, 5)]
    assert [len(list(stage.children())) for stage in stages] == [2, 2, 2, 2]
    # 18 layers with weights: the stem, two convolutions in each of eight blocks, the head
    convolutions = [
        m for m in network.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size != (1, 1, 1)
    ]
    assert len(convolutions) + 1 == 18
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    assert (head.in_features, head.out_features) == (512, 2)


def test_weights_follow_from_seed_set_and_fold_alone() -> None:
    def first_weight(modality_set: str, fold: int, seed: int) -> torch.Tensor:
        return next(initial_network(modality_set, fold, seed, 0.05, 2).parameters()).detach()

    reference = first_weight("dose", 1, 0)
    torch.manual_seed(99)
    torch.testing.assert_close(first_weight("dose", 1, 0), reference, rtol=0, atol=0)
    for other in (first_weight("event", 1, 0), first_weight("dose", 2, 0), first_weight("dose", 1, 3)):
        assert not torch.equal(other, reference)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    initial_network("dose", 0, 0, 0.05, 2)
    torch.testing.assert_close(torch.rand(1), expected, rtol=0, atol=0)


def test_a_width_without_channels_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"network.widen_factor: 0.01 leaves no channel; at least 0.015625"):
        build_network("dose", 0.01, 2)


def test_p_rice_is_the_second_class() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(3.0)]])
    np.testing.assert_allclose(p_rice(logits), [0.5, 0.75], rtol=1e-6)


def test_predictions_do_not_depend_on_the_batch_nor_change_the_network() -> None:
    network = initial_network("dose", 0, 0, 0.05, 2).train()
    volumes = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 16, 16, 16)).astype(np.float32))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one = predict_logits(network, volumes, batch_size=1)
    torch.testing.assert_close(predict_logits(network, volumes, batch_size=4), one, rtol=1e-5, atol=1e-5)
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
