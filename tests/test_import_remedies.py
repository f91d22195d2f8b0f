"""Every refusal of the DICOM import, walked with its own remedy: each leads out, or says to export again."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_trees import TinyExport, write_tiny_export
from import_walks import EXPORT_AGAIN, Case, Step, Walk, case, changes, edits, states, steps
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate

from ricenet.importing import import_subject
from ricenet.phantom.dicom.objects import elements
from ricenet.runtime.errors import SourceError

ONE, LAST = slice(3, 4), slice(-1, None)
OTHER_VISIT = {"StudyDate": "20201001"}


def nothing(walk: Walk) -> None:
    pass


def another_event(walk: Walk) -> None:
    """A second, sound scan of a later visit, for a user to choose instead."""
    walk.add_series("event", "again", **OTHER_VISIT)


def with_choice(spoil: Step) -> Step:
    return steps(another_event, spoil)


FIRST = steps(states("event", role="event"), states("again", role=""))
CHOOSE_ANOTHER = steps(states("event", role=""), states("again", role="event"))


def instead(site: str, said: str, spoil: Step) -> Case:
    """A refusal of an event scan that says to choose another series."""
    return case(site, said, with_choice(spoil), CHOOSE_ANOTHER, FIRST)


def unlink(name: str, index: slice) -> Step:
    return lambda walk: [path.unlink() for path in walk.files(name)[index]]


def cut(name: str, share: float, index: slice = ONE) -> Step:
    def spoil(walk: Walk) -> None:
        for path in walk.files(name)[index]:
            path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return spoil


def moved(*by_mm: float) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        old = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [float(at) + by for at, by in zip(old, by_mm, strict=True)]

    return change


def event_at(*heights_mm: float) -> Step:
    """The event's slices along their normal; the others are deleted."""

    def spoil(walk: Walk) -> None:
        files = walk.files("event")
        for path in files[len(heights_mm) :]:
            path.unlink()
        for path, height in zip(files, heights_mm, strict=False):
            dataset = dcmread(path)
            dataset.ImagePositionPatient = [0, 0, height]
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            dataset.save_as(path)

    return spoil


def gantry_tilt(walk: Walk) -> None:
    for k, path in enumerate(walk.files("post_op")):
        dataset = dcmread(path)
        moved(0, 2.0 * k, 0)(dataset)
        dataset.save_as(path)


def repeated(walk: Walk) -> None:
    walk.add_series(
        "event", "repeats", SeriesInstanceUID=walk.uid("event"), StudyInstanceUID=walk.uid("event-study"),
        AcquisitionNumber=9,
    )  # fmt: skip


