"""Perturbed volumes are what their names say, voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from perturbed_cases import BRAIN, OUTSIDE, PARAMS, SHAPE, given, standardised
from scipy import ndimage

from ricenet.evaluation.robustness.altered_volumes import (
    rotated,
    shifted,
    smooth_field,
    with_bias_field,
)
from ricenet.evaluation.robustness.perturbations import Perturbation, bias_field, noise, perturbations
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec

RNG = np.random.default_rng(5)
DOSE, EVENT = PAPER_VOLUMES["dose"], PAPER_VOLUMES["event"]
BLOCK: NDArray[np.float32] = RNG.random(SHAPE, dtype=np.float32)


def mri() -> torch.Tensor:
    return standardised(torch.from_numpy(RNG.normal(size=SHAPE).astype(np.float32)), BRAIN)


def named(name: str) -> list[Perturbation]:
    return [p for p in perturbations(PARAMS, PAPER_VOLUMES) if p.name == name]


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
    trials = [shift.change(subject, DOSE, trial).numpy() for trial in range(shift.trials)]
    dose = subject.volumes["dose"].numpy()
    expected = [rolled(dose, sense, axis) for axis in range(3) for sense in (1, -1)]
    np.testing.assert_allclose(trials, expected, atol=1e-5)


@pytest.mark.parametrize("sd", [0.1, 2.0])
def test_noise_keeps_the_background_and_the_scale(sd: float) -> None:
    clean = mri()
    subject = given(volumes={"event": clean})
    noisy = noise((EVENT,), sd).change(subject, EVENT, 0)
    assert (noisy[OUTSIDE] == 0).all()
    assert noisy[BRAIN].mean().item() == pytest.approx(0, abs=1e-5)
    assert noisy[BRAIN].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    # of two independent parts, 1 and sd, the first explains 1 / (1 + sd^2) of the variance
    correlation = np.corrcoef(clean[BRAIN], noisy[BRAIN])[0, 1]
    assert correlation == pytest.approx(1 / np.sqrt(1 + sd**2), abs=0.03)


def test_a_bias_field_multiplies_raw_intensities() -> None:
    raw = torch.from_numpy(RNG.normal(500, 100, SHAPE).astype(np.float32))
    mean_sd = float(raw[BRAIN].mean() / raw[BRAIN].std(correction=0))
    subject = given(volumes={"event": standardised(raw, BRAIN)}, brain_mean_sd={"event": mean_sd})
    found = bias_field((EVENT,), 0.3).change(subject, EVENT, 0)
    generator = generator_for("robustness bias field", 7, "sub-001", "event", 0)
    field = torch.from_numpy(smooth_field(SHAPE, generator))
    expected = standardised(raw * (1 + 0.3 * field / field[BRAIN].abs().max()), BRAIN)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)
    assert (found[OUTSIDE] == 0).all()


def test_on_a_crop_next_to_no_noise_or_field_changes_next_to_nothing() -> None:
    # z-scored by the whole brain, of which the crop holds a darker part with more contrast
    crop = (1.4 * mri() - 0.6).masked_fill(OUTSIDE, 0)
    for perturb in (noise((EVENT,), 1e-6), bias_field((EVENT,), 1e-6)):
        np.testing.assert_allclose(
            perturb.change(given(volumes={"event": crop}), EVENT, 0).numpy(), crop.numpy(), atol=1e-4
        )
    noisy = noise((EVENT,), 0.3).change(given(volumes={"event": crop}), EVENT, 0)[BRAIN]
    assert noisy.mean().item() == pytest.approx(-0.6, abs=1e-3)
    assert noisy.std(correction=0).item() == pytest.approx(1.4, abs=1e-3)


def test_a_quantitative_mri_keeps_its_unit() -> None:
    adc = EVENT.model_copy(update={"name": "adc", "scale": 1000.0})
    values = torch.from_numpy(RNG.normal(0.8, 0.1, SHAPE).astype(np.float32)).masked_fill(OUTSIDE, 0)
    subject = given(volumes={"adc": values}, brain_mean_sd={})
    noisy = noise((adc,), 0.3).change(subject, adc, 0)
    # 0.3 of its own SD of 0.1
    assert (noisy - values)[BRAIN].std().item() == pytest.approx(0.03, rel=0.05)
    uneven = bias_field((adc,), 0.3).change(subject, adc, 0)
    ratio = uneven[BRAIN] / values[BRAIN]
    assert (ratio - 1).abs().max().item() == pytest.approx(0.3, abs=1e-5)
    assert not noisy[OUTSIDE].any() and not uneven[OUTSIDE].any()


def test_a_bias_field_is_a_polynomial_of_third_degree() -> None:
    field = smooth_field(SHAPE, np.random.default_rng(1)).astype(float)
    assert np.abs(np.diff(field, n=3, axis=0)).max() > 1e-4
    np.testing.assert_allclose(np.diff(field, n=4, axis=0), 0, atol=1e-5)
    ones = torch.ones(SHAPE)
    assert (with_bias_field(ones, BRAIN, 0.3, np.random.default_rng(1)) - 1).abs()[BRAIN].max() <= 0.3 + 1e-6


@pytest.mark.parametrize("name", ["noise", "bias_field"])
def test_degradation_is_drawn_for_subject_volume_and_trial(name: str) -> None:
    change = named(name)[0].change
    first = change(given(), EVENT, 0)
    assert torch.equal(first, change(given(), EVENT, 0))
    same_mri = {"post_op": given().volumes["event"]}
    others = [
        change(given(), EVENT, 1),
        change(given(subject="sub-002"), EVENT, 0),
        change(given(seed=8), EVENT, 0),
        change(given(volumes=same_mri, brain_mean_sd={"post_op": 5.0}), PAPER_VOLUMES["post_op"], 0),
    ]
    assert not any(torch.equal(first, other) for other in others)


def test_stronger_noise_is_the_same_noise() -> None:
    weak, strong = (p.change(given(), EVENT, 0)[BRAIN] for p in named("noise"))
    clean = standardised(given().volumes["event"], BRAIN)[BRAIN]
    # before standardising again, both are clean + share * noise
    weak_noise, strong_noise = (np.sqrt(1 + sd**2) * p - clean for sd, p in ((0.1, weak), (0.3, strong)))
    assert np.corrcoef(weak_noise, strong_noise)[0, 1] > 0.95


@pytest.mark.parametrize("spec", PAPER_VOLUMES, ids=PAPER_VOLUMES.names)
def test_a_missing_volume_is_zero(spec: VolumeSpec) -> None:
    (missing,) = named(f"missing_{spec.name}")
    assert (missing.volumes, missing.title) == ((spec,), f"{spec.title} missing")
    assert not missing.change(given(), spec, 0).any()


def test_a_swapped_dose_is_the_donor_s() -> None:
    for label, height in (("same", 0.25), ("other", 0.75)):
        (swap,) = named(f"dose_of_{label}_label")
        assert (swap.change(given(), DOSE, 0) == height).all()
        assert not swap.possible(given(donor_doses={}))


def test_perturbations_follow_the_declared_kinds() -> None:
    flair = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="FLAIR")
    without_dose = perturbations(PARAMS, Volumes([PAPER_VOLUMES["post_op"], flair]))
    assert [p.name for p in without_dose] == [
        "noise", "noise", "bias_field", "missing_post_op", "missing_flair"
    ]  # fmt: skip
    assert [spec.name for spec in without_dose[0].volumes] == ["post_op", "flair"]


def test_perturbing_changes_no_input() -> None:
    subject = given()
    before = {name: volume.clone() for name, volume in subject.volumes.items()}
    for perturbation in perturbations(PARAMS, PAPER_VOLUMES):
        for spec in perturbation.volumes:
            perturbation.change(subject, spec, 0)
    assert all(torch.equal(volume, before[name]) for name, volume in subject.volumes.items())
