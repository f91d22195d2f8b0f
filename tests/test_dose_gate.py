"""Which dose is the course's dose: what is accepted, what is written down, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_trees import edit, write_tiny_export

from ricenet.cohort.dose_sidecar import DoseSidecar, parse_dose_sidecar
from ricenet.importing.dicom.dose import DoseObject
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.plan import PlanObject, StructureSet
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose_gate import CourseDose, judge_course, judge_dose
from ricenet.importing.dose_objects import ChosenDose
from ricenet.importing.sources import DoseChoice, PatientSource
from ricenet.phantom.dicom.radiotherapy import write_rtplan
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

SHAPE = (4, 3, 2)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 3.0, 1.0]))
FRAME = "2.25.1"


def voxels(maximum: float, grid: Grid = GRID) -> Volume:
    """A ramp from 0 to the maximum."""
    count = int(np.prod(grid.shape))
    ramp = np.linspace(0, maximum, count, dtype=np.float32)
    return Volume(ramp.reshape(grid.shape), grid)


def dose(
    maximum: float = 62.0, plans: Sequence[str] = ("A",), grid: Grid = GRID, **stated: Any
) -> DoseObject:
    content: dict[str, Any] = {
        "values": voxels(maximum, grid),
        "units": "GY",
        "dose_type": "PHYSICAL",
        "summation_type": "PLAN",
        "frame_of_reference_uid": FRAME,
        "plan_uids": tuple(plans),
        "beam_numbers": (),
        "structure_set_uids": (),
    }
    return DoseObject(**content | stated)


def beam(number: int, maximum: float = 31.0, plan: str = "A", grid: Grid = GRID, **stated: Any) -> DoseObject:
    return dose(maximum, (plan,), grid, summation_type="BEAM", beam_numbers=(number,), **stated)


def plan(uid: str = "A", **stated: Any) -> PlanObject:
    content: dict[str, Any] = {
        "sop_instance_uid": uid,
        "date": None,
        "fractions": 30,
        "fraction_groups": 1,
        "prescription_gy": 60.0,
        "beams": frozenset({1, 2}),
        "structure_set_uids": ("S",),
        "frame_of_reference_uid": FRAME,
    }
    return PlanObject(**content | stated)


def judged(
    chosen: DoseObject | ChosenDose | Sequence[ChosenDose | DoseObject],
    *plans: PlanObject,
    structures: Sequence[StructureSet] = (),
) -> CourseDose:
    several = chosen if isinstance(chosen, Sequence) else [chosen]
    return judge_course(
        [one if isinstance(one, ChosenDose) else ChosenDose(one) for one in several],
        {one.sop_instance_uid: one for one in plans},
        {one.sop_instance_uid: one for one in structures},
    )


def decisions(course: CourseDose) -> str:
    """All that was written down; the words of a test are looked for in it."""
    written = course.sidecar["Decisions"]
    assert isinstance(written, list) and all(isinstance(line, str) for line in written)
    return "\n".join(written)


def as_read_back(course: CourseDose, folder: Path) -> DoseSidecar:
    path = folder / "sub-001_ses-postop_dose.json"
    path.write_text(json.dumps(dict(course.sidecar)), encoding="utf-8")
    sidecar = parse_dose_sidecar(path)
    assert isinstance(sidecar, DoseSidecar), sidecar
    return sidecar


def refused(message: str, *arguments: Any, **keywords: Any) -> None:
    with pytest.raises(SourceError, match=message):
        judged(*arguments, **keywords)


# one plan


def test_a_plans_dose_is_the_courses_and_its_voxels_stay_as_they_are(tmp_path: Path) -> None:
    chosen = dose(62.0)
    course = judged(chosen, plan())
    np.testing.assert_array_equal(course.dose.data, chosen.values.data)
    assert course.frame_of_reference_uid == FRAME and course.structure_set_uids == ("S",)
    assert {k: v for k, v in course.sidecar.items() if k != "Decisions"} == {
        "DoseUnits": "GY",
        "DoseSummationType": "PLAN",
        "DoseType": "PHYSICAL",
        "SourceSummationType": "PLAN",
        "NumberOfFractions": 30,
        "PrescriptionGy": 60.0,
    }
    assert "Prescription in Gy: 60, by the plan" in decisions(course)
    assert "103% of the prescription" in decisions(course)
    assert as_read_back(course, tmp_path).factor == 1.0


@pytest.mark.parametrize("maximum", [36.1, 60.0, 77.9])
def test_a_maximum_within_60_to_130_percent_of_the_prescription_is_accepted(maximum: float) -> None:
    assert judged(dose(maximum), plan()).sidecar["PrescriptionGy"] == 60.0


@pytest.mark.parametrize("maximum", [35.0, 79.0])
@pytest.mark.parametrize("dose_type", ["PHYSICAL", "EFFECTIVE"])
def test_a_maximum_that_does_not_fit_the_prescription_is_refused(maximum: float, dose_type: str) -> None:
    message = (
        rf"reaches {maximum:.2f} Gy, \d+% of the prescription of 60 Gy; 60% to 130% is expected.*same course"
    )
    refused(message, dose(maximum, dose_type=dose_type), plan())


def test_a_plans_dose_that_only_fits_as_one_fraction_is_refused_with_the_way_out() -> None:
    refused(r"2\.05 Gy, 3% .* Times 30 fractions it would fit.*dose_of=fraction", dose(2.05), plan())


@pytest.mark.parametrize("maximum", [20.0, 150.0])
def test_a_plan_without_prescription_is_accepted_within_what_courses_reach(
    maximum: float, tmp_path: Path
) -> None:
    course = judged(dose(maximum), plan(prescription_gy=None))
    assert "PrescriptionGy" not in course.sidecar
    assert (
        f"Prescription not stated: of the largest dose of all fractions, {maximum:.1f} Gy, only that it lies "
        "within 20 to 150 Gy was checked."
    ) in decisions(course)
    assert as_read_back(course, tmp_path).prescription_gy is None


@pytest.mark.parametrize(
    ("maximum", "stated", "message"),
    [
        (
            2.07,
            {},
            r"2\.07 Gy, and no prescription.* 20 to 150 Gy .* Times 30 fractions .*dose_of=fraction",
        ),
        (6200.0, {}, r"reaches 6200\.00 Gy, .*If its voxels are cGy, export it in Gy"),
        (62.0, {"dose_of": "fraction"}, r"reaches 1860\.00 Gy, .*Unscaled it would fit.*dose_of=course in"),
        (
            0.5,
            {},
            r"reaches 0\.50 Gy, .*state dose_of=fraction and fractions; .* state prescription_gy",
        ),
        (16000.0, {}, r"reaches 16000\.00 Gy, .*state prescription_gy, in the map"),
    ],
)
def test_without_a_prescription_a_dose_that_no_course_has_is_refused(
    maximum: float, stated: dict[str, Any], message: str
) -> None:
    refused(message, ChosenDose(dose(maximum), **stated), plan(prescription_gy=None))


def test_an_unusual_course_is_accepted_by_the_users_prescription() -> None:
    palliative = ChosenDose(dose(8.4), prescription_gy=8.0)
    assert judged(palliative, plan(prescription_gy=None)).sidecar["PrescriptionGy"] == 8.0


def test_the_whole_course_has_to_be_plausible_and_not_each_of_its_plans() -> None:
    chosen = [of_course(dose(50.0, "A")), of_course(dose(10.0, "B"))]
    unprescribed = replace(BOOST, prescription_gy=None)
    assert judged(chosen, plan(prescription_gy=50.0), unprescribed).dose.data.max() == pytest.approx(60.0)
    small = [of_course(dose(5.0, "A")), of_course(dose(10.0, "B"))]
    refused(r"reaches 15\.00 Gy, and no prescription", small, plan(prescription_gy=None), unprescribed)


def test_the_map_says_what_the_plan_lacks() -> None:
    stated = ChosenDose(dose(), fractions=30, prescription_gy=60.0)
    course = judged(stated, plan(fractions=None, prescription_gy=None))
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (30, 60.0)
    assert "Number of fractions: 30, as stated by the user" in decisions(course)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"fractions": 33}, r"the plan says fractions 30, 33 is stated.*Correct fractions in the map"),
        ({"prescription_gy": 54.0}, r"the plan says prescription_gy 60, 54 is stated.*not overridden"),
    ],
)
def test_the_map_may_not_contradict_the_plan(stated: dict[str, Any], message: str) -> None:
    refused(message, ChosenDose(dose(), **stated), plan())
    judged(
        ChosenDose(dose(), fractions=30, prescription_gy=60.004), plan()
    )  # repeating it is no contradiction


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"fractions": 0}, r"an RTPLAN of 0 fractions\. State fractions in the map"),
        ({"fractions": None, "fraction_groups": 2}, r"an RTPLAN of 2 fraction groups\. State the number"),
    ],
)
def test_a_plan_that_does_not_say_its_fractions_needs_the_users_word(
    fault: dict[str, Any], message: str
) -> None:
    refused(message, dose(), plan(**fault))
    assert judged(ChosenDose(dose(), fractions=30), plan(**fault)).sidecar["NumberOfFractions"] == 30


def test_a_dose_without_its_plan_needs_both_prescription_and_fractions() -> None:
    message = (
        r"RTPLAN is not in the export\. Add the RTPLAN to the export, or state prescription_gy and fractions"
    )
    for stated in ({}, {"fractions": 30}, {"prescription_gy": 60.0}):
        refused(message, ChosenDose(dose(), **stated))  # type: ignore[arg-type]
    course = judged(ChosenDose(dose(), fractions=30, prescription_gy=60.0))
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (30, 60.0)
    assert "Not every RTPLAN is in the export" in decisions(course)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"fractions": 0}, "fractions 0 is stated. State a positive whole number in the map"),
        ({"prescription_gy": 0.0}, "prescription_gy 0 is stated. State a positive number"),
        ({"prescription_gy": float("nan")}, "prescription_gy nan is stated. State a positive number"),
    ],
)
def test_statements_that_are_no_numbers_of_fractions_or_gy_are_refused(
    stated: dict[str, Any], message: str
) -> None:
    refused(message, ChosenDose(dose(), **stated), plan())


def test_a_plans_dose_that_refers_to_two_plans_is_refused() -> None:
    refused(
        r"summation type PLAN that refers to 2 plans, expected 1\. Export the dose of each plan",
        dose(plans=("A", "B")),
        plan("A"),
        plan("B"),
    )


# one fraction


def test_a_fractions_dose_is_scaled_later_and_told_so(tmp_path: Path) -> None:
    chosen = dose(2.05, summation_type="FRACTION")
    course = judged(chosen, plan())
    np.testing.assert_array_equal(course.dose.data, chosen.values.data)
    assert course.sidecar["SourceSummationType"] == course.sidecar["DoseSummationType"] == "FRACTION"
    assert as_read_back(course, tmp_path).factor == 30.0
    assert "taken as that of one fraction and scaled by 30" in decisions(course)


def test_a_fraction_groups_dose_by_dicoms_definition_needs_the_users_word(tmp_path: Path) -> None:
    chosen = dose(62.0, summation_type="FRACTION")
    refused(
        r"reaches 62.00 Gy, for 60 Gy in 30 fractions: it follows DICOM's definition.*dose_of=course",
        chosen,
        plan(),
    )
    course = judged(ChosenDose(chosen, dose_of="course"), plan())
    assert (
        course.sidecar["DoseSummationType"] == "PLAN" and course.sidecar["SourceSummationType"] == "FRACTION"
    )
    assert as_read_back(course, tmp_path).factor == 1.0
    assert "that of the whole course, as stated by the user" in decisions(course)


def test_what_may_be_one_of_two_fractions_or_both_is_refused() -> None:
    # 12.5 Gy and twice that both lie within 60 to 130 % of 20 Gy
    chosen = dose(12.5, summation_type="FRACTION")
    two = plan(fractions=2, prescription_gy=20.0)
    refused(
        "may hold the dose of one fraction or of all. State dose_of=fraction or dose_of=course", chosen, two
    )
    assert judged(ChosenDose(chosen, dose_of="fraction"), two).sidecar["DoseSummationType"] == "FRACTION"


def test_a_fractions_dose_that_fits_neither_way_is_refused() -> None:
    refused(r"reaches 300.00 Gy, 500%.*same course", dose(10.0, summation_type="FRACTION"), plan())


def test_a_fractions_dose_without_prescription_needs_the_users_word() -> None:
    chosen, unprescribed = dose(2.0, summation_type="FRACTION"), plan(prescription_gy=None)
    refused("FRACTION without a prescription.*State dose_of=fraction or dose_of=course", chosen, unprescribed)
    course = judged(ChosenDose(chosen, dose_of="fraction"), unprescribed)
    assert course.sidecar["DoseSummationType"] == "FRACTION" and course.sidecar["NumberOfFractions"] == 30


def test_a_fraction_of_an_unknown_number_is_refused() -> None:
    message = r"FRACTION that holds one fraction, of a number that the plan does not say\. State fractions"
    refused(message, dose(2.05, summation_type="FRACTION"), plan(fractions=None))


def test_the_users_word_overrides_plan_but_not_the_prescription() -> None:
    course = judged(ChosenDose(dose(2.05), dose_of="fraction"), plan())
    assert (
        course.sidecar["DoseSummationType"] == "FRACTION" and course.sidecar["SourceSummationType"] == "PLAN"
    )
    refused("Unscaled it would fit.*dose_of=course", ChosenDose(dose(62.0), dose_of="fraction"), plan())


# units, type, values, space


def test_a_relative_dose_is_a_share_of_the_prescription_where_the_user_says_so() -> None:
    for maximum, word in ((1.05, "as a fraction"), (105.0, "in percent")):
        course = judged(ChosenDose(dose(maximum, units="RELATIVE"), prescription_gy=60.0), plan())
        assert course.dose.data.max() == pytest.approx(63.0)
        assert word in decisions(course) and course.sidecar["DoseUnits"] == "GY"


def test_a_relative_dose_takes_the_maps_prescription_where_the_plan_has_none() -> None:
    stated = ChosenDose(dose(1.0, units="RELATIVE"), prescription_gy=50.0)
    assert judged(stated, plan(prescription_gy=None)).dose.data.max() == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (dose(10.0, units="RELATIVE"), r"maximum of 10, neither .*0\.6 to 1\.3.* nor percent \(60 to 130\)"),
        (
            dose(units="CGY"),
            r"RTDOSE 1 of 1 chosen: units other than GY and RELATIVE\. Export the dose in Gy",
        ),
        (dose(dose_type="ERROR"), r"dose type ERROR\. Choose the dose itself"),
        (dose(dose_type="HANS"), r"dose type neither PHYSICAL nor EFFECTIVE"),
        (dose(summation_type="CONTROL_POINT"), r"summation type CONTROL_POINT\. Choose doses of summation"),
        (dose(summation_type="HANS"), r"summation type missing or unknown"),
        (dose(frame_of_reference_uid=""), r"an RTDOSE without a frame of reference\. Export it again"),
        (dose(0.0), r"every voxel is 0\. Export the dose again"),
    ],
)
def test_a_dose_that_means_something_else_is_refused(chosen: DoseObject, message: str) -> None:
    stated = ChosenDose(chosen, prescription_gy=60.0)
    refused(message, stated, plan())


def test_a_relative_dose_is_refused_without_the_users_word_whatever_the_plan_prescribes() -> None:
    message = "do not say what the dose is relative to. Export the dose in Gy; or, .* state prescription_gy"
    for prescription_gy in (60.0, None):
        refused(message, dose(1.0, units="RELATIVE"), plan(prescription_gy=prescription_gy))


@pytest.mark.parametrize(
    ("value", "message"), [(-0.5, "1 voxel.s. of negative dose"), (np.nan, "1 voxel.s. that are NaN")]
)
def test_voxels_that_are_no_dose_are_refused(value: float, message: str) -> None:
    chosen = dose()
    chosen.values.data[1, 1, 1] = value
    refused(f"RTDOSE 2 of 2 chosen: {message}", [dose(), chosen], plan())


def test_an_effective_dose_is_recorded_as_such(tmp_path: Path) -> None:
    course = judged(dose(dose_type="EFFECTIVE"), plan())
    assert as_read_back(course, tmp_path).dose_type == "EFFECTIVE"


def test_physical_and_effective_doses_are_not_mixed() -> None:
    mixed = [beam(1), beam(2, dose_type="EFFECTIVE")]
    refused("PHYSICAL and EFFECTIVE dose mixed among 2 RTDOSE. Choose doses of one type", mixed, plan())


def test_dose_plan_and_structures_lie_in_one_space() -> None:
    message = "the dose and the {} that it refers to lie in different frames of reference"
    refused(message.format("RTPLAN"), dose(), plan(frame_of_reference_uid="2.25.2"))
    elsewhere = StructureSet("S", ("2.25.2", "2.25.3"), ())
    refused(message.format("RTSTRUCT"), dose(), plan(), structures=[elsewhere])
    # what states no frame contradicts none, and one of several is enough
    judged(dose(), plan(frame_of_reference_uid=""), structures=[StructureSet("S", (), ())])
    judged(dose(), plan(), structures=[StructureSet("S", ("2.25.2", FRAME), ())])


def test_doses_in_two_spaces_are_not_summed() -> None:
    chosen = [beam(1), beam(2, frame_of_reference_uid="2.25.2")]
    refused("2 RTDOSE in 2 frames of reference. Choose doses of one planning CT", chosen, plan())


def test_no_dose_at_all_is_refused() -> None:
    refused("no RTDOSE is chosen. Give an RTDOSE of the course the role dose", [])


# beams


def test_beams_are_summed_where_all_treatment_beams_are_there_once(tmp_path: Path) -> None:
    course = judged([beam(1, 30.0), beam(2, 32.0)], plan())
    np.testing.assert_allclose(course.dose.data, voxels(62.0).data, rtol=1e-6)
    assert course.sidecar["BeamsSummed"] == 2 and course.sidecar["SourceSummationType"] == "BEAM"
    assert as_read_back(course, tmp_path).factor == 1.0
    assert "all 2 treatment beams are summed" in decisions(course)


def test_beams_of_one_fraction_are_summed_and_scaled_where_the_user_says_so() -> None:
    chosen = [ChosenDose(beam(n, 1.0), dose_of="fraction") for n in (1, 2)]
    course = judged(chosen, plan())
    assert course.sidecar["DoseSummationType"] == "FRACTION"
    assert course.dose.data.max() == pytest.approx(2.0)


def test_one_object_may_hold_several_beams() -> None:
    both = dose(62.0, summation_type="BEAM", beam_numbers=(1, 2))
    assert judged(both, plan()).sidecar["BeamsSummed"] == 2


@pytest.mark.parametrize(
    ("beams", "message"),
    [
        ([1], r"1 RTDOSE of summation type BEAM for a plan of 2 treatment beam\(s\): beam 2 missing"),
        ([1, 2, 2], r"beam 2 there more than once\. Choose the dose of each treatment beam once"),
        ([1, 2, 9], r"beam 9 not among the plan's treatment beams"),
    ],
)
def test_missing_doubled_and_foreign_beams_are_named(beams: list[int], message: str) -> None:
    refused(message, [beam(n) for n in beams], plan())


def test_beams_on_different_grids_without_number_or_plan_are_refused() -> None:
    moved = Grid(SHAPE, GRID.affine + np.array([[0, 0, 0, 0.5], *[[0] * 4] * 3]))
    refused("2 RTDOSE of summation type BEAM on different grids", [beam(1), beam(2, grid=moved)], plan())
    refused(
        "1 of 2 RTDOSE .* without the beam's number", [beam(1), replace(beam(2), beam_numbers=())], plan()
    )
    stated = [ChosenDose(beam(n), fractions=30, prescription_gy=60.0) for n in (1, 2)]
    refused("2 RTDOSE of summation type BEAM whose RTPLAN is not in the export. Add the RTPLAN", stated)


def test_a_plans_dose_and_its_beams_together_count_twice() -> None:
    message = r"3 RTDOSE of one plan chosen together \(summation types: 2 BEAM, 1 PLAN\): .* count twice"
    refused(message, [dose(), beam(1), beam(2)], plan())
    refused(r"2 RTDOSE of one plan chosen together \(summation types: 2 PLAN\)", [dose(), dose()], plan())


def test_rows_of_one_plan_may_not_disagree() -> None:
    one, other = ChosenDose(beam(1), fractions=30), ChosenDose(beam(2), fractions=33)
    refused("2 RTDOSE of one plan with 2 different values of fractions", [one, other], plan())
    one, other = ChosenDose(beam(1), course="first"), ChosenDose(beam(2), course="second")
    refused("2 RTDOSE of one plan with 2 different values of course", [one, other], plan())


def test_beams_in_two_units_are_refused() -> None:
    refused(
        "2 RTDOSE of one plan, some in GY and some in RELATIVE", [beam(1), beam(2, units="RELATIVE")], plan()
    )


# several plans

BOOST = plan("B", fractions=5, prescription_gy=10.0)


def of_course(chosen: DoseObject, course: str | None = "first", **stated: Any) -> ChosenDose:
    return ChosenDose(chosen, course, **stated)


def test_plans_of_one_course_add_up(tmp_path: Path) -> None:
    chosen = [of_course(dose(52.0, "A")), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(fractions=25, prescription_gy=50.0), BOOST)
    np.testing.assert_allclose(course.dose.data, voxels(62.0).data, rtol=1e-6)
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (30, 60.0)
    assert course.sidecar["PlansSummed"] == 2 and as_read_back(course, tmp_path).of_several_plans
    assert "The doses of 2 plans of one course are summed voxel by voxel" in decisions(course)


def test_one_fraction_of_a_plan_is_scaled_before_it_is_added() -> None:
    chosen = [of_course(dose(2.0, "A", summation_type="FRACTION")), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(fractions=25, prescription_gy=50.0), BOOST)
    assert course.dose.data.max() == pytest.approx(60.0)
    assert course.sidecar["DoseSummationType"] == "PLAN"
    assert course.sidecar["SourceSummationType"] == "FRACTION+PLAN"


@pytest.mark.parametrize("courses", [(None, None), ("first", None), ("first", "second"), ("", "")])
def test_plans_that_are_not_said_to_be_of_one_course_are_not_summed(courses: tuple[str | None, ...]) -> None:
    chosen = [of_course(dose(plans="A"), courses[0]), of_course(dose(10.0, "B"), courses[1])]
    refused(
        "2 RTDOSE of 2 plans, not all of the same course. Give all .* the same course in the map",
        chosen,
        plan(),
        BOOST,
    )


def test_what_one_plan_does_not_say_is_not_said_of_the_sum() -> None:
    chosen = [of_course(dose(plans="A")), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(), replace(BOOST, prescription_gy=None, fractions=None))
    assert not {"NumberOfFractions", "PrescriptionGy"} & course.sidecar.keys()


def test_a_sum_that_does_not_fit_its_prescription_is_refused() -> None:
    # two targets far apart: each plan fits its own prescription, the sum nowhere reaches both
    one, other = dose(50.0, "A"), dose(50.0, "B")
    other.values.data[:] = other.values.data[::-1, ::-1, ::-1]
    refused(r"reaches 50\.00 Gy, 50% of the prescription of 100 Gy", [of_course(one), of_course(other)],
            plan("A", prescription_gy=50.0), plan("B", prescription_gy=50.0))  # fmt: skip


def linear_dose(grid: Grid) -> Volume:
    """20 Gy rising by 0.1 Gy a mm along x: what linear interpolation reproduces exactly."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    values = 20 + 0.1 * grid.world_mm(index)[:, 0]
    return Volume(values.reshape(grid.shape).astype(np.float32), grid)


