"""What plans say of fractions, prescription and beams."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from dicom_edits import FRAME, STUDY, change, only_instance, sample, setting
from pydicom import Dataset
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.headers import read_header
from ricenet.importing.dicom.plan import PlanObject, read_plan
from ricenet.phantom.dicom.objects import sequence_item, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtplan
from ricenet.runtime.errors import SourceError


def write_plan(folder: Path, **options: object) -> Path:
    settings: dict[str, object] = {
        "sop_instance_uid": uid("plan"), "frame_of_reference_uid": FRAME, "fractions": 30,
        "prescription_gy": 60.0, **options,
    }  # fmt: skip
    return write_rtplan(folder / "plan", STUDY, **settings)  # type: ignore[arg-type]


def read(folder: Path) -> PlanObject:
    return read_plan(only_instance(folder))


def test_a_plan_states_its_fractions_prescription_beams_and_references(tmp_path: Path) -> None:
    write_plan(tmp_path, beams=(3, 5), setup_beams=(8, 9), structure_set_uid="1.2.9", date=date(2020, 3, 12))
    assert read(tmp_path) == PlanObject(
        sop_instance_uid=uid("plan"),
        date=date(2020, 3, 12),
        fractions=30,
        fraction_groups=1,
        prescription_gy=60.0,
        beams=frozenset({3, 5}),
        structure_set_uids=("1.2.9",),
        frame_of_reference_uid=FRAME,
        approval="APPROVED",
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


def test_what_a_plan_does_not_state_is_not_invented(tmp_path: Path) -> None:
    path = write_plan(tmp_path, fractions=None, prescription_gy=None)
    change(path, setting(RTPlanDate="", FrameOfReferenceUID=None))
    plan = read(tmp_path)
    assert (plan.fractions, plan.prescription_gy, plan.date) == (None, None, None)
    assert (plan.structure_set_uids, plan.frame_of_reference_uid) == ((), "")


def test_zero_fractions_are_passed_on(tmp_path: Path) -> None:
    write_plan(tmp_path, fractions=0)
    assert read(tmp_path).fractions == 0


def test_the_fractions_of_several_groups_are_nobodys_to_choose(tmp_path: Path) -> None:
    change(write_plan(tmp_path), lambda d: d.FractionGroupSequence.append(d.FractionGroupSequence[0]))
    plan = read(tmp_path)
    assert (plan.fraction_groups, plan.fractions) == (2, None)


def references(*stated: tuple[str, str, str]) -> Callable[[Dataset], None]:
    return setting(
        DoseReferenceSequence=[
            sequence_item(
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


def test_pydicoms_own_plan_is_read() -> None:
    instance = read_header(Path(str(get_testdata_file("rtplan.dcm", download=False))))
    assert instance is not None
    plan = read_plan(instance)
    assert (plan.fraction_groups, plan.fractions) == (1, 30)


def test_beams_without_a_number_of_their_own_are_refused(tmp_path: Path) -> None:
    change(write_plan(tmp_path), lambda d: setattr(d.BeamSequence[1], "BeamNumber", 1))
    with pytest.raises(SourceError, match="beams are not numbered, each differently"):
        read(tmp_path)


def test_a_plan_without_content_is_refused(tmp_path: Path) -> None:
    change(
        write_plan(tmp_path),
        setting(DoseReferenceSequence=None, FractionGroupSequence=None, BeamSequence=None),
    )
    with pytest.raises(SourceError, match="an RTPLAN without fractions, beams and prescription"):
        read(tmp_path)
