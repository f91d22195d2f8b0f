"""Quality control's numbers, against volumes small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ricenet.cohort.quarantine import REASONS
from ricenet.config.params import QualityParams
from ricenet.phantom.anatomy import rigid
from ricenet.screening.quality.geometry import (
    bounding_box_mm,
    box_grid,
    coverage,
    dice,
    dose_volume_curve,
    mask_on,
    rotation_deg,
    share_outside,
    shift_mm,
    volume_from_ml,
)
from ricenet.screening.quality.limits import QUARANTINE_REASONS, Limit, limits_of, marks_of
from ricenet.screening.quality.measures import MEASURES, SubjectQuality
from ricenet.volume import Grid, Volume

QUIET = SubjectQuality(
    participant_id="sub-001",
    mutual_information_before=1.1,
    mutual_information=1.3,
    rotation_deg=5.0,
    shift_mm=10.0,
    brain_ml=1400.0,
    brain_overlap=0.98,
    coverage=1.0,
    dose_max_gy=63.0,
    dose_of_prescription=1.05,
    dose_outside_brain=0.25,
    v20_ml=400.0,
    v40_ml=200.0,
    v60_ml=100.0,
    days_rt_end_to_event=200,
)
LIMITS = limits_of(
    QualityParams(
        least_mutual_information=1.12,
        most_rotation_deg=40.0,
        most_shift_mm=80.0,
        brain_ml=[900, 1900],
        least_brain_overlap=0.92,
        least_coverage=0.98,
        dose_max_gy=[30, 80],
        dose_of_prescription=[0.9, 1.2],
        most_dose_outside_brain=0.5,
    )
)


def line_of(values: list[float], spacing_mm: float = 1.0, start_mm: float = 0.0) -> Volume:
    """Voxels side by side along x, one thick."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[0, 3] = start_mm
    return Volume(np.array(values, dtype=np.float32).reshape(-1, 1, 1), Grid((len(values), 1, 1), affine))