def test_doses_on_two_grids_are_summed_on_the_finest_that_contains_them() -> None:
    fine = Grid.cube(np.zeros(3), 1.0, 20)
    coarse_within = Grid.cube(np.full(3, 0.3), 4.0, 4)
    inner = linear_dose(coarse_within)
    chosen = [of_course(dose(plans="A", values=inner)), of_course(dose(plans="B", values=linear_dose(fine)))]
    course = judged(chosen, plan("A", prescription_gy=20.0), plan("B", prescription_gy=20.0))
    assert course.dose.grid.shape == fine.shape
    middle = np.full(3, 9)
    expected = 2 * float(linear_dose(fine).data[tuple(middle)])
    assert course.dose.data[tuple(middle)] == pytest.approx(expected, rel=1e-5)
    assert "resampled linearly onto the finest" in decisions(course)


def test_a_finer_grid_that_would_cut_a_dose_off_gives_way_to_a_coarser_one() -> None:
    small, large = Grid.cube(np.zeros(3), 1.0, 6), Grid.cube(np.zeros(3), 3.0, 8)
    chosen = [
        of_course(dose(plans="A", values=linear_dose(small))),
        of_course(dose(plans="B", values=linear_dose(large))),
    ]
    course = judged(chosen, plan("A", prescription_gy=20.0), plan("B", prescription_gy=20.0))
    assert course.dose.grid.shape == large.shape


