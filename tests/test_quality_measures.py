"""Quality control's measures, and which values mark a subject."""

from __future__ import annotations

import numpy as np
import pytest
from preprocessed_subjects import DOSE, MEASUREMENTS, REGISTRATION
from small_quality import PARAMS, VALUES

from ricenet.cohort.quarantine import REASONS
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.screening.quality.examination import dose_volume_curve, grey_window, histogram, mask_on
from ricenet.screening.quality.measures import (
    MEASURES,
    Limit,
    SubjectQuality,
    limits_of,
    marks_of,
    measures_of,
)
from ricenet.vocabulary import PAPER_VOLUMES, Volumes
from ricenet.volume import Grid, Volume

LIMITS = limits_of(PARAMS)


def quality(**changes: float | None) -> SubjectQuality:
    return SubjectQuality(participant_id="sub-001", measures=VALUES | changes)


def test_measures_are_what_preprocessing_measured_and_every_name_is_known() -> None:
    assert VALUES["brain_overlap"] == 0.98 and VALUES["dose_of_prescription"] == 63 / 60
    assert (VALUES["mutual_information_before"], VALUES["mutual_information"]) == (1.1, 1.3)
    assert VALUES["dose_max_gy"] == 63.0 and VALUES["v40_ml"] == 200.0 and VALUES["brain_ml"] == 1400.0
    assert {measure.name for measure in MEASURES} == {*VALUES, "days_rt_end_to_event"}


def test_coverage_is_that_of_the_scan_that_shows_least() -> None:
    slab = MEASUREMENTS.mris["event"].model_copy(
        update={"registration": REGISTRATION.model_copy(update={"coverage": 0.96, "similarity": 1.06})}
    )
    more = MEASUREMENTS.model_copy(update={"mris": MEASUREMENTS.mris | {"flair": slab}})
    found = measures_of(more, PAPER_VOLUMES, 0.98)
    assert found["coverage"] == 0.96 and found["mutual_information"] == 1.3


def test_of_one_scan_alone_nothing_is_compared_and_nothing_marked() -> None:
    alone = {"mris": {"post_op": MEASUREMENTS.mris["post_op"]}, "dose": None}
    found = measures_of(MEASUREMENTS.model_copy(update=alone), Volumes([PAPER_VOLUMES["post_op"]]), None)
    assert found == {"brain_ml": 1400.0}
    assert marks_of(SubjectQuality(participant_id="sub-001", measures=found), LIMITS) == ()


def test_a_subject_within_all_limits_is_not_marked() -> None:
    assert marks_of(quality(), LIMITS) == ()
    assert marks_of(quality(dose_of_prescription=None, days_rt_end_to_event=None), LIMITS) == ()


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
    (mark,) = marks_of(quality(**{name: value}), LIMITS)
    assert (mark.measure, mark.value, mark.reason) == (name, value, reason)


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_a_value_on_its_limit_is_within(name: str, limit: Limit) -> None:
    for bound in (limit.low, limit.high):
        if bound is not None:
            assert marks_of(quality(**{name: bound}), LIMITS) == ()


@pytest.mark.parametrize(
    ("dose_max_gy", "marked"), [(2.07, True), (30.0, False), (80.0, False), (6200.0, True)]
)
def test_the_largest_dose_is_judged_in_gy_only_where_no_prescription_is_known(
    dose_max_gy: float, marked: bool
) -> None:
    assert marks_of(quality(dose_max_gy=dose_max_gy), LIMITS) == ()
    found = marks_of(quality(dose_max_gy=dose_max_gy, dose_of_prescription=None), LIMITS)
    expected = [f"Largest dose {dose_max_gy:.1f} Gy, expected 30 to 80 Gy"] if marked else []
    assert [mark.reason for mark in found] == expected
    assert DOSE.model_copy(update={"prescription_gy": None}).of_prescription is None


def test_marks_come_in_the_order_of_the_measures() -> None:
    marks = marks_of(quality(dose_outside_brain=0.9, coverage=0.5, mutual_information=1.0), LIMITS)
    assert [mark.measure for mark in marks] == ["mutual_information", "coverage", "dose_outside_brain"]


def test_every_limit_is_a_parameter_and_has_a_reason_for_the_quarantine() -> None:
    limited = [measure for measure in MEASURES if measure.limit is not None]
    assert {measure.limit for measure in limited} == set(type(PARAMS).model_fields)
    assert {measure.quarantine_reason for measure in limited} <= set(REASONS)


# curves and masks, small enough to count by hand


def test_the_dose_volume_curve_falls_from_the_brain_to_nothing() -> None:
    curve = dose_volume_curve(StructureDose(np.array([2.5, 1.0, 0.0]), np.array([2.0, 2.0, 2.0])))
    assert curve == [[0.0, 6.0], [1.0, 4.0], [2.0, 2.0], [3.0, 0.0], [4.0, 0.0]]


def test_the_histogram_is_in_sds_of_the_brain_and_its_ends_hold_all_beyond() -> None:
    rows = histogram(np.array([5.0] * 99 + [1000.0]))
    assert sum(share for _, share in rows) == pytest.approx(1.0) and len(rows) == 80
    assert rows[-1] == [pytest.approx(5.94, abs=0.01), 0.01]


def test_the_grey_window_spans_the_slices_and_the_brains_brightest() -> None:
    drawn = np.full((10, 110), np.nan, np.float32)
    drawn[:, :101] = np.arange(101)
    in_brain = np.zeros(drawn.shape, bool)
    in_brain[:, :51] = True
    # percentiles 0.5 and 99.7 of 1010 and of 510 values
    assert grey_window(drawn, in_brain) == (0.0, 50.0)
    assert grey_window(np.where(in_brain, drawn, 7.0), in_brain & False | (drawn == 9)) == (0.0, 9.0)


def test_a_mask_moves_with_its_transform() -> None:
    mask = Volume(np.array([0, 1, 1, 0, 0], dtype=bool).reshape(5, 1, 1), Grid((5, 1, 1), np.eye(4)))
    mask_from_grid = np.eye(4)
    mask_from_grid[0, 3] = -2.0
    np.testing.assert_array_equal(mask_on(mask, mask.grid).ravel(), [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(mask_on(mask, mask.grid, mask_from_grid).ravel(), [0, 0, 0, 1, 1])
