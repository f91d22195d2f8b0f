"""Augmentation against a slow reference made of scipy's interpolators."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.config.params import AugmentationParams
from ricenet.runtime.randomness import generator_for
from ricenet.training.augmentation import (
    CONTROL_CELLS,
    SampleAugmentation,
    augment,
    draw_augmentation,
    varied_mris,
)
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

ALL = varied_mris(PAPER_VOLUMES, "post_op+event+dose")
MRIS = len(PAPER_VOLUMES.mris)
STRONG = AugmentationParams(
    rotation_degrees=15.0,
    scaling=0.1,
    elastic_mm=6.0,
    noise_sd=0.1,
    brightness=0.1,
    gamma=0.2,
    probability=1.0,
)


def strengths(**changes: float) -> AugmentationParams:
    """Only the named kinds, each always applied."""
    zero = dict.fromkeys(
        ("rotation_degrees", "scaling", "elastic_mm", "noise_sd", "brightness", "gamma"), 0.0
    )
    return AugmentationParams.model_validate({**zero, "probability": 1.0, **changes})


def blobs(shape: tuple[int, int, int] = (12, 14, 16), channels: int = 3, seed: int = 0) -> torch.Tensor:
    """(1, C, X, Y, Z) without any symmetry, and 0 in a shell around it."""
    values = np.random.default_rng(seed).normal(1.0, 1.0, (channels, *shape)).astype(np.float32)
    values = ndimage.gaussian_filter(values, (0, 1, 1, 1))
    framed = np.zeros_like(values)
    framed[:, 2:-2, 2:-2, 2:-2] = values[:, 2:-2, 2:-2, 2:-2]
    return torch.from_numpy(framed)[None]


def neutral(**changes: object) -> SampleAugmentation:
    sample = draw_augmentation(strengths(), MRIS, np.random.default_rng(0))
    return dataclasses.replace(sample, **changes)  # type: ignore[arg-type]


def slowly_moved(
    volume: NDArray[np.float32], sample: SampleAugmentation, spacing_mm: float
) -> NDArray[np.float64]:
    """The spatial part, voxel positions and B-spline by scipy, in double precision."""
    shape = volume.shape
    voxel = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")).astype(float)
    middle = (np.array(shape)[:, None, None, None] - 1) / 2
    cell = voxel * CONTROL_CELLS / (np.array(shape)[:, None, None, None] - 1) + 1
    displacement_mm = np.stack(
        [
            ndimage.map_coordinates(c, cell, order=3, prefilter=False, mode="nearest")
            for c in sample.elastic_mm
        ]
    )
    before_mm = (voxel - middle) * spacing_mm / sample.scale + displacement_mm
    rotation = Rotation.from_euler("xyz", sample.rotation_rad).inv()
    source_mm = rotation.apply(before_mm.reshape(3, -1).T).T.reshape(before_mm.shape)
    source = source_mm / spacing_mm + middle
    moved: NDArray[np.float64] = ndimage.map_coordinates(
        volume.astype(float), source, order=1, mode="grid-constant", cval=0.0
    )
    return moved


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    volumes = blobs((12, 14, 16))
    sample = draw_augmentation(STRONG, MRIS, np.random.default_rng(3))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = augment(volumes, ALL, [sample], 5.5)
        torch.set_num_threads(threads)
        found = augment(volumes, ALL, [sample], 5.5)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_strengths_of_zero_change_nothing() -> None:
    volumes = blobs()
    sample = draw_augmentation(strengths(), MRIS, np.random.default_rng(3))
    np.testing.assert_allclose(augment(volumes, ALL, [sample], 5.5), volumes, atol=1e-6)


def test_probability_zero_changes_nothing() -> None:
    volumes = blobs()
    never = AugmentationParams.model_validate({**STRONG.model_dump(), "probability": 0.0})
    sample = draw_augmentation(never, MRIS, np.random.default_rng(3))
    torch.testing.assert_close(augment(volumes, ALL, [sample], 5.5), volumes, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["rotation_degrees", "scaling", "elastic_mm", "all"])
def test_the_displacement_field_agrees_with_scipy(kind: str) -> None:
    everything = {"rotation_degrees": 25.0, "scaling": 0.3, "elastic_mm": 9.0}
    chosen = everything if kind == "all" else {kind: everything[kind]}
    sample = draw_augmentation(strengths(**chosen), MRIS, np.random.default_rng(11))
    volumes = blobs()
    fast = augment(volumes, ALL, [sample], spacing_mm=4.0)[0].numpy()
    slow = np.stack([slowly_moved(channel, sample, 4.0) for channel in volumes[0].numpy()])
    assert np.abs(slow - volumes[0].numpy()).max() > 0.1
    np.testing.assert_allclose(fast, slow, atol=2e-5)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    volumes = torch.zeros(1, 1, 5, 5, 5)
    volumes[0, 0, 4, 2, 3] = 1.0
    turned = augment(volumes, [None], [neutral(rotation_rad=np.array([0, 0, np.pi / 2]))], 2.0)
    expected = torch.zeros(5, 5, 5)
    expected[2, 4, 3] = 1.0
    torch.testing.assert_close(turned[0, 0], expected, rtol=0, atol=1e-5)


def test_a_scale_of_two_moves_a_point_twice_as_far_from_the_middle() -> None:
    volumes = torch.zeros(1, 1, 9, 9, 9)
    volumes[0, 0, 5, 4, 2] = 1.0
    larger = augment(volumes, [None], [neutral(scale=2.0)], 3.0)[0, 0]
    assert larger[6, 4, 0] == pytest.approx(1.0)


def test_a_uniform_displacement_is_in_millimetres() -> None:
    volumes = torch.arange(6.0).reshape(1, 1, 6, 1, 1).expand(1, 1, 6, 6, 6).contiguous()
    displacement = np.zeros((3, 7, 7, 7))
    displacement[0] = 4.0
    moved = augment(volumes, [None], [neutral(elastic_mm=displacement)], spacing_mm=2.0)[0, 0, :, 3, 3]
    np.testing.assert_allclose(moved, [2, 3, 4, 5, 0, 0], atol=1e-5)


def test_no_point_moves_further_than_elastic_mm() -> None:
    for seed in range(20):
        sample = draw_augmentation(strengths(elastic_mm=6.0), MRIS, np.random.default_rng(seed))
        assert np.linalg.norm(sample.elastic_mm, axis=0).max() <= 6.0


def test_the_dose_keeps_its_values() -> None:
    volumes = blobs()
    sample = draw_augmentation(
        strengths(noise_sd=0.5, brightness=0.5, gamma=0.5), MRIS, np.random.default_rng(2)
    )
    changed = augment(volumes, ALL, [sample], 5.5)
    torch.testing.assert_close(changed[0, 2], volumes[0, 2], rtol=0, atol=0)
    assert (changed[0, 0] != volumes[0, 0]).any()
    assert (changed[0, 1] != volumes[0, 1]).any()


def test_the_background_of_an_mri_stays_exactly_zero() -> None:
    volumes = blobs()
    sample = draw_augmentation(
        strengths(noise_sd=0.5, brightness=0.5, gamma=0.5), MRIS, np.random.default_rng(2)
    )
    changed = augment(volumes, ALL, [sample], 5.5)
    assert (changed[volumes == 0] == 0).all()


def test_only_z_scored_mris_are_varied_each_by_the_draws_of_its_place() -> None:
    adc = VolumeSpec(name="adc", kind="mri", session="event", suffix="ADC", title="ADC", scale=1000.0)
    flair = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR")
    declared = Volumes([adc, *PAPER_VOLUMES, flair])
    assert varied_mris(declared, "adc+event+dose+flair") == (None, 2, None, 3)
    four = draw_augmentation(STRONG, 4, generator_for("augmentation", 1))
    two = draw_augmentation(STRONG, 2, generator_for("augmentation", 1))
    assert four.gamma.shape == (4,)
    np.testing.assert_array_equal(four.elastic_mm, two.elastic_mm)
    np.testing.assert_array_equal(four.noise_sd[:2], two.noise_sd)


def test_brightness_adds_in_the_brain() -> None:
    volumes = torch.tensor([0.0, -1.0, 2.0]).reshape(1, 1, 3, 1, 1)
    brighter = augment(volumes, [1], [neutral(brightness=np.array([9.0, 0.5]))], 1.0)
    np.testing.assert_allclose(brighter.flatten(), [0.0, -0.5, 2.5])


def test_gamma_bends_the_range_of_the_brain_and_keeps_its_ends() -> None:
    # -2, 0.5 and 3 are 0, 0.5 and 1 of the range; 0.5 squared is 0.25, which is -0.75 again
    volumes = torch.tensor([0.0, -2.0, 0.5, 3.0]).reshape(1, 1, 4, 1, 1)
    bent = augment(volumes, [0], [neutral(gamma=np.array([2.0, 1.0]))], 1.0)
    np.testing.assert_allclose(bent.flatten(), [0.0, -2.0, -0.75, 3.0], atol=1e-6)


def test_noise_has_the_sd_that_was_drawn() -> None:
    volumes = torch.full((1, 2, 24, 24, 24), 1.0)
    noisy = augment(volumes, [0, 1], [neutral(noise_sd=np.array([0.1, 0.4]))], 1.0)[0]
    assert float((noisy[0] - 1).std()) == pytest.approx(0.1, rel=0.02)
    assert float((noisy[1] - 1).std()) == pytest.approx(0.4, rel=0.02)
    correlation = np.corrcoef(noisy.flatten(1).numpy())[0, 1]
    assert abs(correlation) < 0.03


def test_a_sample_does_not_depend_on_its_company() -> None:
    volumes = torch.cat([blobs(seed=k) for k in range(3)])
    samples = [draw_augmentation(STRONG, MRIS, generator_for("augmentation", k)) for k in range(3)]
    together = augment(volumes, ALL, samples, 5.5)
    alone = torch.cat([augment(volumes[k : k + 1], ALL, [samples[k]], 5.5) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_spatial_draw_does_not_depend_on_the_other_strengths() -> None:
    one = draw_augmentation(STRONG, MRIS, generator_for("augmentation", 1))
    other = draw_augmentation(
        STRONG.model_copy(update={"gamma": 0.0, "scaling": 0.0}), MRIS, generator_for("augmentation", 1)
    )
    np.testing.assert_array_equal(one.rotation_rad, other.rotation_rad)
    np.testing.assert_array_equal(one.elastic_mm, other.elastic_mm)
    np.testing.assert_array_equal(one.brightness, other.brightness)
    assert one.noise_seed == other.noise_seed


def test_the_originals_are_left_alone() -> None:
    volumes = blobs()
    before = volumes.clone()
    augment(volumes, ALL, [draw_augmentation(STRONG, MRIS, np.random.default_rng(0))], 5.5)
    torch.testing.assert_close(volumes, before, rtol=0, atol=0)