def test_doses_that_reach_beyond_each_others_grids_are_refused() -> None:
    grids = [Grid.cube(np.array([x, 0.0, 0.0]), 2.0, 6) for x in (0.0, 40.0)]
    chosen = [of_course(dose(plans=u, values=voxels(20, g))) for u, g in zip("AB", grids, strict=True)]
    message = r"the doses of 2 plans reach beyond each other's grids\. Export them on one grid .* above 1%"
    refused(message, chosen, plan("A", prescription_gy=20.0), plan("B", prescription_gy=20.0))


def test_a_dose_of_several_plans_carries_the_sum_of_their_prescriptions(tmp_path: Path) -> None:
    course = judged(dose(71.0, "AB", summation_type="MULTI_PLAN"), plan(), BOOST)
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (35, 70.0)
    assert course.sidecar["PlansSummed"] == 2 and course.sidecar["DoseSummationType"] == "PLAN"
    assert as_read_back(course, tmp_path).of_several_plans


def test_a_dose_of_several_plans_with_one_missing_needs_a_prescription(tmp_path: Path) -> None:
    chosen = dose(71.0, "AB", summation_type="MULTI_PLAN")
    refused(
        "an RTDOSE of several plans, of which not all are in the export.*or state prescription_gy in",
        chosen,
        plan(),
    )
    course = judged(ChosenDose(chosen, prescription_gy=70.0), plan())
    assert course.sidecar["PrescriptionGy"] == 70.0 and "NumberOfFractions" not in course.sidecar
    unreferenced = judged(ChosenDose(replace(chosen, plan_uids=()), prescription_gy=70.0))
    assert as_read_back(unreferenced, tmp_path).of_several_plans


