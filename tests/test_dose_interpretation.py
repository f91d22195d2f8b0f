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
from ricenet.importing.dicom.dose import DoseHeader, DoseObject
from ricenet.importing.dicom.instances import Instance
from ricenet.importing.dicom.plan import PlanObject, StructureSet
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose.course_dose import ChosenDose, CourseDose, ReadDose
from ricenet.importing.dose.interpret import judge_course, read_course
from ricenet.importing.dose.statement import DoseStatement
from ricenet.importing.dose.treatment import Parsed, Treatment, instances_of
from ricenet.phantom.dicom.objects import Header
from ricenet.phantom.dicom.radiotherapy_writers import write_rtplan
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

SHAPE = (4, 3, 2)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 3.0, 1.0]))
MOVED = Grid(SHAPE, GRID.affine + np.array([[0, 0, 0, 0.5], *[[0] * 4] * 3]))
FRAME = "2.25.1"


def voxels(maximum: float, grid: Grid = GRID) -> Volume:
    """A ramp from 0 to the maximum."""
    ramp = np.linspace(0, maximum, int(np.prod(grid.shape)), dtype=np.float32)
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


def fraction(maximum: float) -> DoseObject:
    return dose(maximum, summation_type="FRACTION")


def both_plans(maximum: float = 71.0) -> DoseObject:
    return dose(maximum, "AB", summation_type="MULTI_PLAN")


def beam(number: int, maximum: float = 31.0, grid: Grid = GRID, **stated: Any) -> DoseObject:
    content: dict[str, Any] = {"summation_type": "BEAM", "beam_numbers": (number,)}
    return dose(maximum, "A", grid, **content | stated)


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


BOOST = plan("B", fractions=5, prescription_gy=10.0)
UNPRESCRIBED = plan(prescription_gy=None)


def said(chosen: DoseObject, course: str | None = None, **stated: Any) -> ReadDose:
    """A dose with what the user states of it."""
    return ReadDose(chosen, DoseStatement(course, **stated))


def of_course(chosen: DoseObject) -> ReadDose:
    return said(chosen, "first")


def judged(
    chosen: DoseObject | ReadDose | Sequence[ReadDose | DoseObject],
    *plans: PlanObject,
    structures: Sequence[StructureSet] = (),
) -> CourseDose:
    several = chosen if isinstance(chosen, Sequence) else [chosen]
    return judge_course(
        [one if isinstance(one, ReadDose) else ReadDose(one) for one in several],
        {one.sop_instance_uid: one for one in plans},
        {one.sop_instance_uid: one for one in structures},
    )


def decisions(course: CourseDose) -> str:
    return "\n".join(course.decisions)


def as_read_back(course: CourseDose, folder: Path) -> DoseSidecar:
    path = folder / "sub-001_ses-postop_dose.json"
    path.write_text(json.dumps(course.sidecar), encoding="utf-8")
    sidecar = parse_dose_sidecar(path)
    assert isinstance(sidecar, DoseSidecar), sidecar
    return sidecar


def with_voxel(value: float) -> DoseObject:
    chosen = dose()
    chosen.values.data[1, 1, 1] = value
    return chosen


def two_targets() -> list[ReadDose]:
    """Each plan fits its own prescription, the sum nowhere reaches both: the maxima lie far apart."""
    one, other = dose(50.0, "A"), dose(50.0, "B")
    other.values.data[:] = other.values.data[::-1, ::-1, ::-1]
    return [of_course(one), of_course(other)]


def apart() -> list[ReadDose]:
    grids = [Grid.cube(np.array([x, 0.0, 0.0]), 2.0, 6) for x in (0.0, 40.0)]
    return [of_course(dose(20, uid, grid)) for uid, grid in zip("AB", grids, strict=True)]


ONE, OTHER = plan("A", prescription_gy=50.0), plan("B", prescription_gy=50.0)
LESS = plan("A", prescription_gy=20.0), plan("B", prescription_gy=20.0)
FRACTION_GROUPS = {"fractions": None, "fraction_groups": 2}
SHORT = plan(fractions=2, prescription_gy=20.0)

Refusal = tuple[str, Any, tuple[PlanObject, ...]]


def case(message: str, chosen: Any, *plans: PlanObject) -> Refusal:
    """What is refused of doses of this plan, or else of the usual one."""
    return message, chosen, plans or (plan(),)


