"""Perturbed volumes are what their names say, voxel by voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from perturbed_cases import BRAIN, OUTSIDE, PARAMS, SHAPE, given
from scipy import ndimage

from ricenet.evaluation.robustness.degradation import (
    smooth_field,
    standardised,
    with_bias_field,
    with_noise,
)
from ricenet.evaluation.robustness.moves import rotated, shifted
from ricenet.evaluation.robustness.perturbations import Perturbation, perturbations
from ricenet.vocabulary import MODALITIES

RNG = np.random.default_rng(5)
BLOCK: NDArray[np.float32] = RNG.random(SHAPE, dtype=np.float32)


def mri() -> torch.Tensor:
    return standardised(torch.from_numpy(RNG.normal(size=SHAPE).astype(np.float32)), BRAIN)


def named(name: str) -> list[Perturbation]:
    return [p for p in perturbations(PARAMS) if p.name == name]


def rolled(values: NDArray[np.float32], voxels: int, axis: int) -> NDArray[np.float32]:
    """np.roll with 0 where values would come in again at the other end."""
    result = np.moveaxis(np.roll(values, voxels, axis), axis, 0)
    result[(slice(voxels) if voxels > 0 else slice(voxels, None))] = 0
    return np.moveaxis(result, 0, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [1, -1, 4])
def test_a_shift_by_whole_voxels_moves_every_value(axis: int, voxels: int) -> None:
    moved = shifted(torch.from_numpy(BLOCK), float(voxels), axis).numpy()
    np.testing.assert_allclose(moved, rolled(BLOCK, voxels, axis), atol=1e-5)


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
@pytest.mark.parametrize("quarters", [1, -1])
def test_a_quarter_turn_moves_every_value(axis: int, plane: tuple[int, int], quarters: int) -> None:
    turned = rotated(torch.from_numpy(BLOCK), 90.0 * quarters, axis).numpy()
    np.testing.assert_allclose(turned, np.rot90(BLOCK, quarters, plane), atol=1e-5)


@pytest.mark.parametrize("voxels", [0.3, -1.7])
def test_a_shift_agrees_with_scipy(voxels: float) -> None:
    expected = ndimage.shift(BLOCK.astype(float), (0, voxels, 0), order=1, mode="grid-constant")
    np.testing.assert_allclose(shifted(torch.from_numpy(BLOCK), voxels, 1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (10, 12, 14)])
def test_a_rotation_agrees_with_scipy(shape: tuple[int, int, int]) -> None:
    values = RNG.random(shape, dtype=np.float32)
    c, s = np.cos(np.deg2rad(5)), np.sin(np.deg2rad(5))
    source_from_target = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    middle = (np.array(shape) - 1) / 2
    expected = ndimage.affine_transform(
        values.astype(float),
        source_from_target,
        middle - source_from_target @ middle,
        order=1,
        mode="grid-constant",
    )
    np.testing.assert_allclose(rotated(torch.from_numpy(values), 5.0, 2).numpy(), expected, atol=1e-5)


def test_a_dose_moves_by_millimetres_in_six_directions() -> None:
    subject = given()
    (shift,) = named("dose_shift")
    trials = [shift.change(subject, "dose", trial).numpy() for trial in range(shift.trials)]
    dose = subject.channel("dose").numpy()
    expected = [rolled(dose, sense, axis) for axis in range(3) for sense in (1, -1)]
    np.testing.assert_allclose(trials, expected, atol=1e-5)


@pytest.mark.parametrize("sd", [0.1, 2.0])
def test_noise_keeps_the_background_and_the_scale(sd: float) -> None:
    clean = mri()
    noisy = with_noise(clean, BRAIN, sd, np.random.default_rng(1))
    assert (noisy[OUTSIDE] == 0).all()
    assert noisy[BRAIN].mean().item() == pytest.approx(0, abs=1e-5)
    assert noisy[BRAIN].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    # of two independent parts, 1 and sd, the first explains 1 / (1 + sd^2) of the variance
    correlation = np.corrcoef(clean[BRAIN], noisy[BRAIN])[0, 1]
    assert correlation == pytest.approx(1 / np.sqrt(1 + sd**2), abs=0.03)


def test_a_bias_field_multiplies_raw_intensities() -> None:
    raw = torch.from_numpy(RNG.normal(500, 100, SHAPE).astype(np.float32))
    mean_sd = float(raw[BRAIN].mean() / raw[BRAIN].std(correction=0))
    field = torch.from_numpy(smooth_field(SHAPE, np.random.default_rng(1)))
    expected = standardised(raw * (1 + 0.3 * field / field[BRAIN].abs().max()), BRAIN)
    found = with_bias_field(standardised(raw, BRAIN), BRAIN, 0.3, mean_sd, np.random.default_rng(1))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)
    assert (found[OUTSIDE] == 0).all()


def test_a_bias_field_is_a_polynomial_of_third_degree() -> None:
    field = smooth_field(SHAPE, np.random.default_rng(1)).astype(float)
    assert np.abs(np.diff(field, n=3, axis=0)).max() > 1e-4
    np.testing.assert_allclose(np.diff(field, n=4, axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("name", ["noise", "bias_field"])
def test_degradation_is_drawn_for_subject_modality_and_trial(name: str) -> None:
    change = named(name)[0].change
    first = change(given(), "event", 0)
    assert torch.equal(first, change(given(), "event", 0))
    same_mri = given().volumes[[1, 1, 2]]
    others = [
        change(given(), "event", 1),
        change(given(subject="sub-002"), "event", 0),
        change(given(seed=8), "event", 0),
        change(given(volumes=same_mri, brain_mean_sd={"post_op": 5.0}), "post_op", 0),
    ]
    assert not any(torch.equal(first, other) for other in others)


def test_stronger_noise_is_the_same_noise() -> None:
    weak, strong = (p.change(given(), "event", 0)[BRAIN] for p in named("noise"))
    clean = standardised(given().channel("event"), BRAIN)[BRAIN]
    # before standardising again, both are clean + share * noise
    weak_noise, strong_noise = (np.sqrt(1 + sd**2) * p - clean for sd, p in ((0.1, weak), (0.3, strong)))
    assert np.corrcoef(weak_noise, strong_noise)[0, 1] > 0.95


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_missing_modality_is_zero(modality: Any) -> None:
    (missing,) = named(f"missing_{modality}")
    assert missing.modalities == (modality,)
    assert not missing.change(given(), modality, 0).any()


def test_a_swapped_dose_is_the_donor_s() -> None:
    for label, height in (("same", 0.25), ("other", 0.75)):
        (swap,) = named(f"dose_of_{label}_label")
        assert (swap.change(given(), "dose", 0) == height).all()
        assert not swap.possible(given(donor_doses={}))


def test_perturbing_changes_no_input() -> None:
    subject = given()
    before = subject.volumes.clone()
    for perturbation in perturbations(PARAMS):
        for modality in perturbation.modalities:
            perturbation.change(subject, modality, 0)
    assert torch.equal(subject.volumes, before)