def test_a_sum_and_one_of_its_parts_count_twice() -> None:
    chosen = [of_course(dose(71.0, "AB", summation_type="MULTI_PLAN")), of_course(dose(10.0, "B"))]
    refused(
        "2 RTDOSE, of which one of several plans holds the dose of another.*count twice",
        chosen,
        plan(),
        BOOST,
    )


def test_a_dose_of_several_plans_cannot_be_one_fractions() -> None:
    chosen = ChosenDose(dose(2.0, "AB", summation_type="MULTI_PLAN"), dose_of="fraction")
    refused("dose_of=fraction is stated of an RTDOSE of summation type MULTI_PLAN", chosen, plan(), BOOST)


# approval and intent


def test_a_rejected_plans_dose_is_refused() -> None:
    message = "RTPLAN is rejected .ApprovalStatus REJECTED.*Choose the dose of the plan that was delivered"
    refused(message, dose(), plan(approval="REJECTED"))


@pytest.mark.parametrize("intent", ["VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE"])
def test_the_dose_of_a_plan_that_is_not_for_treatment_is_refused(intent: str) -> None:
    refused(rf"RTPLAN is not for treatment \(PlanIntent {intent}\)", dose(), plan(intent=intent))


def test_an_unapproved_plan_is_used_and_told() -> None:
    told = "1 of 1 RTPLAN(s) are not approved (UNAPPROVED), used as they are."
    assert told in decisions(judged(dose(), plan(approval="UNAPPROVED", intent="CURATIVE")))
    assert "UNAPPROVED" not in decisions(judged(dose(), plan(approval="APPROVED", intent="PALLIATIVE")))