def without_plan(message: str, chosen: Any) -> Refusal:
    return message, chosen, ()


REFUSED: dict[str, Refusal] = {
    # the largest dose
    "too low": case(r"35\.0 Gy \(35\.00 Gy in the file times 1\), 58% of.*same course", dose(35.0)),
    "too high": case(r"79\.00 Gy .*, 132% of .*60% to 130% is expected", dose(79.0)),
    "too high, effective": case("132% of the prescription", dose(79.0, dose_type="EFFECTIVE")),
    "a fraction called PLAN": case(r"2\.05 Gy .*, 3% .* Times 30 fractions .*dose_of=fr", dose(2.05)),
    "a fraction called PLAN, unprescribed": case(
        r"2\.07 Gy .*; without a prescription 20 to 150 Gy .* Times 30 fractions .*dose_of=fraction",
        dose(2.07), UNPRESCRIBED,
    ),
    "cGy": case(r"reaches 6200\.0 Gy .*If its voxels are cGy, export it in Gy", dose(6200.0), UNPRESCRIBED),
    "a course said to be a fraction's": case(
        r"reaches 1860\.0 Gy \(62\.00 Gy in the file times 30\).*Unscaled it would fit.*dose_of=course",
        said(dose(62.0), dose_of="fraction"),
    ),
    "a course said to be a fraction's, unprescribed": case(
        r"reaches 1860\.0 Gy.*Unscaled .*dose_of=course", said(dose(62.0), dose_of="fraction"), UNPRESCRIBED
    ),
    "of no course": case(r"reaches 0\.5 Gy.*and whole.*state its prescription", dose(0.5), UNPRESCRIBED),
    "of no course, without fractions": case(
        "dose_of=fr.*the number of fractions", dose(0.5), plan(prescription_gy=None, fractions=None)
    ),
    "a sum of no course": case(
        r"reaches 15\.0 Gy .*; without a prescription",
        [of_course(dose(5.0, "A")), of_course(dose(10.0, "B"))],
        UNPRESCRIBED, replace(BOOST, prescription_gy=None),
    ),
    "a sum below its prescription": case(r"50\.00 Gy .*, 50% of .* 100 Gy", two_targets(), ONE, OTHER),
    "a fraction that fits neither way": case(r"300\.0 Gy.*500%.*same course", fraction(10.0)),
    # plans and statements
    "a prescription in cGy": case(
        r"1% of the prescription of 6000 Gy.*may be in cGy, for 60 Gy\. .*state that .*\(map: presc",
        dose(), plan(prescription_gy=6000.0),
    ),
    "one fraction's prescription": case(
        "may be that of one of 30 fractions.*map: prescription_gy", dose(), plan(prescription_gy=2.0)
    ),
    "one beam's share": case(
        "207% of .* 30 Gy.*may be one beam's .*map: prescription_gy", dose(), plan(prescription_gy=30.0)
    ),
    "dose and prescription of one fraction": case(
        "reaches 2.05 Gy in 30 fractions.*2 Gy: both may be of one fraction. State prescription_gy of the",
        dose(2.05), plan(prescription_gy=2.0),
    ),
    "a statement that the dose contradicts": case(
        "31% of the prescription of 200 Gy", said(dose(), prescription_gy=200.0)
    ),
    "no fractions stated": case("fractions 0 is stated.*positive whole", said(dose(), fractions=0)),
    "0 Gy stated": case("prescription_gy 0 is stated.*positive", said(dose(), prescription_gy=0.0)),
    "nan Gy stated": case("prescription_gy nan is stated", said(dose(), prescription_gy=np.nan)),
    "a plan of 0 fractions": case("of 0 fractions. State fractions in the map", dose(), plan(fractions=0)),
    "fraction groups": case("of 2 fraction groups. State the number", dose(), plan(**FRACTION_GROUPS)),
    "no plan": without_plan("RTPLAN is not in the export.*or state prescription_gy and fractions", dose()),
    "no plan, fractions alone": without_plan("is not in the export", said(dose(), fractions=30)),
    "no plan, prescription alone": without_plan("is not in the export", said(dose(), prescription_gy=60.0)),
    "PLAN of two plans": case("that refers to 2 plans, expected 1.*each", dose(plans="AB"), plan(), BOOST),
    "a rejected plan": case("RTPLAN is rejected .*Choose the dose", dose(), plan(approval="REJECTED")),
    **{
        intent: case(rf"is not for treatment \(PlanIntent {intent}\)", dose(), plan(intent=intent))
        for intent in ("VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE")
    },
    # one fraction
    "a fraction group by DICOM's definition": case(
        r"62\.00 Gy, for 60 Gy in 30 fractions: it follows DICOM's definition.*dose_of=course", fraction(62.0)
    ),
    # 12.5 Gy and twice that both lie within 60 to 130 % of 20 Gy
    "one of two fractions or both": case(
        "one fraction or of all. State dose_of=fraction or dose_of=course", fraction(12.5), SHORT
    ),
    "FRACTION, unprescribed": case("without a prescription.*dose_of=fr", fraction(2.0), UNPRESCRIBED),
    "FRACTION of an unknown number": case(
        "one fraction, of a number that the plan does not say", fraction(2.05), plan(fractions=None)
    ),
    # units, type, values, space
    "relative": case("do not say what the dose is relative to.*state prescr", dose(1.0, units="RELATIVE")),
    "relative, unprescribed": case("dose is relative to", dose(1.0, units="RELATIVE"), UNPRESCRIBED),
    "relative to what": case(
        "maximum of 10, which neither as a fraction nor in percent",
        said(dose(10.0, units="RELATIVE"), prescription_gy=60.0),
    ),
    "units": case("RTDOSE 1 of 1 chosen: units other than GY and RELATIVE.*in Gy", dose(units="CGY")),
    "an error": case("dose type ERROR. Choose the dose itself", dose(dose_type="ERROR")),
    "a name as dose type": case("type neither PHYSICAL nor EFFECTIVE", dose(dose_type="HANS")),
    "a control point": case("CONTROL_POINT. Choose doses", dose(summation_type="CONTROL_POINT")),
    "a name as summation type": case("type missing or unknown", dose(summation_type="HANS")),
    "no frame": case("without a frame of reference. Export it again", dose(frame_of_reference_uid="")),
    "nothing but 0": case("every voxel is 0. Export the dose again", dose(0.0)),
    "negative": case("RTDOSE 2 of 2 chosen: 1 voxel.s. of negative dose", [dose(), with_voxel(-0.5)]),
    "NaN": case("RTDOSE 2 of 2 chosen: 1 voxel.s. that are NaN", [dose(), with_voxel(np.nan)]),
    "two types": case("EFFECTIVE dose mixed among 2 RTDOSE", [beam(1), beam(2, dose_type="EFFECTIVE")]),
    "a plan elsewhere": case("RTPLAN .* different frames", dose(), plan(frame_of_reference_uid="2.25.2")),
    "two spaces": case(
        "2 RTDOSE in 2 frames of reference. Choose", [beam(1), beam(2, frame_of_reference_uid="2.25.2")]
    ),
    "none": without_plan("no RTDOSE is chosen. Give an RTDOSE", []),
    # beams
    "a beam missing": case(r"1 RTDOSE .* BEAM for a plan of 2 .*: beam 2 missing", [beam(1)]),
    "a beam twice": case("beam 2 there more than once. Choose", [beam(n) for n in (1, 2, 2)]),
    "a beam of another plan": case("beam 9 not among the plan's", [beam(n) for n in (1, 2, 9)]),
    "beams on two grids": case("2 RTDOSE .* on different grids", [beam(1), beam(2, grid=MOVED)]),
    "a beam without number": case("1 of 2 .* without the beam's", [beam(1), beam(2, beam_numbers=())]),
    "beams without their plan": without_plan(
        "BEAM whose RTPLAN is not in the export. Add the RTPLAN",
        [said(beam(n), fractions=30, prescription_gy=60.0) for n in (1, 2)],
    ),
    "a plan and its beams": case(
        r"3 RTDOSE of one plan .*\(summation types: 2 BEAM, 1 PLAN\): .* twice", [dose(), beam(1), beam(2)]
    ),
    "a plan twice": case(r"summation types: 2 PLAN\)", [dose(), dose()]),
    "beams of 30 and 33 fractions": case(
        "2 RTDOSE of one plan with 2 different values of fractions",
        [said(beam(1), fractions=30), said(beam(2), fractions=33)],
    ),
    "beams of two courses": case("values of course", [said(beam(1), "first"), said(beam(2), "second")]),
    "beams in two units": case("in GY and some in RELATIVE", [beam(1), beam(2, units="RELATIVE")]),
    # several plans
    **{
        f"courses {courses}": case(
            "2 RTDOSE of 2 plans, not all of the same course. Give all .* the same course in the map",
            [said(dose(plans="A"), courses[0]), said(dose(10.0, "B"), courses[1])], plan(), BOOST,
        )
        for courses in ((None, None), ("first", None), ("first", "second"), ("", ""))
    },
    "plans apart": case("reach beyond each other's grids. Export them on one .* above 1%", apart(), *LESS),
    "one of several plans missing": case("not all are in the export.*state prescription_gy", both_plans()),
    "a sum and its part": case(
        "2 RTDOSE, of which one of several plans holds the dose of another.*count twice",
        [of_course(both_plans()), of_course(dose(10.0, "B"))], plan(), BOOST,
    ),
    "one fraction of several plans": case(
        "dose_of=fraction is stated of", said(both_plans(2.0), dose_of="fraction"), plan(), BOOST
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_or_contradictory_is_refused_with_the_way_out(name: str) -> None:
    message, chosen, plans = REFUSED[name]
    with pytest.raises(SourceError, match=message):
        judged(chosen, *plans)


# one plan


def test_a_plans_dose_is_the_courses_and_its_voxels_stay_as_they_are(tmp_path: Path) -> None:
    chosen = dose(62.0)
    course = judged(chosen, plan(), structures=[StructureSet("S", (), ("ct series",))])
    np.testing.assert_array_equal(course.dose.data, chosen.values.data)
    assert course.frame_of_reference_uid == FRAME and course.drawn_on == {"ct series"}
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


@pytest.mark.parametrize("maximum", [20.0, 150.0])
def test_a_plan_without_prescription_is_accepted_within_what_courses_reach(
    maximum: float, tmp_path: Path
) -> None:
    course = judged(dose(maximum), UNPRESCRIBED)
    assert "PrescriptionGy" not in course.sidecar
    assert f"not stated: of the largest dose of all fractions, {maximum:.1f} Gy, only" in decisions(course)
    assert as_read_back(course, tmp_path).prescription_gy is None


def test_an_unusual_course_is_accepted_by_the_users_prescription() -> None:
    assert judged(said(dose(8.4), prescription_gy=8.0), UNPRESCRIBED).sidecar["PrescriptionGy"] == 8.0


@pytest.mark.parametrize(
    "plans",
    [(plan(fractions=None, prescription_gy=None),), (plan(fractions=0),), (plan(**FRACTION_GROUPS),), ()],
    ids=["silent", "0 fractions", "two groups", "missing"],
)
def test_the_user_says_what_the_plan_lacks(plans: tuple[PlanObject, ...]) -> None:
    course = judged(said(dose(), fractions=30, prescription_gy=60.004), *plans)
    assert course.sidecar["NumberOfFractions"] == 30
    assert course.sidecar["PrescriptionGy"] == pytest.approx(60.0, abs=0.01)
    assert "as stated by the user" in decisions(course)


def test_repeating_the_plan_is_no_contradiction() -> None:
    course = judged(said(dose(), fractions=30, prescription_gy=60.004), plan())
    assert course.sidecar["PrescriptionGy"] == 60.0


@pytest.mark.parametrize("planned_gy", [6000.0, 30.0, 2.0, 54.0])
def test_the_user_corrects_a_plans_prescription_and_both_values_are_written_down(planned_gy: float) -> None:
    course = judged(said(dose(), prescription_gy=60.0), plan(prescription_gy=planned_gy))
    assert course.sidecar["PrescriptionGy"] == 60.0
    corrected = f"Prescription in Gy: 60, as stated by the user, which corrects the plan's {planned_gy:g}."
    assert corrected in decisions(course)


def test_the_user_corrects_a_plans_fractions_and_a_dose_of_one_fraction_is_scaled_by_them() -> None:
    course = judged(said(fraction(2.0), fractions=30), plan(fractions=33))
    assert course.sidecar["NumberOfFractions"] == 30
    assert "Number of fractions: 30, as stated by the user, which corrects the plan's 33." in decisions(
        course
    )


def test_a_prescription_of_one_fraction_is_corrected_with_the_dose() -> None:
    stated = said(dose(2.05), prescription_gy=60.0, dose_of="fraction")
    assert judged(stated, plan(prescription_gy=2.0)).sidecar["DoseSummationType"] == "FRACTION"


def test_an_unapproved_plan_is_used_and_reported() -> None:
    unapproved = "1 of 1 RTPLAN(s) are not approved (UNAPPROVED), used as they are."
    assert unapproved in decisions(judged(dose(), plan(approval="UNAPPROVED", intent="CURATIVE")))
    assert "UNAPPROVED" not in decisions(judged(dose(), plan(approval="APPROVED", intent="PALLIATIVE")))


# one fraction


def test_a_fractions_dose_is_scaled_later_and_says_so(tmp_path: Path) -> None:
    chosen = fraction(2.05)
    course = judged(chosen, plan())
    np.testing.assert_array_equal(course.dose.data, chosen.values.data)
    assert course.sidecar["SourceSummationType"] == course.sidecar["DoseSummationType"] == "FRACTION"
    assert as_read_back(course, tmp_path).factor == 30.0
    assert "taken as that of one fraction and scaled by 30" in decisions(course)


@pytest.mark.parametrize(
    ("chosen", "of", "prescription_gy", "becomes", "factor"),
    [
        (fraction(62.0), "course", 60.0, "PLAN", 1.0),
        (fraction(2.0), "fraction", None, "FRACTION", 30.0),
        (dose(2.05), "fraction", 60.0, "FRACTION", 30.0),
    ],
    ids=["a fraction group", "unprescribed", "called PLAN"],
)
def test_the_users_word_decides_what_the_tags_leave_open(
    tmp_path: Path,
    chosen: DoseObject,
    of: Any,
    prescription_gy: float | None,
    becomes: str,
    factor: float,
) -> None:
    course = judged(said(chosen, dose_of=of), plan(prescription_gy=prescription_gy))
    assert course.sidecar["DoseSummationType"] == becomes
    assert course.sidecar["SourceSummationType"] == chosen.summation_type
    assert as_read_back(course, tmp_path).factor == factor
    assert "as stated by the user" in decisions(course)


# units, type, space


@pytest.mark.parametrize(("maximum", "word"), [(1.05, "as a fraction"), (105.0, "in percent")])
@pytest.mark.parametrize("planned_gy", [60.0, None])
def test_a_relative_dose_is_a_share_of_the_prescription_where_the_user_says_so(
    maximum: float, word: str, planned_gy: float | None
) -> None:
    relative = said(dose(maximum, units="RELATIVE"), prescription_gy=60.0)
    course = judged(relative, plan(prescription_gy=planned_gy))
    assert course.dose.data.max() == pytest.approx(63.0)
    assert word in decisions(course) and course.sidecar["DoseUnits"] == "GY"


def test_an_effective_dose_is_recorded_as_such(tmp_path: Path) -> None:
    course = judged(dose(dose_type="EFFECTIVE"), plan())
    assert as_read_back(course, tmp_path).dose_type == "EFFECTIVE"


def test_structures_elsewhere_are_refused_and_what_states_no_frame_contradicts_none() -> None:
    with pytest.raises(SourceError, match="and the RTSTRUCT that it refers to lie in different frames"):
        judged(dose(), plan(), structures=[StructureSet("S", ("2.25.2", "2.25.3"), ())])
    judged(dose(), plan(frame_of_reference_uid=""), structures=[StructureSet("S", (), ())])
    judged(dose(), plan(), structures=[StructureSet("S", ("2.25.2", FRAME), ())])


# beams


def test_beams_are_summed_where_all_treatment_beams_are_there_once(tmp_path: Path) -> None:
    course = judged([beam(1, 30.0), beam(2, 32.0)], plan())
    np.testing.assert_allclose(course.dose.data, voxels(62.0).data, rtol=1e-6)
    assert course.sidecar["BeamsSummed"] == 2 and course.sidecar["SourceSummationType"] == "BEAM"
    assert as_read_back(course, tmp_path).factor == 1.0
    assert "all 2 treatment beams are summed" in decisions(course)
    assert judged(beam(1, 62.0, beam_numbers=(1, 2)), plan()).sidecar["BeamsSummed"] == 2


def test_beams_of_one_fraction_are_summed_and_scaled_where_the_user_says_so() -> None:
    course = judged([said(beam(n, 1.0), dose_of="fraction") for n in (1, 2)], plan())
    assert course.sidecar["DoseSummationType"] == "FRACTION"
    assert course.dose.data.max() == pytest.approx(2.0)


# several plans


def test_plans_of_one_course_add_up(tmp_path: Path) -> None:
    chosen = [of_course(dose(52.0, "A")), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(fractions=25, prescription_gy=50.0), BOOST)
    np.testing.assert_allclose(course.dose.data, voxels(62.0).data, rtol=1e-6)
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (30, 60.0)
    assert course.sidecar["PlansSummed"] == 2 and as_read_back(course, tmp_path).of_several_plans
    assert "The doses of 2 plans of one course are summed voxel by voxel" in decisions(course)


def test_one_fraction_of_a_plan_is_scaled_before_it_is_added() -> None:
    chosen = [of_course(fraction(2.0)), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(fractions=25, prescription_gy=50.0), BOOST)
    assert course.dose.data.max() == pytest.approx(60.0)
    assert course.sidecar["DoseSummationType"] == "PLAN"
    assert course.sidecar["SourceSummationType"] == "FRACTION+PLAN"


def test_what_one_plan_does_not_say_is_not_said_of_the_sum() -> None:
    # the whole course has to be possible, and not each of its plans
    chosen = [of_course(dose(plans="A")), of_course(dose(10.0, "B"))]
    course = judged(chosen, plan(), replace(BOOST, prescription_gy=None, fractions=None))
    assert not {"NumberOfFractions", "PrescriptionGy"} & course.sidecar.keys()


def linear_dose(grid: Grid) -> Volume:
    """20 Gy rising by 0.1 Gy a mm along x: what linear interpolation reproduces exactly."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    values = 20 + 0.1 * grid.world_mm(index)[:, 0]
    return Volume(values.reshape(grid.shape).astype(np.float32), grid)


@pytest.mark.parametrize(
    ("fine", "coarse", "finest_contains"),
    [
        (Grid.cube(np.zeros(3), 1.0, 20), Grid.cube(np.full(3, 0.3), 4.0, 4), True),
        (Grid.cube(np.zeros(3), 1.0, 6), Grid.cube(np.zeros(3), 3.0, 8), False),
    ],
    ids=["within the finer", "beyond the finer"],
)
def test_doses_on_two_grids_are_summed_on_the_finest_that_contains_them(
    fine: Grid, coarse: Grid, finest_contains: bool
) -> None:
    chosen = [
        of_course(dose(plans=uid, values=linear_dose(grid)))
        for uid, grid in zip("AB", (coarse, fine), strict=True)
    ]
    course = judged(chosen, plan("A", prescription_gy=20.0), plan("B", prescription_gy=20.0))
    grid = fine if finest_contains else coarse
    assert course.dose.grid.shape == grid.shape
    middle = tuple(n // 2 for n in grid.shape)
    assert course.dose.data[middle] == pytest.approx(2 * linear_dose(grid).data[middle], rel=1e-5)
    assert "resampled linearly onto the finest" in decisions(course)


def test_a_dose_of_several_plans_carries_the_sum_of_their_prescriptions(tmp_path: Path) -> None:
    course = judged(both_plans(), plan(), BOOST)
    assert (course.sidecar["NumberOfFractions"], course.sidecar["PrescriptionGy"]) == (35, 70.0)
    assert course.sidecar["PlansSummed"] == 2 and course.sidecar["DoseSummationType"] == "PLAN"
    assert as_read_back(course, tmp_path).of_several_plans


def test_a_dose_of_several_plans_of_which_one_is_missing_is_taken_by_the_users_prescription(
    tmp_path: Path,
) -> None:
    course = judged(said(both_plans(), prescription_gy=70.0), plan())
    assert course.sidecar["PrescriptionGy"] == 70.0 and "NumberOfFractions" not in course.sidecar
    unreferenced = judged(said(replace(both_plans(), plan_uids=()), prescription_gy=70.0))
    assert as_read_back(unreferenced, tmp_path).of_several_plans


# from files


def course_in(folder: Path, without: str = "") -> CourseDose:
    """The course of all doses in a folder. without: SOP instance UID of an object to leave out."""
    series = read_tree(folder).series
    doses, plans, structures = (
        [one for one in instances_of(series, kind) if one.sop_instance_uid != without]
        for kind in ("RTDOSE", "RTPLAN", "RTSTRUCT")
    )
    return read_course([ChosenDose(one) for one in doses], Treatment.read(doses, plans, structures))


def test_an_exports_objects_are_read_and_judged_together(tmp_path: Path) -> None:
    export = write_tiny_export(
        tmp_path, dose_max_gy=2.05, summation_type="FRACTION", shared_frame=False, with_ct=True
    )
    course = course_in(tmp_path)
    assert course.sidecar["DoseSummationType"] == "FRACTION" and course.sidecar["NumberOfFractions"] == 30
    assert course.frame_of_reference_uid == export.rt_frame_uid
    assert course.drawn_on == {export.patient.uid("ct")}
    np.testing.assert_allclose(course.dose.data, export.dose.data, atol=1e-4)
    with pytest.raises(SourceError, match="RTPLAN is not in the export"):
        course_in(tmp_path, without=export.patient.uid("plan"))


def test_an_object_that_the_dose_refers_to_has_to_be_readable(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    edit(export.struct_file or Path(), ReferencedFrameOfReferenceSequence=None, StructureSetROISequence=None)
    with pytest.raises(SourceError, match="an RTSTRUCT that refers to no images"):
        course_in(tmp_path)


FURTHER = "1 further RTPLAN(s) of the patient without a dose in the course"
NO_CONTENT = {"FractionGroupSequence": None, "DoseReferenceSequence": None, "BeamSequence": None}


@pytest.mark.parametrize(
    ("stated", "reported"),
    [
        ({}, True),
        (NO_CONTENT, True),
        ({"ApprovalStatus": "REJECTED"}, False),
        ({"PlanIntent": "VERIFICATION"}, False),
    ],
    ids=["readable", "unreadable", "rejected", "verification"],
)
def test_a_further_plan_that_may_have_been_delivered_is_reported(
    tmp_path: Path, stated: dict[str, Any], reported: bool
) -> None:
    export = write_tiny_export(tmp_path, prescription_gy=46.0, fractions=23, dose_max_gy=48.0)
    boost = write_rtplan(
        export.dose_file.parent / "p2.bin",
        Header(export.patient.study("rt", date(2020, 3, 20)), "2.25.777", export.rt_frame_uid),
        fractions=7, prescription_gy=14.0,
    )  # fmt: skip
    edit(boost, **stated)
    assert (FURTHER in decisions(course_in(tmp_path))) == reported
    assert FURTHER not in decisions(course_in(tmp_path, without="2.25.777"))


@pytest.mark.parametrize(
    ("types", "modality"),
    [
        ((["PHOTON"],), "photon"),
        ((["PROTON"], ["PROTON"]), "proton"),
        ((["ION"],), "ion"),
        ((["PHOTON"], ["PROTON"]), None),
        ((["PHOTON", "ELECTRON"],), None),
        ((["NEUTRON"],), None),
        (([],), None),
    ],
)
def test_the_radiation_is_that_of_all_treatment_beams(types: Any, modality: str | None) -> None:
    def instance(uid: str) -> Instance:
        return Instance(Path("x"), "RTPLAN", "P", "", "", uid, None, None, "", "", contrast_agent=False)

    uids = [f"plan {number}" for number in range(len(types))]
    dose_of_all: Parsed[DoseHeader] = Parsed(instance("dose"), dose(plans=uids))
    plans = [
        Parsed(instance(uid), plan(uid, radiation_types=frozenset(of)))
        for uid, of in zip(uids, types, strict=True)
    ]
    other = Parsed(instance("other"), plan("other", radiation_types=frozenset({"ION"})))
    assert Treatment((dose_of_all,), (*plans, other), ()).rt_modality == modality


# what reaches the cohort


def test_nothing_that_identifies_a_patient_reaches_the_sidecar() -> None:
    uid = "1.2.840.113619.2.55.3.604688119"
    chosen = [
        said(dose(52.0, (f"{uid}.1",), structure_set_uids=(f"{uid}.7",)), "Hans Mueller 1957"),
        said(dose(10.0, (f"{uid}.2",)), "Hans Mueller 1957"),
    ]
    plans = (
        plan(f"{uid}.1", fractions=25, prescription_gy=50.0),
        replace(BOOST, sop_instance_uid=f"{uid}.2"),
    )
    text = json.dumps(judged(chosen, *plans).sidecar)
    assert not re.search(r"Mueller|1957|2\.25\.|\d\.\d+\.\d+\.\d+", text)