def in_htj2k(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
    dataset.PixelData = encapsulate([b"\xff\x4f" + bytes(400) + b"\xff\xd9"])
    dataset["PixelData"].VR = "OB"


def fractions_of_plan(value: object) -> Step:
    def change(dataset: Dataset) -> None:
        dataset.FractionGroupSequence[0].NumberOfFractionsPlanned = value

    return changes("plan", change)


def two_groups(dataset: Dataset) -> None:
    dataset.FractionGroupSequence.append(dataset.FractionGroupSequence[0])


def unprescribed(dataset: Dataset) -> None:
    dataset.DoseReferenceSequence = None


def beams(*numbers: int) -> Step:
    """One RTDOSE of each beam, with these numbers, in place of the plan's dose."""

    def spoil(walk: Walk) -> None:
        walk.export.dose_file.unlink()
        for k, number in enumerate(numbers):
            walk.add_dose(
                f"beam{k}", 31.0, summation_type="BEAM", beam_number=number, plan_uids=[walk.uid("plan")]
            )

    return spoil


def boost(walk: Walk) -> None:
    """A second plan with its dose."""
    walk.add_plan("boost")
    walk.add_dose("second", plan_uids=[walk.uid("boost")])


def whole_course(walk: Walk) -> None:
    """A second plan like the first, with its dose."""
    walk.add_plan("boost", fractions=30, prescription_gy=60.0)
    walk.add_dose("second", 62.0, plan_uids=[walk.uid("boost")])


def sum_of_both(walk: Walk) -> None:
    boost(walk)
    plans = [walk.uid("plan"), walk.uid("boost")]
    walk.add_dose("total", 72.0, summation_type="MULTI_PLAN", plan_uids=plans)


def rejected(**elements: str) -> Step:
    return steps(whole_course, edits("plan", **elements))


SECOND_ALONE = steps(states("dose", role=""), states("second", role="dose"))
FIRST_ALONE = steps(states("dose", role="dose"), states("second", role=""))
BOTH = steps(states("dose", role="dose"), states("second", role="dose"))
ONE_COURSE = steps(states("dose", role="dose", course="a"), states("second", role="dose", course="a"))
NO_PLAN: dict[str, Any] = {"with_plan": False}
FRACTION: dict[str, Any] = {"summation_type": "FRACTION"}
WITH_CT: dict[str, Any] = {"with_ct": True}
AS_DOSE = states("dose", role="dose")

FINAL_WORDS = "[Ee]xport|Add the RTPLAN|Add the planning CT|Check that the dose is"
"""What an honest end says, where the files lack something."""

IMAGES = {
    "no pixel spacing": case(
        "datasets.numbers", "PixelSpacing is missing", edits("post_op", ONE, PixelSpacing=None), EXPORT_AGAIN
    ),
    "a lookup table": case(
        "frames.frames_of", "scaled by a table", edits("event", ONE, ModalityLUTSequence=[elements()]),
        EXPORT_AGAIN,
    ),
    "frames that lie nowhere": case(
        "frames._groups_by_frame", "does not say where its frames lie",
        edits("event", ONE, SharedFunctionalGroupsSequence=[elements(RescaleSlope="1")]), EXPORT_AGAIN,
    ),
    "a slope of 0": case(
        "frames._rescaling", "RescaleSlope is 0",
        edits("event", ONE, RescaleSlope="0", RescaleIntercept="0"), EXPORT_AGAIN,
    ),
    "one slice": instead("geometry._ordered", "a single slice is no volume", unlink("event", slice(1, None))),
    "aslant axes": case(
        "geometry._axes", "two perpendicular unit vectors",
        edits("event", ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0]), EXPORT_AGAIN,
    ),
    "a localizer by its direction": case(
        "geometry._check_alike", "slices of 2 orientations.*write localizer as leave_out",
        edits("event", LAST, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        states("event", leave_out="localizer"),
    ),
    "slices of two sizes": instead(
        "geometry._check_alike", "slices of differing pixel spacing", edits("event", ONE, PixelSpacing=[3, 3])
    ),
    "repeats": instead("geometry._check_places", "lie at 15 positions.*2 acquisitions", repeated),
    "variable spacing": case(
        "geometry._check_places", "variable spacing: slices are 5.00 mm and 10.00 mm apart",
        event_at(0, 10, 20, 30, 40, 45, 50, 55, 60), EXPORT_AGAIN,
    ),
    "uneven": instead(
        "geometry._check_places", "unevenly spaced", event_at(0, 10, 24, 30, 40, 57, 60, 70, 80)
    ),
    "missing": case(
        "geometry._refuse_missing", "1 slice is missing", unlink("post_op", slice(5, 6)), EXPORT_AGAIN
    ),
    "beside the line": instead(
        "geometry._check_straight", "do not lie on one line",
        steps(event_at(*range(0, 90, 10)), changes("event", moved(40, 0, 0), ONE)),
    ),
    "gantry tilt": case("geometry._check_straight", "gantry tilt", gantry_tilt, EXPORT_AGAIN),
    "spacing of 0": case(
        "geometry.__post_init__", "PixelSpacing is not positive", edits("event", PixelSpacing=[0, 0]),
        EXPORT_AGAIN,
    ),
    "a broken link": case(
        "headers.read_header", "1 of 16 files of the series cannot be used: a broken link",
        lambda walk: walk.files("event")[0].with_name("link").symlink_to("nowhere"),
        lambda walk: walk.files("event")[0].with_name("link").unlink(),
    ),
    "a stray empty file": case(
        "headers._no_dicom", "1 of 16 files of the series cannot be used: an empty file.*or remove from its",
        lambda walk: walk.files("event")[0].with_name("stray").touch(),
        lambda walk: walk.files("event")[0].with_name("stray").unlink(),
    ),
    "nobody's": case(
        "headers._check_identity", "no row of the map has the role event", edits("event", PatientID=""),
        EXPORT_AGAIN,
    ),
    "two frames of reference": case(
        "images._check_series", "slices in 2 frames", edits("event", ONE, FrameOfReferenceUID="2.25.3"),
        EXPORT_AGAIN,
    ),
    "a localizer by its tag": case(
        "images._check_series", "1 of 15 images of the series are localizers.*leave_out",
        edits("event", LAST, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], PixelSpacing=[9, 9]),
        states("event", leave_out="localizer"), states("event", leave_out=""),
    ),
    "cut short": case(
        "pixels._require_bytes", "1 of 15 files of the series cannot be used: pixel data are cut",
        cut("event", 0.9), EXPORT_AGAIN,
    ),
    "no pixels": case(
        "pixels.check_extent", "ends before its pixel data", edits("event", ONE, PixelData=None), EXPORT_AGAIN
    ),
    "inverted": instead(
        "pixels.check_grey", "MONOCHROME1 instead", edits("event", PhotometricInterpretation="MONOCHROME1")
    ),
    "bits": case(
        "pixels._check_bits", "whose highest is bit 7", edits("event", ONE, HighBit=7), EXPORT_AGAIN
    ),
    "no decoder": case(
        "pixels._undecodable", "Install pylibjpeg.*or export it again uncompressed",
        changes("event", in_htj2k), EXPORT_AGAIN,
    ),
    "two echoes": instead(
        "variants.require_one_volume", "2 echo times", edits("event", slice(0, 5), EchoTime="20")
    ),
}  # fmt: skip