# from files


def test_an_exports_objects_are_read_and_judged_together(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, dose_max_gy=2.05, summation_type="FRACTION", shared_frame=False)
    of_kind = {one.kind: one.first for one in read_tree(tmp_path).series}
    mri = Series((of_kind["MR"],))
    source = PatientSource(
        mri, mri, (DoseChoice(of_kind["RTDOSE"]),), (of_kind["RTPLAN"],), (of_kind["RTSTRUCT"],), ()
    )
    course = judge_dose(source)
    assert course.sidecar["DoseSummationType"] == "FRACTION" and course.sidecar["NumberOfFractions"] == 30
    assert course.frame_of_reference_uid == export.rt_frame_uid
    assert course.structure_set_uids == (export.patient.uid("struct"),)
    np.testing.assert_allclose(course.dose.data, export.dose.data, atol=1e-4)
    without_plan = replace(source, plans=())
    with pytest.raises(SourceError, match="RTPLAN is not in the export"):
        judge_dose(without_plan)


def with_second_plan(tmp_path: Path) -> tuple[PatientSource, Path]:
    """An export of 46 Gy with a boost's RTPLAN of 14 Gy in 7 fractions, whose dose is not there."""
    export = write_tiny_export(tmp_path, prescription_gy=46.0, fractions=23, dose_max_gy=48.0)
    boost = write_rtplan(
        export.dose_file.parent / "p2.bin", export.patient.study("rt", date(2020, 3, 20)),
        sop_instance_uid="2.25.777", frame_of_reference_uid=export.rt_frame_uid, fractions=7,
        prescription_gy=14.0,
    )  # fmt: skip
    return source_of(tmp_path), boost


