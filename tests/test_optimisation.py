"""One optimiser step against a plain loop, and what arranges a network to train fast."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import resnet18
from small_folds import TRAINING

from ricenet.config.network_params import NetworkParams, ResNetParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import torch_threads
from ricenet.training.arrangement import SpatialMean, StrictMaxPool, arrange, memory_format
from ricenet.training.hardware import Hardware, memory_explained, repeatability
from ricenet.training.networks import build_network, initial_network
from ricenet.training.optimisation import Optimisation, compiled_if_faster

CPU = torch.device("cpu")
FLOAT32, BFLOAT16 = Hardware(CPU, bfloat16=False), Hardware(CPU, bfloat16=True)
SMALL = ResNetParams(widen_factor=0.125, stem_stride=1)


def batch(samples: int = 4, voxels: int = 20, seed: int = 0) -> tuple[torch.Tensor, ...]:
    noise = np.random.default_rng(seed)
    volumes = noise.normal(size=(samples, 3, voxels, voxels, voxels)).astype(np.float32)
    return torch.from_numpy(volumes), torch.empty(samples, 0), torch.from_numpy(np.arange(samples) % 2)


def optimisation(
    shape: NetworkParams = SMALL, hardware: Hardware = FLOAT32, **settings: object
) -> Optimisation:
    training = TRAINING.model_copy(update={"learning_rate": 1e-3, **settings})
    network = initial_network(shape, "post_op+event+dose", 0, 0, channels=3)
    return Optimisation(network, training, hardware)


def plain_network(shape: ResNetParams) -> torch.nn.Module:
    """MONAI's network as it is, with the same first weights."""
    network = resnet18(
        spatial_dims=3,
        n_input_channels=3,
        conv1_t_size=7,
        conv1_t_stride=shape.stem_stride,
        widen_factor=shape.widen_factor,
        num_classes=2,
    )
    initial = initial_network(shape, "post_op+event+dose", 0, 0, channels=3)
    network.load_state_dict(initial.state_dict())
    return network


def test_three_steps_equal_those_of_a_plain_loop() -> None:
    fast, plain = optimisation(learning_rate=1e-4), plain_network(SMALL)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4, weight_decay=TRAINING.weight_decay)
    for seed in range(3):
        volumes, none, classes = batch(seed=seed)
        plain.train()
        expected_logits = plain(volumes)
        expected = torch.nn.functional.cross_entropy(expected_logits, classes)
        adam.zero_grad()
        expected.backward()
        adam.step()
        loss, logits = fast.step(volumes, none, classes)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
        np.testing.assert_allclose(logits.numpy(), expected_logits.detach().numpy(), atol=1e-5)
        for name, value in plain.state_dict().items():
            # batch norm takes this bias away again: its gradient is rounding, which Adam divides by itself
            if not name.endswith("downsample.0.bias"):
                found = fast.network.state_dict()[name]
                np.testing.assert_allclose(found.numpy(), value.numpy(), atol=1e-5, err_msg=name)


def test_with_channels_last_the_loss_and_the_direction_of_the_step_are_those_of_a_plain_loop() -> None:
    """Other sums round otherwise, and rectifiers near 0 tip over: a few gradients of millions differ."""
    wide = ResNetParams(widen_factor=1.0, stem_stride=1)
    fast, plain = optimisation(wide), plain_network(wide)
    assert memory_format(fast.network) == torch.channels_last_3d
    volumes, none, classes = batch()
    expected = torch.nn.functional.cross_entropy(plain.train()(volumes), classes)
    expected.backward()
    loss, _ = fast.step(volumes, none, classes)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = (
        torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        for network in (fast.network, plain)
    )
    assert (ours - theirs).norm() < 5e-3 * theirs.norm()


def test_logits_are_those_of_the_plain_network_with_fixed_batch_norm() -> None:
    fast, plain = optimisation(), plain_network(SMALL).eval()
    volumes, none, classes = batch()
    fast.step(volumes, none, classes)
    plain.load_state_dict(fast.network.state_dict())
    with torch.no_grad():
        np.testing.assert_allclose(fast.logits(volumes, none), plain(volumes), atol=1e-5)