DOSES = {
    "no grid": case(
        "dose._read", "without a dose grid",
        changes("dose", lambda d: [delattr(d, name) for name in ("PixelData", "Rows", "Columns")]),
        EXPORT_AGAIN, AS_DOSE,
    ),
    "scaling of 0": case(
        "dose._scaled", "DoseGridScaling is not positive", edits("dose", DoseGridScaling="0"), EXPORT_AGAIN
    ),
    "no number of frames": case(
        "dose._frames", "NumberOfFrames is missing: 5 frame offsets, 9 planes",
        edits("dose", NumberOfFrames=None, GridFrameOffsetVector=["0", "12", "24", "36", "48"]), EXPORT_AGAIN,
    ),
    "a single plane": case(
        "dose._planes", "single plane", edits("dose", NumberOfFrames=1, GridFrameOffsetVector=["0"]),
        EXPORT_AGAIN,
    ),
    "offsets that turn back": case(
        "dose._positions", "neither rise nor fall",
        edits("dose", GridFrameOffsetVector=[str(12 * k) for k in (0, 1, 2, 3, 4, 3, 2, 1, 0)]), EXPORT_AGAIN,
    ),
    "offsets from elsewhere": case(
        "dose._direction", "starts at 7.00 mm",
        edits("dose", GridFrameOffsetVector=[str(7 + 12 * k) for k in range(9)]), EXPORT_AGAIN,
    ),
    "in cGy": case(
        "interpret._with_possible_dose", "If its voxels are cGy, export it", nothing, EXPORT_AGAIN,
        dose_max_gy=6200.0,
    ),
    "a fraction called PLAN": case(
        "interpret._with_possible_dose", "Times 30 fractions it would fit.*dose_of=fraction", nothing,
        states("dose", dose_of="fraction"), dose_max_gy=2.05,
    ),
    "a prescription in cGy": case(
        "interpret._with_possible_dose", "may be in cGy, for 60 Gy.*map: prescription_gy", nothing,
        states("dose", prescription_gy="60"), prescription_gy=6000.0,
    ),
    "a prescription of one beam": case(
        "interpret._with_possible_dose", "may be one beam's.*map: prescription_gy", nothing,
        states("dose", prescription_gy="60"), prescription_gy=30.0,
    ),
    "a prescription of one fraction": case(
        "interpret._with_possible_dose", "may be that of one of 30 fractions.*map: prescription_gy", nothing,
        states("dose", prescription_gy="60"), prescription_gy=2.0,
    ),
    "a statement that is wrong": case(
        "interpret._with_possible_dose", "10% of the prescription of 600 Gy", nothing,
        states("dose", prescription_gy=""), states("dose", prescription_gy="600"),
    ),
    "dose and prescription of one fraction": case(
        "interpret._require_no_fraction", "both may be of one fraction.*State prescription_gy", nothing,
        states("dose", prescription_gy="60", dose_of="fraction"), dose_max_gy=2.05, prescription_gy=2.0,
    ),
    "relative": case(
        "meaning.in_gy", "do not say what the dose is relative to.*state prescription_gy", nothing,
        states("dose", prescription_gy="60"), units="RELATIVE", dose_max_gy=1.05,
    ),
    "relative to what": case(
        "meaning.in_gy", "which neither as a fraction nor in percent", nothing, EXPORT_AGAIN,
        states("dose", prescription_gy="60"), units="RELATIVE", dose_max_gy=10.0,
    ),
    "a fraction group": case(
        "meaning.extent_of", "State dose_of=course", nothing, states("dose", dose_of="course"), **FRACTION
    ),
    "a fraction without a prescription": case(
        "meaning.extent_of", "without a prescription.*State dose_of=fraction or",
        changes("plan", unprescribed), states("dose", dose_of="fraction"), **FRACTION, dose_max_gy=2.05,
    ),
    "a fraction of how many": case(
        "meaning.extent_of", "of a number that the plan does not say.*State fractions",
        fractions_of_plan(None), states("dose", fractions="30"), **FRACTION, dose_max_gy=2.05,
    ),
    "of two plans": case(
        "interpret._require_plans_as_meant", "refers to 2 plans, expected 1.*Export the dose",
        changes("dose", lambda d: d.ReferencedRTPlanSequence.append(_plan(d, "2.25.5"))),
        EXPORT_AGAIN, AS_DOSE,
    ),
    "one fraction of a sum": case(
        "interpret._require_plans_as_meant", "Choose the doses of the plans instead", sum_of_both,
        steps(states("total", role="", dose_of=""), ONE_COURSE),
        steps(
            states("dose", role=""), states("second", role=""),
            states("total", role="dose", dose_of="fraction"),
        ),
    ),
    "two plans": case("interpret._sum_of", "not all of the same course.*in the map", boost, ONE_COURSE, BOTH),
    "a plan and its beam": case(
        "interpret.by_plan", "would count twice.*Choose the plan's dose alone",
        lambda walk: walk.add_dose(
            "second", 31.0, summation_type="BEAM", beam_number=1, plan_uids=[walk.uid("plan")]
        ),
        FIRST_ALONE, BOTH,
    ),
    "a sum and its part": case(
        "interpret.by_plan", "Choose either the sum", sum_of_both,
        steps(states("second", role="", course=""), states("total", role="dose")),
        steps(
            states("dose", role=""), states("second", role="dose", course="a"),
            states("total", role="dose", course="a"),
        ),
    ),
    "beams without their plan": case(
        "interpret.judge_plan", "Add the RTPLAN", steps(beams(1, 2), unlink("plan", slice(None))),
        EXPORT_AGAIN, steps(states("beam0", role="dose"), states("beam1", role="dose")),
    ),
    "a beam twice": case(
        "sum.sum_of_beams", "beam 2 there more than once.*Choose the dose of each treatment beam once",
        beams(1, 2, 2), states("beam2", role=""),
    ),
    "beams that say different things": case(
        "statement.agreed", "2 different values of fractions.*State the same", beams(1, 2),
        states("beam0", fractions="30"),
        steps(states("beam0", fractions="31"), states("beam1", fractions="30")),
    ),
    "plans apart": case(
        "sum.sum_of_plans", "reach beyond each other's grids",
        steps(boost, lambda walk: _moved_dose(walk, "second")), EXPORT_AGAIN, ONE_COURSE,
    ),
    "a rejected plan": case(
        "statement.require_deliverable", "REJECTED.*Choose the dose", rejected(ApprovalStatus="REJECTED"),
        SECOND_ALONE, FIRST_ALONE,
    ),
    "a plan for research": case(
        "statement.require_deliverable", "PlanIntent RESEARCH", rejected(PlanIntent="RESEARCH"),
        SECOND_ALONE, FIRST_ALONE,
    ),
    "the plan is not there": case(
        "statement._without_plans", "state prescription_gy and fractions", nothing,
        states("dose", fractions="30", prescription_gy="60"), AS_DOSE, **NO_PLAN,
    ),
    "no plan is named": case(
        "statement._without_plans", "names no RTPLAN.*plan_uid",
        edits("dose", ReferencedRTPlanSequence=None),
        lambda walk: walk.set("dose", plan_uid=walk.uid("plan")), states("dose", role="dose", plan_uid=""),
    ),
    "another plan is named": case(
        "statement._without_plans", "RTPLAN is not in the export",
        changes("dose", lambda d: d.update({"ReferencedRTPlanSequence": [_plan(d, "2.25.9")]})),
        lambda walk: walk.set("dose", plan_uid=walk.uid("plan")), AS_DOSE,
    ),
    "no fraction is planned": case(
        "statement._planned_fractions", "of 0 fractions. State fractions", fractions_of_plan(0),
        states("dose", fractions="30"),
    ),
    "two fraction groups": case(
        "statement._planned_fractions", "2 fraction groups.*as fractions in the map",
        changes("plan", two_groups), states("dose", fractions="30"),
    ),
    "an empty plan": case(
        "plan.read_plan", "without fractions, beams and prescription",
        edits("plan", FractionGroupSequence=None, DoseReferenceSequence=None, BeamSequence=None),
        EXPORT_AGAIN, AS_DOSE,
    ),
    "beams without numbers": case(
        "plan._numbers", "beams are not numbered",
        changes("plan", lambda d: delattr(d.BeamSequence[0], "BeamNumber")), EXPORT_AGAIN, AS_DOSE,
    ),
    "empty structures": case(
        "plan.read_structures", "refers to no images",
        edits("struct", ReferencedFrameOfReferenceSequence=None, StructureSetROISequence=None), EXPORT_AGAIN,
        AS_DOSE,
    ),
    "other units": case(
        "usable.require_usable", "units other than GY", edits("dose", DoseUnits="CGY"), EXPORT_AGAIN
    ),
    "two kinds of dose": case(
        "usable.require_usable", "Choose doses of one type",
        lambda walk: (
            walk.add_plan("boost", fractions=30, prescription_gy=60.0),
            walk.add_dose("second", 62.0, dose_type="EFFECTIVE", plan_uids=[walk.uid("boost")]),
        ),
        FIRST_ALONE, BOTH,
    ),
    "no frame of reference": case(
        "usable.require_one_frame", "without a frame of reference", edits("dose", FrameOfReferenceUID=None),
        EXPORT_AGAIN, AS_DOSE,
    ),
    "doses in two spaces": case(
        "usable.require_one_frame", "2 RTDOSE in 2 frames of reference.*Choose doses of one planning",
        lambda walk: walk.add_dose("second", frame="2.25.4", plan_uids=[walk.uid("plan")]), FIRST_ALONE, BOTH,
    ),
    "a plan elsewhere": case(
        "usable.require_one_frame", "RTPLAN that it refers to lie in different frames",
        edits("plan", FrameOfReferenceUID="2.25.4"), EXPORT_AGAIN, AS_DOSE,
    ),
}  # fmt: skip


