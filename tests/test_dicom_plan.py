"""What plans say of fractions, prescription and beams, and structure sets of the images they lie on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from dicom_edits import FRAME, change, only_instance, sample, setting, write_plan, write_structures
from pydicom import Dataset
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.headers import read_header
from ricenet.importing.dicom.plan import PlanObject, read_plan, read_structures
from ricenet.phantom.dicom.objects import elements
from ricenet.runtime.errors import SourceError


def read(folder: Path) -> PlanObject:
    return read_plan(only_instance(folder))


def test_a_plan_states_its_fractions_prescription_beams_and_references(tmp_path: Path) -> None:
    write_plan(tmp_path, beams=(3, 5), setup_beams=(8, 9), structure_set_uid="1.2.9", date=date(2020, 3, 12))
    assert read(tmp_path) == PlanObject(
        sop_instance_uid="1.2.1",
        date=date(2020, 3, 12),
        fractions=30,
        fraction_groups=1,
        prescription_gy=60.0,
        beams=frozenset({3, 5}),
        structure_set_uids=("1.2.9",),
        frame_of_reference_uid=FRAME,
        approval="APPROVED",
        radiation_types=frozenset({"PHOTON"}),
    )


@pytest.mark.filterwarnings("ignore:.*VR CS")
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (("REJECTED", "VERIFICATION"), ("REJECTED", "VERIFICATION")),
        (("unapproved", "machine_qa"), ("UNAPPROVED", "MACHINE_QA")),
        (("APPROVED BY DR MILLER", "SMITH 2ND TRY"), ("", "")),
        (("", ""), ("", "")),
        ((None, None), ("", "")),
    ],
)
def test_a_plans_approval_and_intent_are_passed_on_in_dicoms_own_terms(
    tmp_path: Path, written: tuple[str | None, str | None], expected: tuple[str, str]
) -> None:
    path = write_plan(tmp_path)
    change(path, setting(ApprovalStatus="", PlanIntent=""))
    change(path, setting(ApprovalStatus=written[0], PlanIntent=written[1]))
    plan = read(tmp_path)
    assert (plan.approval, plan.intent) == expected


@pytest.mark.filterwarnings("ignore:.*VR (of )?IS")
@pytest.mark.parametrize(("written", "fractions"), [("30.0", 30), ("30.5", None)])
def test_whole_numbers_written_as_decimals_are_whole_numbers(
    tmp_path: Path, written: str, fractions: int | None
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.FractionGroupSequence[0].NumberOfFractionsPlanned = written
        dataset.BeamSequence[0].BeamNumber = "1.0"

    change(write_plan(tmp_path, beams=(1,)), edit)
    plan = read(tmp_path)
    assert (plan.fractions, plan.beams) == (fractions, {1})


def test_what_a_plan_does_not_state_is_not_invented(tmp_path: Path) -> None:
    path = write_plan(tmp_path, fractions=None, prescription_gy=None)
    change(path, setting(RTPlanDate="", FrameOfReferenceUID=None))
    plan = read(tmp_path)
    assert (plan.fractions, plan.prescription_gy, plan.date) == (None, None, None)
    assert (plan.structure_set_uids, plan.frame_of_reference_uid) == ((), "")
    write_plan(tmp_path, fractions=0)
    assert read(tmp_path).fractions == 0


def test_the_fractions_of_several_groups_are_nobodys_to_choose(tmp_path: Path) -> None:
    change(write_plan(tmp_path), lambda d: d.FractionGroupSequence.append(d.FractionGroupSequence[0]))
    plan = read(tmp_path)
    assert (plan.fraction_groups, plan.fractions) == (2, None)


def references(*stated: tuple[str, str, str]) -> Callable[[Dataset], None]:
    return setting(
        DoseReferenceSequence=[
            elements(
                DoseReferenceType=kind, DoseReferenceStructureType=structure, TargetPrescriptionDose=dose
            )
            for kind, structure, dose in stated
        ]
    )


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([("TARGET", "SITE", "50"), ("TARGET", "VOLUME", "60")], 60.0),
        ([("TARGET", "SITE", "60"), ("TARGET", "COORDINATES", "63")], 60.0),
        ([("TARGET", "POINT", "59"), ("TARGET", "COORDINATES", "61")], 61.0),
        ([("ORGAN_AT_RISK", "VOLUME", "54")], None),
        ([("TARGET", "VOLUME", ""), ("TARGET", "POINT", "60")], 60.0),
        ([("TARGET", "VOLUME", "0"), ("TARGET", "POINT", "60")], 60.0),
        ([("TARGET", "VOLUME", "0")], None),
        ([], None),
    ],
)
def test_the_prescription_is_the_largest_to_a_target_volume_else_to_a_point(
    tmp_path: Path, stated: list[tuple[str, str, str]], expected: float | None
) -> None:
    change(write_plan(tmp_path), references(*stated))
    assert read(tmp_path).prescription_gy == expected


@pytest.mark.parametrize(
    ("delivery", "treats"),
    [
        ("TREATMENT", True), ("CONTINUATION", True), ("", True),
        ("SETUP", False), ("OPEN_PORTFILM", False), ("TRMT_PORTFILM", False), ("VERIFICATION", False),
    ],
)  # fmt: skip
def test_beams_that_give_no_dose_are_left_out(tmp_path: Path, delivery: str, treats: bool) -> None:
    change(write_plan(tmp_path), lambda d: setattr(d.BeamSequence[1], "TreatmentDeliveryType", delivery))
    assert read(tmp_path).beams == (frozenset({1, 2}) if treats else frozenset({1}))


def test_ion_plans_are_plans(tmp_path: Path) -> None:
    path = write_plan(tmp_path, beams=(4,))
    change(path, lambda d: setattr(d, "IonBeamSequence", d.BeamSequence))
    change(path, setting(BeamSequence=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.8"))
    assert only_instance(tmp_path).kind == "RTPLAN"
    assert read(tmp_path).beams == frozenset({4})


def test_the_real_plan_of_seven_fractions_is_prescribed_to_the_site_not_the_point() -> None:
    instance = read_header(sample("rt_dicom", "rtplan.dcm"))
    assert instance is not None
    plan = read_plan(instance)
    # a calculation point of 11.3 Gy is a TARGET reference too
    assert (plan.fractions, plan.prescription_gy, plan.beams) == (7, 14.0, frozenset({1, 2, 3, 4}))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: setattr(d.BeamSequence[1], "BeamNumber", 1), "beams are not numbered, each differently"),
        (
            setting(DoseReferenceSequence=None, FractionGroupSequence=None, BeamSequence=None),
            "an RTPLAN without fractions, beams and prescription",
        ),
    ],
)
def test_a_plan_that_states_nothing_usable_is_refused(
    tmp_path: Path, edit: Callable[[Dataset], object], words: str
) -> None:
    change(write_plan(tmp_path), edit)
    with pytest.raises(SourceError, match=words):
        read(tmp_path)


# ---- structure sets


def another_space(dataset: Dataset) -> None:
    series = elements(SeriesInstanceUID="1.2.8")
    study = elements(RTReferencedSeriesSequence=[series])
    second = elements(FrameOfReferenceUID="1.2.10", RTReferencedStudySequence=[study, study])
    dataset.ReferencedFrameOfReferenceSequence.append(second)


@pytest.mark.parametrize(
    ("edit", "frames", "series"),
    [
        (lambda d: None, (FRAME,), ("1.2.7",)),
        (another_space, (FRAME, "1.2.10"), ("1.2.7", "1.2.8")),
        # regions say their frame where no images are referenced
        (setting(ReferencedFrameOfReferenceSequence=None), (FRAME,), ()),
    ],
)
def test_a_structure_set_leads_to_the_images_it_was_drawn_on(
    tmp_path: Path, edit: Callable[[Dataset], object], frames: tuple[str, ...], series: tuple[str, ...]
) -> None:
    change(write_structures(tmp_path), edit)
    found = read_structures(only_instance(tmp_path))
    assert found.sop_instance_uid == "1.2.3"
    assert (found.frame_of_reference_uids, found.image_series_uids) == (frames, series)


def test_a_structure_set_that_refers_to_nothing_is_refused(tmp_path: Path) -> None:
    without = setting(ReferencedFrameOfReferenceSequence=None, StructureSetROISequence=None)
    change(write_structures(tmp_path), without)
    with pytest.raises(SourceError, match="refers to no images and no frame of reference"):
        read_structures(only_instance(tmp_path))


def test_the_real_structure_set_leads_to_the_ct_beside_it() -> None:
    struct, ct = (read_header(sample("rt_dicom", name)) for name in ("rtss.dcm", "ct.0.dcm"))
    assert struct is not None and ct is not None
    structures = read_structures(struct)
    assert structures.image_series_uids == (ct.series_uid,)
    assert structures.frame_of_reference_uids == (ct.frame_of_reference_uid,)


def test_pydicoms_own_objects_are_read() -> None:
    plan, struct = (
        read_header(Path(str(get_testdata_file(name, download=False))))
        for name in ("rtplan.dcm", "rtstruct.dcm")
    )
    assert plan is not None and struct is not None
    assert (read_plan(plan).fraction_groups, read_plan(plan).fractions) == (1, 30)
    assert read_structures(struct).frame_of_reference_uids