def test_bfloat16_keeps_weights_in_float32_and_rounds_the_loss_to_its_digits() -> None:
    volumes, none, classes = batch()
    exact, rounded = optimisation(), optimisation(hardware=BFLOAT16)
    expected, _ = exact.step(volumes, none, classes)
    loss, logits = rounded.step(volumes, none, classes)
    assert logits.dtype == torch.float32
    assert {parameter.dtype for parameter in rounded.network.parameters()} == {torch.float32}
    assert loss.item() == pytest.approx(expected.item(), abs=0.02)
    assert loss.item() != expected.item()


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 9])
def test_several_passes_make_the_same_step_where_samples_do_not_see_one_another(at_once: int) -> None:
    """So with group norm; batch norm sees the samples of a pass."""
    grouped = SMALL.model_copy(update={"norm": "group"})
    volumes, none, classes = batch(5)
    whole, parted = optimisation(grouped), optimisation(grouped, samples_at_once=at_once)
    expected, expected_logits = whole.step(volumes, none, classes)
    loss, logits = parted.step(volumes, none, classes)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5)
    for ours, theirs in zip(parted.network.parameters(), whole.network.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-5)


def test_no_pass_of_a_single_sample_is_left_for_batch_norm() -> None:
    volumes, none, classes = batch(5)
    passes = optimisation(samples_at_once=2)._passes(volumes, none, classes)
    assert [len(part) for part, *_ in passes] == [2, 3]


def test_group_norm_replaces_every_batch_norm_and_ignores_the_other_samples() -> None:
    network = build_network(ResNetParams(widen_factor=0.25, stem_stride=2, norm="group"), channels=1)
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    volumes = batch(3)[0][:, :1]
    with torch.no_grad():
        alone, together = network(volumes[:1]), network(volumes)[:1]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def leave_in_freed_memory(value: float) -> None:
    for size in (10, 100, 1000, 10_000, 100_000, 1_000_000):
        torch.full((size,), value)


@pytest.mark.parametrize(("stem_stride", "shape"), [(1, (32, 32, 32)), (2, (32, 32, 32)), (2, (36, 32, 16))])
def test_gradients_in_bfloat16_do_not_depend_on_what_memory_held(
    stem_stride: int, shape: tuple[int, int, int]
) -> None:
    """The later stages see two slices and one, for which oneDNN's own gradient reads stray memory.

    Of the flat box the last one sees (3, 2, 1) voxels.
    """
    gradients = []
    for stray in (0.0, 1e35, 1e35, 1e30, 1e35):
        step = optimisation(ResNetParams(widen_factor=0.25, stem_stride=stem_stride), BFLOAT16)
        _, none, classes = batch(4, 32)
        volumes = torch.randn((4, 3, *shape), generator=torch.Generator().manual_seed(0))
        leave_in_freed_memory(stray)
        step.step(volumes, none, classes)
        gradients.append(
            torch.cat([p.grad.flatten() for p in step.network.parameters() if p.grad is not None])
        )
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
    assert gradients[0].abs().max() < 1e3