def _plan(dataset: Dataset, plan_uid: str) -> Dataset:
    other = Dataset()
    other.update(dataset.ReferencedRTPlanSequence[0])
    other.ReferencedSOPInstanceUID = plan_uid
    return other


def _moved_dose(walk: Walk, name: str) -> None:
    path = walk.export.folder / f"{name}.bin"
    dataset = dcmread(path)
    moved(45.0, 0, 0)(dataset)
    dataset.save_as(path)


def far_away(walk: Walk) -> None:
    walk.change("dose", moved(900.0, 0, 0))


def remove_ct(walk: Walk) -> None:
    for path in walk.files("ct"):
        path.unlink()
    rows = [row for row in walk.rows() if row["modality"] != "CT"]
    walk.set_rows(rows)


def one_study(walk: Walk) -> None:
    walk.edit("event", StudyInstanceUID=walk.uid("post_op-study"))


PATIENTS = {
    "a dose elsewhere": case("place.require_over", "mm away from the reference MRI", far_away, EXPORT_AGAIN),
    "no CT of the dose": case(
        "place._no_ct", "no planning CT of it is in the export",
        steps(edits("dose", FrameOfReferenceUID="2.25.4"), edits("plan", FrameOfReferenceUID="2.25.4")),
        EXPORT_AGAIN, AS_DOSE, with_struct=False,
    ),
    "a CT of another frame": case(
        "place._no_ct", "another frame of reference than the dose.*or none",
        edits("ct", FrameOfReferenceUID="2.25.4"), states("ct", role=""), states("ct", role="planning_ct"),
        **WITH_CT, with_struct=False,
    ),
    "a fragment of a CT": case(
        "place.choose_planning_ct", "has 5 slice.s., at least 8", unlink("ct", slice(5, None)), EXPORT_AGAIN,
        states("ct", role="planning_ct"), **WITH_CT,
    ),
    "a CT that confirms nothing": case(
        "place._confirmed_by_ct", "which the CT cannot confirm.*leave the CT out of the export", nothing,
        remove_ct, **WITH_CT,
    ),
    "a CT without a head": case(
        "planning_ct.head_of", "shows no head", nothing, remove_ct, states("ct", role="planning_ct"),
        **WITH_CT,
    ),
    "one study": case(
        "import_subject._require_examinations_apart", "series of one study.*Choose scans of two visits",
        with_choice(one_study), CHOOSE_ANOTHER, FIRST,
    ),
    "another radiation": case(
        "import_subject._rt_modality", "says rt_modality proton, the plan's.*Correct the table", nothing,
        lambda walk: walk.table(rt_modality="photon"), lambda walk: walk.table(rt_modality="proton"),
    ),
    "an event before radiotherapy ends": case(
        "intervals.intervals_of", "before the end of radiotherapy.*correct", nothing,
        lambda walk: walk.table(rt_end_date="2020-04-21"), lambda walk: walk.table(rt_end_date="2020-10-01"),
    ),
    "an event before the plan": case(
        "intervals.intervals_of", "scan event lies 5 day.s. before the radiotherapy plan. Choose a later",
        with_choice(edits("event", StudyDate="20200305", SeriesDate="20200305", AcquisitionDate="20200305")),
        CHOOSE_ANOTHER, steps(FIRST, states("post_op", role="post_op")),
    ),
    "radiotherapy that ends before its plan": case(
        "intervals._require_order", "end of radiotherapy lies 2 day.s. before its plan. Correct rt_end_date",
        nothing, lambda walk: walk.table(rt_end_date="2020-04-21"),
        lambda walk: walk.table(rt_end_date="2020-03-08"),
    ),
    "a first scan after radiotherapy": case(
        "intervals._require_order", "so during or after treatment.*Choose the scan between",
        lambda walk: walk.add_series("post_op", "late", StudyDate="20200601", FrameOfReferenceUID="2.25.8"),
        steps(states("post_op", role="post_op"), states("late", role="")),
        steps(states("post_op", role=""), states("late", role="post_op"), states("event", role="event")),
    ),
    "two people": case(
        "sources.require_one_person", "different pairs of birth date and sex",
        with_choice(edits("event", PatientSex="M")), CHOOSE_ANOTHER, FIRST,
    ),
}  # fmt: skip