def source_of(folder: Path) -> PatientSource:
    series = read_tree(folder).series
    of_kind = {
        kind: tuple(i for s in series if s.kind == kind for i in s.instances)
        for kind in ("MR", "RTDOSE", "RTPLAN", "RTSTRUCT")
    }
    mri = Series(of_kind["MR"])
    doses = tuple(DoseChoice(one) for one in of_kind["RTDOSE"])
    return PatientSource(mri, mri, doses, of_kind["RTPLAN"], of_kind["RTSTRUCT"], ())


FURTHER = "1 further RTPLAN(s) of the patient without a dose in the course"


def test_a_plan_without_a_dose_in_the_course_is_told(tmp_path: Path) -> None:
    source, _ = with_second_plan(tmp_path)
    assert FURTHER in decisions(judge_dose(source))
    alone = replace(source, plans=tuple(p for p in source.plans if p.sop_instance_uid != "2.25.777"))
    assert "further RTPLAN" not in decisions(judge_dose(alone))


@pytest.mark.parametrize("stated", [{"ApprovalStatus": "REJECTED"}, {"PlanIntent": "VERIFICATION"}])
def test_plans_that_were_not_delivered_lack_no_dose(tmp_path: Path, stated: dict[str, str]) -> None:
    _, boost = with_second_plan(tmp_path)
    edit(boost, **stated)
    assert "further RTPLAN" not in decisions(judge_dose(source_of(tmp_path)))


def test_a_further_plan_that_cannot_be_read_may_have_been_delivered(tmp_path: Path) -> None:
    source, boost = with_second_plan(tmp_path)
    boost.write_bytes(b"no DICOM")
    assert FURTHER in decisions(judge_dose(source))


# what reaches the cohort


def test_nothing_that_identifies_a_patient_reaches_the_sidecar() -> None:
    uid = "1.2.840.113619.2.55.3.604688119"
    chosen = [
        of_course(dose(52.0, (f"{uid}.1",), structure_set_uids=(f"{uid}.7",)), course="Hans Mueller 1957"),
        of_course(dose(10.0, (f"{uid}.2",)), course="Hans Mueller 1957"),
    ]
    course = judged(
        chosen,
        plan(f"{uid}.1", fractions=25, prescription_gy=50.0),
        replace(BOOST, sop_instance_uid=f"{uid}.2"),
    )
    text = json.dumps(dict(course.sidecar))
    assert not re.search(r"Mueller|1957|2\.25\.|\d\.\d+\.\d+\.\d+", text)