@pytest.mark.parametrize("voxels", [7, 8, 9])
def test_the_strict_pool_is_torchs_with_the_same_gradient(voxels: int) -> None:
    values = torch.randn(2, 3, voxels, voxels + 1, voxels + 2, generator=torch.Generator().manual_seed(0))
    results = []
    for pool in (StrictMaxPool(), torch.nn.MaxPool3d(3, stride=2, padding=1)):
        given = values.clone().requires_grad_()
        pooled = pool(given)
        pooled.backward(torch.arange(pooled.numel()).reshape(pooled.shape).float())
        results.append((pooled.detach(), given.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_the_spatial_mean_is_torchs_average_pool() -> None:
    values = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(SpatialMean()(values), torch.nn.AdaptiveAvgPool3d(1)(values))


@pytest.mark.parametrize(
    ("width", "bfloat16", "expected"),
    [
        (0.25, False, torch.contiguous_format),
        (1.0, False, torch.channels_last_3d),
        (0.25, True, torch.channels_last_3d),
    ],
)
def test_where_channels_lie_last(width: float, bfloat16: bool, expected: torch.memory_format) -> None:
    network = build_network(ResNetParams(widen_factor=width, stem_stride=2), channels=2)
    names = list(network.state_dict())
    arrange(network, CPU, bfloat16, deterministic=False)
    assert memory_format(network) == expected
    assert list(network.state_dict()) == names


def test_precision_is_as_set_or_what_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch_threads(1):
        expected = {"device": "cpu", "precision": "bfloat16", "threads": 1}
        assert Hardware.choose("bfloat16").record == expected
    for has in (True, False):
        monkeypatch.setattr("ricenet.training.hardware.has_bfloat16", lambda _, has=has: has)
        assert Hardware.choose("auto").bfloat16 is has
        assert not Hardware.choose("float32").bfloat16


def test_repeatability_is_switched_on_and_off_again() -> None:
    with repeatability(deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        loss, _ = optimisation(deterministic=True).step(*batch())
    assert not torch.are_deterministic_algorithms_enabled()
    again, _ = optimisation().step(*batch())
    assert loss.item() == again.item()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["python", "cudnn", "gpu", "cpu"],
)
def test_memory_that_ran_out_is_reported_with_the_parameters_to_lower(error: Exception) -> None:
    expected = (
        "dose, fold 1: out of memory with 4 samples at once. Lower training.samples_at_once (below 4; a step "
        "still sees training.batch_size 4), set training.memory to streamed, or lower execution.workers"
    )
    with pytest.raises(TrainingError, match=re.escape(expected)), memory_explained("dose, fold 1", TRAINING):
        raise error


def test_exhausted_memory_of_the_cpu_really_raises_what_is_explained() -> None:
    with pytest.raises(TrainingError, match="out of memory"), memory_explained("dose, fold 1", TRAINING):
        torch.empty(2**50)


def test_where_one_sample_at_a_time_is_too_much_no_fewer_are_advised() -> None:
    single = TRAINING.model_copy(update={"samples_at_once": 1})
    with (
        pytest.raises(TrainingError, match=r"with 1 samples at once\. Set training\.memory to streamed"),
        memory_explained("x", single),
    ):
        raise MemoryError


@pytest.mark.parametrize(
    ("settings", "tried"),
    [
        ({"compile": "auto"}, True),
        ({"compile": "off"}, False),
        ({"compile": "auto", "deterministic": True}, False),
        ({"compile": "auto", "samples_at_once": 2}, False),
    ],
)
def test_compilation_is_tried_on_a_gpu_where_it_could_be_kept(
    settings: dict[str, object], tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def keep(network: torch.nn.Module, *_: object) -> torch.nn.Module:
        asked.append(network)
        return network

    monkeypatch.setattr("ricenet.training.optimisation.compiled_if_faster", keep)
    step = optimisation(**settings)
    step._hardware = Hardware(torch.device("cuda"), bfloat16=False)
    step._chosen_forward(*batch())
    assert bool(asked) == tried


def test_other_errors_of_torch_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), memory_explained("x", TRAINING):
        torch.ones(2) + torch.ones(3)


@pytest.mark.parametrize("faster", [True, False])
def test_a_network_is_compiled_only_where_that_is_faster(
    faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = optimisation().network
    seconds = iter([2.0, 1.0 if faster else 3.0])
    monkeypatch.setattr("ricenet.training.optimisation._median_seconds", lambda *_: next(seconds))
    monkeypatch.setattr("ricenet.training.optimisation._compiled", lambda module: ("compiled", module))
    chosen = compiled_if_faster(network, *batch(), FLOAT32)
    assert chosen == ("compiled", network) if faster else chosen is network


def test_a_compiler_that_fails_is_logged_and_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = optimisation().network

    def fail(_: object) -> None:
        raise RuntimeError("no compiler found\nand a long story")

    monkeypatch.setattr("ricenet.training.optimisation._compiled", fail)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert compiled_if_faster(network, *batch(2, 8), FLOAT32) is network
    assert "torch.compile does not work here and is not used: no compiler found" in caplog.text
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