MAPS = {
    "undecided": case("", "undecided.*Write a role in place of each", another_event, FIRST),
    "no dose": case(
        "", "no row of the map has the role dose", nothing, AS_DOSE, states("dose", role="")
    ),
    "a wrong role": case("", "none of post_op", nothing, AS_DOSE, states("dose", role="Dose")),
    "a role of another kind": case(
        "", "needs an MR series", nothing, AS_DOSE, states("dose", role="event")
    ),
    "a role twice": case("", "given 2 times", another_event, states("again", role=""),
                         steps(states("event", role="event"), states("again", role="event"))),
    "a statement beside a scan": case(
        "", "Write it into the rows of doses", nothing, states("event", fractions=""),
        states("event", fractions="30"),
    ),
    "a plan that is not there": case(
        "", "Correct it, or leave it empty", nothing, states("dose", plan_uid=""),
        states("dose", plan_uid="2.25.1"),
    ),
    "a broken number": case(
        "", "no whole number from 1 to 999", nothing, states("dose", fractions="30"),
        states("dose", fractions="30.5"),
    ),
    "what is left out": case(
        "", "leave_out is not localizer", nothing, states("event", leave_out=""),
        states("event", leave_out="scout"),
    ),
}  # fmt: skip

CASES = {
    f"{group}: {name}": one
    for group, cases in (("image", IMAGES), ("dose", DOSES), ("patient", PATIENTS), ("map", MAPS))
    for name, one in cases.items()
}

