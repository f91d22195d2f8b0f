"""From raw volumes to the cube: geometry, intensities, dose, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.config.params import parse_params, read_params, read_yaml
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.preprocessing.cube import brain_cube, dose_on_cube, mri_on_cube, on_cube, require_coverage, shown
from ricenet.preprocessing.dose_cube import course_as_eqd2, require_dose_in_brain
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.intensity import dose_in_units, scaling_in_brain, standardised
from ricenet.preprocessing.measurements import (
    dose_scalars,
    dose_shape_scalars,
    given_dose_scalars,
    raw_intensities,
    share_outside,
)
from ricenet.runtime.errors import ParamsError, ScanError
from ricenet.vocabulary import PAPER_VOLUMES, VolumeSpec
from ricenet.volume import Grid, Volume

PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"
CUBE = Grid.cube(np.zeros(3), 1.0, 4)
EVENT = PAPER_VOLUMES["event"]
EVERYWHERE = np.ones(CUBE.shape, bool)


def mask_of(grid: Grid, low: int, high: int) -> Volume:
    mask = np.zeros(grid.shape, bool)
    mask[low:high, low:high, low:high] = True
    return Volume(mask, grid)


def line_of(values: list[float], start_mm: float = 0.0) -> Volume:
    """Voxels of 1 mm side by side along x, one thick."""
    affine = np.eye(4)
    affine[0, 3] = start_mm
    return Volume(np.array(values, dtype=np.float32).reshape(-1, 1, 1), Grid((len(values), 1, 1), affine))


# intensities


def seen(values: Any, brain: Any, spec: VolumeSpec, subject: str) -> Any:
    """An MRI as the network sees it."""
    return standardised(values, brain, *scaling_in_brain(values, brain, spec, subject))


def test_zscores_use_brain_voxels_only_and_background_becomes_zero() -> None:
    values = np.array([[[1.0, 3.0, 1000.0]]], np.float32)
    brain = np.array([[[True, True, False]]])
    # mean 2, SD 1 of the two brain voxels
    expected = [[[-1.0, 1.0, 0.0]]]
    np.testing.assert_allclose(seen(values, brain, EVENT, "sub-1"), expected)
    # in any unit of the scanner
    np.testing.assert_allclose(seen(400 * values + 90, brain, EVENT, "sub-1"), expected, atol=1e-4)


def test_a_quantitative_mri_keeps_its_absolute_level() -> None:
    adc = VolumeSpec(name="adc", kind="mri", session="event", suffix="adc", title="ADC", scale=1000.0)
    values = np.array([[[800.0, 2500.0, 9000.0]]], np.float32)
    brain = np.array([[[True, True, False]]])
    np.testing.assert_allclose(seen(values, brain, adc, "sub-1"), [[[0.8, 2.5, 0.0]]])
    with pytest.raises(ScanError, match="sub-1: ADC: the brain mask is empty"):
        seen(values, ~np.ones_like(brain), adc, "sub-1")


def test_an_empty_mask_and_a_constant_brain_are_refused_by_name() -> None:
    values = np.full((2, 2, 2), 7.0, np.float32)
    with pytest.raises(ScanError, match=r"sub-007: event T1ce: the brain mask is empty within the cube"):
        seen(values, np.zeros((2, 2, 2), bool), EVENT, "sub-007")
    with pytest.raises(ScanError, match=r"sub-007: event T1ce: every brain voxel is 7"):
        seen(values, np.ones((2, 2, 2), bool), EVENT, "sub-007")


def test_the_dose_keeps_its_absolute_level() -> None:
    in_units = dose_in_units(np.array([[[0.0, 30.0, 66.0]]], np.float32), 60.0)
    np.testing.assert_allclose(in_units, [[[0, 0.5, 1.1]]])


# the cube


def test_the_cube_is_centred_on_the_brains_bounding_box() -> None:
    grid = Grid.cube(np.zeros(3), 2.0, 20)
    cube = brain_cube(mask_of(grid, 4, 10), 3.0, 8, "sub-1")
    np.testing.assert_allclose(cube.world_mm(np.full(3, 3.5)), grid.world_mm(np.full(3, 6.5)))
    assert cube.shape == (8, 8, 8) and cube.spacing_mm == (3.0, 3.0, 3.0)


def test_a_brain_on_an_oblique_grid_is_as_long_as_it_is_along_the_world_axes() -> None:
    # a ball of 20 mm radius, on a grid turned by 45 degrees: the box of its voxels would be 1.4 times as long
    half = np.sqrt(0.5)
    affine = np.array([[half, -half, 0, 0], [half, half, 0, -28.0], [0, 0, 1, -20.0], [0, 0, 0, 1]])
    grid = Grid((41, 41, 41), affine)
    x, y, z = np.indices(grid.shape) - 20.0
    ball = Volume(x**2 + y**2 + z**2 <= 400, grid)
    cube = brain_cube(ball, 1.0, 42, "sub-1")
    np.testing.assert_allclose(cube.world_mm(np.full(3, 20.5)), grid.world_mm(np.full(3, 20.0)), atol=0.5)
    with pytest.raises(ScanError, match="sub-9: brain mask: the brain is 40 mm long, the cube 39 mm"):
        brain_cube(ball, 1.0, 39, "sub-9")


def test_a_scan_of_half_the_brain_is_refused() -> None:
    cube = Grid.cube(np.zeros(3), 1.0, 10)
    upper_half = Grid((10, 10, 5), cube.affine + np.array([[0] * 4, [0] * 4, [0, 0, 0, 5.0], [0] * 4]))
    brain = np.ones(cube.shape, bool)
    seen = shown(upper_half, cube, brain, np.eye(4))
    np.testing.assert_array_equal(seen, np.indices(cube.shape)[2] >= 5)
    assert shown(cube, cube, brain, np.eye(4)).all() and not shown(cube, cube, ~brain, np.eye(4)).any()
    half = float(seen.mean())
    with pytest.raises(ScanError, match="sub-4: FLAIR: the scan covers 50% of the brain"):
        require_coverage(half, "sub-4", "FLAIR")
    require_coverage(0.95, "sub-4", "FLAIR")


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("spacing_mm", [2.0, 3.1, 9.0])
def test_thick_slices_of_100_are_100_in_every_voxel_that_they_are_said_to_cover(
    spacing_mm: float, order: int
) -> None:
    # 20 slices of 6.5 mm: centres up to 61.75 mm from the middle, the extent up to 65 mm
    slices = Grid((16, 16, 20), np.diag([10.0, 10.0, 6.5, 1.0]))
    scan = Volume(np.full(slices.shape, 100, np.float32), slices)
    middle = slices.world_mm((np.array(slices.shape) - 1) / 2)
    cube = Grid.cube(middle, spacing_mm, round(150 / spacing_mm))
    values = mri_on_cube(scan, cube, order)
    seen = shown(slices, cube, np.ones(cube.shape, bool), np.eye(4))
    height_mm = np.abs(cube.world_mm(np.moveaxis(np.indices(cube.shape), 0, -1).astype(float)) - middle)[
        ..., 2
    ]
    np.testing.assert_array_equal(seen, height_mm <= 65)
    np.testing.assert_allclose(values[seen], 100, rtol=1e-5)


# the dose


def test_one_fractions_dose_is_scaled_to_the_course_and_never_negative() -> None:
    data = np.full((4, 4, 4), 2.0, np.float32)
    data[0, 0, 0] = -0.1  # what interpolation by a treatment planning system may leave
    dose = dose_on_cube(Volume(data, CUBE), CUBE, 30.0)
    assert dose[0, 0, 0] == 0.0
    np.testing.assert_allclose(dose[1:], 60.0)


def test_a_dose_whose_high_dose_misses_the_brain_is_refused() -> None:
    # four voxels of high dose along x, of which the brain, 2 mm to the right, holds one, two, then three
    dose = line_of([5.0, 60.0, 60.0, 50.0, 31.0, 5.0])
    for voxels, share in ((1, "25%"), (2, None), (3, None), (0, "0%")):
        brain = line_of([0, 0, 0, *[1.0 if 4 - n < voxels else 0.0 for n in range(1, 5)], 0])
        mask, moved = Volume(brain.data > 0, brain.grid), np.eye(4)
        moved[0, 3] = 2.0
        if share is None:
            require_dose_in_brain(dose, mask, moved, "sub-3")
        else:
            found = (
                rf"sub-3: dose: the course's high dose does not lie in the brain: {share} of.*this patient's"
            )
            with pytest.raises(ScanError, match=found):
                require_dose_in_brain(dose, mask, moved, "sub-3")
    far = Volume(np.full((4, 4, 4), 2.0, np.float32), Grid.cube(np.full(3, 500.0), 1.0, 4))
    with pytest.raises(ScanError, match="in the brain: 0%"):
        require_dose_in_brain(far, Volume(EVERYWHERE, CUBE), np.eye(4), "sub-3")


@pytest.mark.parametrize("spacing_mm", [1.5, 3.0, 6.0])
def test_the_doses_integral_is_kept_on_a_finer_and_on_a_coarser_cube(spacing_mm: float) -> None:
    fine = Grid.cube(np.zeros(3), 2.5, 48)
    distance = np.linalg.norm(np.moveaxis(np.indices(fine.shape), 0, -1) - 23.5, axis=-1)
    dose = Volume((60 / (1 + np.exp((distance - 12) / 1.5))).astype(np.float32), fine)
    cube = Grid.cube(np.array([0.7, -0.4, 1.1]), spacing_mm, int(120 / spacing_mm))
    values = on_cube(dose, cube, 1)
    assert values.sum() * cube.voxel_ml == pytest.approx(dose.data.sum() * fine.voxel_ml, rel=0.01)


# EQD2


def sidecar(**content: Any) -> DoseSidecar:
    return DoseSidecar.model_validate(
        {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30} | content
    )


def eqd2(gy: list[float], of: DoseSidecar, alpha_beta_gy: float = 3.0) -> list[float]:
    given = line_of(gy)
    converted: list[float] = course_as_eqd2(given, of, alpha_beta_gy, "sub-001").data.ravel().tolist()
    assert given.data.ravel().tolist() == gy
    return converted


@pytest.mark.parametrize(
    ("gy", "content", "alpha_beta_gy", "expected"),
    [
        # 60 x (2 + 3) / 5; 30 x (1 + 3) / 5
        ([60.0, 30.0, 0.0], {}, 3.0, [60, 24, 0]),
        # one fraction's dose becomes that of the course
        ([2.0, 1.0, 0.0], {"DoseSummationType": "FRACTION"}, 3.0, [60, 24, 0]),
        # larger fractions count more, most in late-reacting tissue: 60 x (3 + 3) / 5 and 60 x (3 + 10) / 12
        ([60.0], {"NumberOfFractions": 20}, 3.0, [72]),
        ([60.0], {"NumberOfFractions": 20}, 10.0, [65]),
        # alpha/beta far above any dose per fraction: effect proportional to dose
        ([66.0, 30.0, 3.0], {}, 1e9, [66, 30, 3]),
        ([60.0], {"DoseType": "PHYSICAL"}, 3.0, [60]),
        ([60.0], {"PlansSummed": 1}, 3.0, [60]),
    ],
)
def test_eqd2_by_hand(
    gy: list[float], content: dict[str, Any], alpha_beta_gy: float, expected: list[float]
) -> None:
    assert eqd2(gy, sidecar(**content), alpha_beta_gy) == pytest.approx(expected, rel=1e-6)


def test_the_mean_effect_is_more_than_the_effect_of_the_mean() -> None:
    assert np.mean(eqd2([0.0, 60.0, 60.0], sidecar())) > eqd2([40.0], sidecar())[0]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            {"NumberOfFractions": None},
            r"sub-001: dose: without NumberOfFractions, which EQD2 needs\. Write",
        ),
        ({"DoseType": "EFFECTIVE"}, r"DoseType is EFFECTIVE: it is weighted by biological effect already"),
        ({"PlansSummed": 2}, r"several plans were summed: .* differ from voxel to voxel"),
        ({"SourceSummationType": "MULTI_PLAN"}, r"several plans were summed"),
    ],
)
def test_what_cannot_become_eqd2_is_refused(content: dict[str, Any], found: str) -> None:
    with pytest.raises(ScanError, match=found + r".*set preprocessing.eqd2_alpha_beta_gy to null"):
        eqd2([60.0, 0.0], sidecar(**content))


def test_eqd2_is_off_by_default_and_then_leaves_no_trace_in_records_and_keys() -> None:
    settings = read_params(PARAMS_FILE).preprocessing
    record = settings.model_dump()
    assert settings.eqd2_alpha_beta_gy is None and "eqd2_alpha_beta_gy" not in record
    assert PreprocessingParams.model_validate(record) == settings
    assert settings.model_copy(update={"eqd2_alpha_beta_gy": 3.0}).model_dump()["eqd2_alpha_beta_gy"] == 3.0


@pytest.mark.parametrize("value", [0, -3, "three"])
def test_an_alpha_beta_that_is_no_positive_dose_is_refused(value: object) -> None:
    content = read_yaml(PARAMS_FILE)
    content["preprocessing"]["eqd2_alpha_beta_gy"] = value
    with pytest.raises(ParamsError, match=r"preprocessing\.eqd2_alpha_beta_gy"):
        parse_params(content, "params.yaml")


# measurements


def dose_in(dose_gy: Any, brain: Any, grid: Grid) -> StructureDose:
    return StructureDose.of(Volume(dose_gy, grid), Volume(brain, grid))


def shape_scalars(dose_gy: Any, brain: Any, grid: Grid) -> dict[str, float | None]:
    return dose_shape_scalars(dose_in(dose_gy, brain, grid), dose_gy, brain, grid)


def test_scalars_of_a_dose_by_hand() -> None:
    # a brain of 4 voxels of 8 ml: 10, 30, 60, 60 Gy; 60 Gy outside it does not count
    dose_gy = np.array([10, 30, 60, 60, 60, 0, 0, 0], np.float32).reshape(2, 2, 2)
    brain = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool).reshape(2, 2, 2)
    grid = Grid.cube(np.zeros(3), 20.0, 2)
    inside = dose_in(dose_gy, brain, grid)
    assert dose_scalars(inside) == {
        "dose_max_gy": 60.0,
        "dose_mean_gy": 40.0,
        "v20": 0.75,
        "v40": 0.5,
        "v60": 0.5,
        "ptv_ml": 16.0,
    }
    volumes = {"given_v20_ml": 24.0, "given_v40_ml": 16.0, "given_v60_ml": 16.0}
    assert given_dose_scalars(inside) == volumes
    assert dose_scalars(dose_in(0 * dose_gy, brain, grid))["ptv_ml"] == 0


def test_one_of_256_voxels_with_all_the_dose_has_half_of_it_as_its_equivalent_uniform_dose() -> None:
    # (60^8 / 256)^(1/8) = 60 / 2; no dose is as uniform as one of the same everywhere
    dose_gy, brain, grid = (
        np.zeros((4, 8, 8), np.float32),
        np.ones((4, 8, 8), bool),
        Grid((4, 8, 8), np.eye(4)),
    )
    dose_gy[1, 2, 3] = 60
    assert shape_scalars(dose_gy, brain, grid)["eud8_gy"] == pytest.approx(30)
    assert shape_scalars(np.full_like(dose_gy, 42), brain, grid)["eud8_gy"] == pytest.approx(42)


def test_a_ball_of_dose_has_the_volume_the_gradient_and_the_place_that_it_was_given() -> None:
    # 60 Gy up to 10 mm from its centre, 3 Gy less per mm beyond: 48 Gy at 14 mm, 8 mm off the middle
    grid = Grid.cube(np.array([5.0, -3.0, 2.0]), 1.0, 61)
    radius_mm = np.linalg.norm(np.moveaxis(np.indices(grid.shape), 0, -1) - [38, 30, 30], axis=-1)
    dose_gy = np.maximum(60 - 3 * np.maximum(radius_mm - 10, 0), 0).astype(np.float32)
    found = shape_scalars(dose_gy, np.ones(grid.shape, bool), grid)
    assert found["high_dose_ml"] == pytest.approx(4 / 3 * np.pi * 14**3 / 1000, rel=0.01)
    assert found["edge_gradient_gy_mm"] == pytest.approx(3, rel=0.01)
    assert found["high_dose_off_middle_mm"] == pytest.approx(8, abs=1e-6)


def test_a_ramp_has_its_slope_whatever_the_voxels_and_wherever_the_brain_ends() -> None:
    # 2 Gy a voxel of 4 mm: 0.5 Gy/mm. The plateau lies at 98 Gy or more, so the edge within the brain
    grid = Grid((51, 5, 5), np.diag([4.0, 2.0, 1.0, 1.0]))
    dose_gy = np.broadcast_to(2 * np.arange(51, dtype=np.float32)[:, None, None], grid.shape)
    brain = np.ones(grid.shape, bool)
    found = shape_scalars(dose_gy, brain, grid)
    assert found["edge_gradient_gy_mm"] == pytest.approx(0.5)
    # from voxel 40 on, of 50: 11 slices of 25 voxels of 0.008 ml; middles at voxels 45 and 25
    assert found["high_dose_ml"] == pytest.approx(11 * 25 * 0.008)
    assert found["high_dose_off_middle_mm"] == pytest.approx(80)
    brain[:42] = False
    # the brain's own surface is no edge of the dose, and there is no other
    assert shape_scalars(dose_gy, brain, grid)["edge_gradient_gy_mm"] is None


def test_without_dose_there_is_no_high_dose_to_measure() -> None:
    found = shape_scalars(np.zeros(CUBE.shape, np.float32), EVERYWHERE, CUBE)
    nothing = {"edge_gradient_gy_mm": None, "high_dose_off_middle_mm": None}
    assert found == {"eud8_gy": 0.0, "high_dose_ml": 0.0, **nothing}


def test_dose_outside_is_a_share_of_the_integral_on_the_doses_own_grid() -> None:
    dose = line_of([10.0, 20.0, 30.0, 40.0])

    def outside(brain: Volume, transform: Any = None) -> float:
        mask = Volume(brain.data > 0, brain.grid)
        return share_outside(dose, StructureDose.of(dose, mask, transform))

    assert outside(line_of([0.0, 1.0, 1.0, 0.0])) == pytest.approx(50 / 100)
    # a brain on a grid elsewhere: only the last two voxels of the dose lie in it
    brain = line_of([1.0, 1.0, 1.0], start_mm=2.0)
    assert outside(brain) == pytest.approx(30 / 100)
    # a dose whose world lies 2 mm from the brain's: its first three voxels
    moved = np.eye(4)
    moved[0, 3] = 2.0
    assert outside(brain, moved) == pytest.approx(40 / 100)


def test_raw_intensities_are_sampled_in_the_brain_through_the_transform() -> None:
    grid = Grid.cube(np.zeros(3), 1.0, 130)
    brain = np.zeros(grid.shape, bool)
    # of every third voxel: 0 and 3 along x, one each along y and z
    brain[0:4, 0, 0] = True
    values = np.arange(130, dtype=np.float32)[:, None, None] * np.ones((1, 130, 130), np.float32)
    shifted = np.eye(4)
    shifted[0, 3] = 10.0
    mean, sd = raw_intensities(Volume(values, grid), Volume(brain, grid), shifted)
    assert (mean, sd) == pytest.approx((11.5, 1.5))