def mask_of(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


@pytest.mark.parametrize("angle", [0.0, 12.5, 90.0, 180.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_is_the_angle_about_its_own_axis(angle: float, axis: int) -> None:
    angles = np.zeros(3)
    angles[axis] = angle
    transform = rigid(angles, np.array([5.0, 6.0, 7.0]), np.array([10.0, -20.0, 30.0]))
    assert rotation_deg(transform) == pytest.approx(angle, abs=1e-5)


def test_shift_is_that_of_the_point_and_not_of_the_origin() -> None:
    # a quarter turn about a point far from the origin: its own translation is large, the point stays
    about = np.array([100.0, 0.0, 0.0])
    turned = rigid(np.array([0.0, 0.0, 90.0]), np.zeros(3), about)
    assert np.linalg.norm(turned[:3, 3]) == pytest.approx(100 * np.sqrt(2))
    assert shift_mm(turned, about) == pytest.approx(0.0, abs=1e-9)
    moved = rigid(np.array([0.0, 0.0, 90.0]), np.array([3.0, 4.0, 0.0]), about)
    assert shift_mm(moved, about) == pytest.approx(5.0)


def test_dice_counts_common_voxels_twice() -> None:
    assert dice(mask_of(1, 1, 1, 0), mask_of(0, 1, 1, 1)) == pytest.approx(4 / 6)
    assert dice(mask_of(1, 0), mask_of(0, 1)) == 0.0
    assert dice(mask_of(1, 0), mask_of(1, 0)) == 1.0


def test_the_box_of_a_mask_is_that_of_its_voxel_centres() -> None:
    data = np.zeros((5, 4, 3), dtype=bool)
    data[1, 2, 0] = data[3, 2, 2] = True
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = [-10.0, 0.0, 5.0]
    low, high = bounding_box_mm(Volume(data, Grid((5, 4, 3), affine)))
    np.testing.assert_array_equal(low, [-8.0, 4.0, 5.0])
    np.testing.assert_array_equal(high, [-4.0, 4.0, 11.0])
    grid = box_grid(low, high, 2.0)
    assert grid.shape == (2, 1, 3)
    np.testing.assert_array_equal(grid.affine[:3, 3], [-7.0, 4.0, 6.0])


def test_a_mask_moves_with_its_transform() -> None:
    mask = Volume(np.array([0, 1, 1, 0, 0], dtype=bool).reshape(5, 1, 1), Grid((5, 1, 1), np.eye(4)))
    mask_from_grid = np.eye(4)
    mask_from_grid[0, 3] = -2.0
    np.testing.assert_array_equal(mask_on(mask, mask.grid).ravel(), [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(mask_on(mask, mask.grid, mask_from_grid).ravel(), [0, 0, 0, 1, 1])


def test_coverage_is_the_share_of_the_brain_inside_the_scan() -> None:
    grid = Grid((10, 1, 1), np.eye(4))
    brain = np.ones(grid.shape, dtype=bool)
    brain[0] = False
    scan = Grid((6, 1, 1), np.eye(4))
    # of the nine voxels of the brain, 1 to 5 lie within the scan's 0 to 5
    assert coverage(scan, brain, grid, np.eye(4)) == pytest.approx(5 / 9)
    scan_from_grid = np.eye(4)
    scan_from_grid[0, 3] = -4.0
    assert coverage(scan, brain, grid, scan_from_grid) == pytest.approx(6 / 9)


def test_dose_outside_is_a_share_of_the_integral_on_the_doses_own_grid() -> None:
    dose = line_of([10.0, 20.0, 30.0, 40.0])
    brain = line_of([0.0, 1.0, 1.0, 0.0])
    assert share_outside(dose, Volume(brain.data > 0, brain.grid)) == pytest.approx(50 / 100)
    # a brain on a grid elsewhere: only the last two voxels of the dose lie in it
    elsewhere = line_of([1.0, 1.0, 1.0], start_mm=2.0)
    assert share_outside(dose, Volume(elsewhere.data > 0, elsewhere.grid)) == pytest.approx(30 / 100)


def test_a_volume_from_a_dose_counts_that_dose_too() -> None:
    dose_gy = np.array([0.0, 19.9, 20.0, 40.0, 60.0, 61.0], dtype=np.float32)
    brain = mask_of(1, 1, 1, 1, 1, 0)
    assert [volume_from_ml(dose_gy, brain, gy, 8.0) for gy in (0, 20, 40, 60)] == [40.0, 24.0, 16.0, 8.0]


def test_the_dose_volume_curve_falls_from_the_brain_to_nothing() -> None:
    dose_gy = np.array([0.0, 1.0, 2.5, 9.0], dtype=np.float32)
    curve = dose_volume_curve(dose_gy, mask_of(1, 1, 1, 0), 2.0)
    assert curve == [[0.0, 6.0], [1.0, 4.0], [2.0, 2.0], [3.0, 0.0], [4.0, 0.0]]


def test_a_subject_within_all_limits_is_not_marked() -> None:
    assert marks_of(QUIET, LIMITS) == ()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mutual_information", 1.05, "Similarity 1.050, expected at least 1.12"),
        ("rotation_deg", 41.0, "Rotation 41.0 °, expected at most 40 °"),
        ("shift_mm", 90.0, "Shift 90.0 mm, expected at most 80 mm"),
        ("brain_ml", 2000.0, "Brain 2000 ml, expected 900 to 1900 ml"),
        ("brain_ml", 800.0, "Brain 800 ml, expected 900 to 1900 ml"),
        ("brain_overlap", 0.5, "Overlap of brains 0.500, expected at least 0.92"),
        ("brain_overlap", None, "Overlap of brains could not be measured"),
        ("coverage", 0.97, "Coverage 97.0 %, expected at least 98 %"),
        ("dose_of_prescription", 1.5, "Of prescription 150 %, expected 90 to 120 %"),
        ("dose_of_prescription", 0.1, "Of prescription 10 %, expected 90 to 120 %"),
        ("dose_outside_brain", 0.9, "Dose outside 90 %, expected at most 50 %"),
    ],
)
def test_a_measure_beyond_its_limit_marks_with_value_and_limit(
    name: str, value: float | None, reason: str
) -> None:
    (mark,) = marks_of(SubjectQuality(**{**QUIET.as_json(), name: value}), LIMITS)
    assert (mark.measure, mark.value, mark.reason) == (name, value, reason)


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_a_value_on_its_limit_is_within(name: str, limit: Limit) -> None:
    for bound in (limit.low, limit.high):
        if bound is not None:
            assert marks_of(SubjectQuality(**{**QUIET.as_json(), name: bound}), LIMITS) == ()


@pytest.mark.parametrize(
    ("dose_max_gy", "marked"), [(2.07, True), (30.0, False), (80.0, False), (6200.0, True)]
)
def test_the_largest_dose_is_judged_in_gy_only_where_no_prescription_is_known(
    dose_max_gy: float, marked: bool
) -> None:
    values = QUIET.as_json() | {"dose_max_gy": dose_max_gy}
    assert marks_of(SubjectQuality(**values), LIMITS) == ()
    reasons = [
        mark.reason for mark in marks_of(SubjectQuality(**values | {"dose_of_prescription": None}), LIMITS)
    ]
    assert reasons == ([f"Largest dose {dose_max_gy:.1f} Gy, expected 30 to 80 Gy"] if marked else [])


def test_without_a_prescription_or_days_nobody_is_marked() -> None:
    values = QUIET.as_json() | {"dose_of_prescription": None, "days_rt_end_to_event": None}
    assert marks_of(SubjectQuality(**values), LIMITS) == ()


def test_marks_come_in_the_order_of_the_measures() -> None:
    values = QUIET.as_json() | {"dose_outside_brain": 0.9, "coverage": 0.5, "mutual_information": 1.0}
    marks = marks_of(SubjectQuality(**values), LIMITS)
    assert [mark.measure for mark in marks] == ["mutual_information", "coverage", "dose_outside_brain"]


def test_every_limit_has_a_measure_and_a_reason_for_the_quarantine() -> None:
    names = {measure.name for measure in MEASURES}
    assert set(LIMITS) <= names and set(LIMITS) == set(QUARANTINE_REASONS)
    assert set(QUARANTINE_REASONS.values()) <= set(REASONS)
    assert names == set(QUIET.as_json()) - {"participant_id"}


def test_measures_survive_their_file() -> None:
    assert SubjectQuality.from_json(QUIET.as_json()) == QUIET