ELSEWHERE = {
    "datasets.faults_as": "the others' wrapper",
    "images.read_series": "stacks of an enhanced object: test_dicom_refusals",
    "pixels.stored_values": "found when the header is read",
    "pixels._check_fragments": "test_dicom_damaged_files",
    "datasets._require_bounded": "test_bounds",
    "planning_ct.require_plausible": "a registration that fails: test_dose_placement",
    "statement.require_numbers": "the map refuses them first; predict: test_prediction_from_dicom",
    "import_subject._scan": "adds the scan's name to another refusal",
}
"""Refusals that no walk meets, and where they are met."""


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyExport]:
    """Exports by their options, each written once; read them only."""
    written: dict[str, TinyExport] = {}

    def export(**options: Any) -> TinyExport:
        key = repr(sorted(options.items()))
        if key not in written:
            written[key] = write_tiny_export(tmp_path_factory.mktemp("walks"), **options)
        return written[key]

    return export


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where SourceErrors are made, as module.function."""
    sites: set[str] = set()
    usual = SourceError.__init__

    def noting(self: SourceError, found: str, remedy: str) -> None:
        code = sys._getframe(1).f_code
        sites.add(f"{Path(code.co_filename).stem}.{code.co_name}")
        usual(self, found, remedy)

    monkeypatch.setattr(SourceError, "__init__", noting)
    return sites


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("name", CASES)
def test_a_refusal_followed_by_its_own_remedy_leads_out(
    name: str, exports: Callable[..., TinyExport], raised: set[str], tmp_path: Path
) -> None:
    one = CASES[name]
    walk = Walk(exports(**one.options), tmp_path)
    one.spoil(walk)
    walk.propose()
    one.first(walk)
    said = " ".join(walk.imported().split())
    assert re.search(one.said, said), said or "it was imported"
    assert not one.site or one.site in raised
    if isinstance(one.remedy, str):
        assert re.search(FINAL_WORDS, said), said
        walk.export_again(exports())
    else:
        one.remedy(walk)
    assert walk.imported() == ""


def test_every_refusal_of_the_import_is_walked() -> None:
    package = Path(import_subject.__file__).parent
    sites = set()
    for path in (*package.glob("*.py"), *package.glob("dicom/*.py"), *package.glob("dose/*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(map(_is_refusal, ast.walk(function))):
                sites.add(f"{path.stem}.{function.name}")
    walked = {one.site for one in CASES.values()} - {""}
    assert sites - walked == ELSEWHERE.keys()
    assert walked <= sites


def test_most_refusals_have_a_way_out_in_the_map_or_the_table() -> None:
    counts = Counter("export again" if one.remedy == EXPORT_AGAIN else "leads out" for one in CASES.values())
    assert counts == {"leads out": 55, "export again": 35}


def _is_refusal(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("SourceError", "NoDicomError")
