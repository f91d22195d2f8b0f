"""The map: proposed by dates and references, never by a guess; read back strictly."""

from __future__ import annotations

import contextlib
import csv
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dicom_trees import TinyExport, edit, tiny_ct, tiny_dose, tiny_event, write_tiny_export
from pydicom import dcmread

from ricenet.importing.clinical import read_clinical
from ricenet.importing.dicom.contrast import agent_given
from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.proposal import beside_planning, progress, propose_map
from ricenet.importing.selection import Selection, select
from ricenet.importing.sequences import says_adc, says_contrast_t1, says_flair
from ricenet.importing.series_map import COLUMNS, MapRow, ProposedRow, SeriesMap, read_map, write_map
from ricenet.phantom.dicom.image_writers import write_image_series
from ricenet.phantom.dicom.objects import Header
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Volume

PLANNED, SECOND_PLAN = date(2020, 3, 10), date(2020, 12, 1)
POST_OP, EVENT, LATER = date(2020, 3, 1), date(2020, 9, 1), date(2021, 1, 1)
NO_PLAN_CONTENT = {"FractionGroupSequence": None, "DoseReferenceSequence": None, "BeamSequence": None}


def mri(name: str, suffix: str, session: str, *, required: bool = False) -> VolumeSpec:
    return VolumeSpec(
        name=name, kind="mri", session=session, suffix=suffix, title=f"the {name}", required=required
    )


MORE_VOLUMES = Volumes(
    [
        *PAPER_VOLUMES,
        mri("event_flair", "FLAIR", "event"),
        mri("event_adc", "ADC", "event", required=True),
        mri("t2", "T2w", "event"),
    ]
)


def add_mr(
    export: TinyExport,
    name: str,
    day: date,
    description: str = "CET1",
    slices: int | None = None,
    study: str = "",
    agent: str = "",
) -> None:
    """One more MR series, in a study of its own or that of another series."""
    patient = export.patient
    tags = replace(patient.study("event", day), study_uid=patient.uid(f"{study or name}-study"))
    volume = tiny_event()
    if slices is not None:
        grid = replace(volume.grid, shape=(*volume.grid.shape[:2], slices))
        volume = Volume(volume.data[..., :slices], grid)
    write_image_series(
        volume, export.folder / patient.patient_id / name,
        Header(tags, patient.uid(name), patient.uid(f"{name}-frame"), description=description),
        contrast_agent=agent, acquired={"EchoTime": "120"} if "FLAIR" in description else None,
    )  # fmt: skip


def add_dose(
    export: TinyExport, name: str, summation_type: str, plan: str = "plan", beam: int | None = None
) -> None:
    """One more RTDOSE. plan: that of the export, or of another name."""
    patient = export.patient
    write_rtdose(
        tiny_dose(20.0, export.rt_world_from_post_op_world),
        export.folder / patient.patient_id / f"{name}.dcm",
        Header(patient.study("rt", PLANNED), patient.uid(name), export.rt_frame_uid),
        plan_uids=[patient.uid(plan)], summation_type=summation_type, beam_number=beam,
    )  # fmt: skip


def add_ct(export: TinyExport, name: str, frame: str = "", slices: int = 14) -> None:
    """One more CT series, in the dose's frame of reference or another."""
    ct, patient = tiny_ct(export.rt_world_from_post_op_world), export.patient
    write_image_series(
        Volume(ct.data[..., :slices], replace(ct.grid, shape=(*ct.grid.shape[:2], slices))),
        export.folder / patient.patient_id / name,
        Header(patient.study("rt", PLANNED), patient.uid(name), frame or export.rt_frame_uid),
        modality="CT", intercept=-1024.0,
    )  # fmt: skip


def add_plan(export: TinyExport, name: str, day: date = PLANNED, **elements: object) -> None:
    """One more RTPLAN (14 Gy in 7 fractions); elements: changed by keyword."""
    path = write_rtplan(
        export.folder / f"{name}.dcm",
        Header(export.patient.study("rt", day), export.patient.uid(name), export.rt_frame_uid),
        fractions=7, prescription_gy=14.0,
    )  # fmt: skip
    edit(path, **elements)


# which sequence


@pytest.mark.parametrize(
    ("says", "descriptions"),
    [
        (
            says_contrast_t1,
            "CET1|T1CE|t1_mprage_sag_p2_iso_KM|AX T1 +C|T1 C+|T1c|T1w+Gd|T1_GD|SAG 3D BRAVO +C|"
            "MPRAGE post contrast|T1 postop KM|Ax T1 FLAIR C+|T1 VIBE fs post|"
            "T1 POSTCONTRAST|T1POSTGAD|t1_postGad|T1 MDC|t1 mdc sag|AX T1 CM|T1CM|T1 m.d.c.|T1_SE_POSTKM|"
            "T1 Gadavist|T1 gadovist 7.5 ml|t1 dotarem|T1 ProHance|T1 MultiHance|T1 MAGNEVIST|T1 Omniscan|"
            "T1 Clariscan|T1 Vueway|T1 Elucirem|T1gadoterate|T1 pre-op KM|preop T1 +C|T1 KM vor OP|"
            "T1 post RT +C|T1 CM FOV 24 cm|t1 con contrasto|T1 avec contraste",
        ),
        (says_flair, "T2 FLAIR|MR0T2FLAIR|FLAIR|t2_tirm_tra_dark-fluid|3D FLAIR post Gd|SAG CUBE FLAIR"),
        (says_adc, "ADC|ep2d_diff_ADC|ADC_map|dADC|Apparent Diffusion Coefficient (mm2/s)|DWI ADC map"),
    ],
)
def test_series_are_known_by_their_usual_names(says: Callable[[str, bool], bool], descriptions: str) -> None:
    assert [text for text in descriptions.split("|") if not says(text, False)] == []


@pytest.mark.parametrize(
    ("says", "descriptions"),
    [
        (
            says_contrast_t1,
            "T1|T1 SPACE|t1_tse_cor|T1 post op|T2 KM|MR0T2FLAIR|T2 FLAIR post Gd||T1 nativ|T1 pre contrast|"
            "T1 ohne KM|T1 C-|T1 sub KM|T1 dynamic KM|T1map post|"
            "T1 PRECONTRAST|T1 preGad|T1_PRE_GD|T1 PREKM|T1 senza mdc|T1 sans contraste|T1 sin contraste|"
            "T1 without contrast|T1 w/o|T1 non contrast|T1 NONCONTRAST|T1 no gad|T1 unenhanced|T1 vor KM|"
            "T1 post-op|T1 postoperativ|T1 post RT|T1 posterior fossa|T1 FOV 24 cm|T1 SPACE 20cm|T1 brace",
        ),
        (says_flair, "T1 FLAIR|Ax T1 FLAIR C+|T2 TSE|FLAIR sub|FLAIR scout|"),
        (says_adc, "DWI b1000|ep2d_diff_TRACEW|eADC|Exponential ADC|HEADCOIL|"),
    ],
)
def test_series_called_anything_else_are_not_taken_for_them(
    says: Callable[[str, bool], bool], descriptions: str
) -> None:
    assert [text for text in descriptions.split("|") if says(text, False)] == []


def test_the_tag_of_a_contrast_agent_makes_a_t1_a_candidate_unless_it_is_called_native() -> None:
    assert says_contrast_t1("t1_mprage_sag", contrast_agent=True)
    assert not says_contrast_t1("t1_mprage_sag nativ", contrast_agent=True)
    assert not says_contrast_t1("T2 tse", contrast_agent=True)


@pytest.mark.parametrize(
    ("tag", "given"),
    [
        *((text, True) for text in ("Gadovist", "7.5 ml Dotarem IV", "GADAVIST", "Applied", "unknown brand")),
        *((text, False) for text in ("NONE", "no", "N/A", "ohne KM", "Without contrast", "nativ", "0")),
        ("", None),
    ],
)
def test_the_tag_names_an_agent_denies_one_or_is_silent(tag: str, given: bool | None) -> None:
    assert agent_given(tag) is given


# the proposal

Change = Callable[[TinyExport], object]


@dataclass(frozen=True)
class Case:
    """What is changed in an export, and `role: how the note begins` of objects by their name."""

    expected: dict[str, tuple[str, str]]
    changes: tuple[Change, ...]
    options: dict[str, Any]

    def require(self, tmp_path: Path, volumes: Volumes = PAPER_VOLUMES) -> None:
        export = write_tiny_export(tmp_path, **self.options)
        for change in self.changes:
            change(export)
        rows = {row.uid: row for row in propose_map(read_tree(export.folder), volumes)}
        found = {name: rows[export.patient.uid(name)] for name in self.expected}
        assert {
            name: (row.role, row.note[: len(self.expected[name][1])]) for name, row in found.items()
        } == self.expected


def case(*changes: Change, options: dict[str, Any] | None = None, **expected: str) -> Case:
    parts = {name: text.partition(": ") for name, text in expected.items()}
    return Case({name: (role, note) for name, (role, _, note) in parts.items()}, changes, options or {})


def mr(*arguments: Any, **options: Any) -> Change:
    return lambda export: add_mr(export, *arguments, **options)


def dose(*arguments: Any, **options: Any) -> Change:
    return lambda export: add_dose(export, *arguments, **options)


def ct(*arguments: Any, **options: Any) -> Change:
    return lambda export: add_ct(export, *arguments, **options)


def plan(*arguments: Any, **options: Any) -> Change:
    return lambda export: add_plan(export, *arguments, **options)


def plan_says(**elements: object) -> Change:
    return lambda export: edit(export.plan_file or Path(), **elements)


def mri_says(**elements: object) -> Change:
    """The event's files with changed elements."""

    def change(export: TinyExport) -> None:
        for path in export.event_files:
            dataset = dcmread(path)
            for keyword, value in elements.items():
                setattr(dataset, keyword, value) if value is not None else delattr(dataset, keyword)
            dataset.save_as(path)

    return change


def dose_says(**elements: object) -> Change:
    return lambda export: edit(export.dose_file, **elements)


def no_dose(export: TinyExport) -> None:
    export.dose_file.unlink()


UNDATED = "?: no plan, dose or CT with a date: write which scan is post_op and which is event"
BETWEEN = "?: a scan between the dates of several plans: write which scan is post_op"
NO_CHOICE = "?: neither one dose of the plan nor all of its beams: keep"
REJECTED = "?: its RTPLAN is REJECTED: choose the dose of the plan that was delivered"
NO_TREATMENT = (
    "?: its RTPLAN is not for treatment (PlanIntent): choose the dose of the plan that was delivered"
)
MORE_PLANS = "a further RTPLAN of the patient has no RTDOSE: is the course complete? Keep as dose what was"
SEVERAL_PLANS = "?: doses of several plans: keep those of the course as dose, and write the same course"
LATEST = (
    "?: 2 contrast-enhanced T1 on the latest day, 9 day(s) before the planning of 2020-03-10: keep one as "
    "post_op"
)
SEVERAL = (
    "?: several contrast-enhanced T1 after the planning of 2020-03-10: keep as event that of the visit at "
    "which"
)
TWO_CTS = "?: 2 CTs may be the dose's: keep the one that it was planned on as planning_ct"
APART = {"shared_frame": False, "with_ct": True}

PROPOSED = {
    "a plain export": case(
        post_op="post_op: the latest contrast-enhanced T1, 9 day(s) before the planning of 2020-03-10",
        event="event: the only contrast-enhanced T1 after the planning of 2020-03-10",
        dose="dose: PLAN dose, the only one",
    ),
    "a scan on the day of the plan": case(options={"post_op_date": PLANNED}, post_op="post_op"),
    "an earlier scan": case(
        mr("preop", date(2020, 1, 5)), preop=": there is a later one before radiotherapy", post_op="post_op"
    ),
    "two scans of the latest day": case(mr("second", POST_OP), second=LATEST, post_op=LATEST),
    "several visits": case(mr("later", LATER), later=SEVERAL, event=SEVERAL, post_op="post_op"),
    # signs
    "the signs are named": case(
        post_op="post_op: the latest contrast-enhanced T1, 9 day(s) before the planning of "
        "2020-03-10; signs: description, "
        "contrast agent, echo time, order of dates",
    ),
    "a description alone and the dates": case(
        mri_says(ContrastBolusAgent=None, EchoTime=None, SeriesDescription="T1 KM"),
        event="event: the only contrast-enhanced T1 after the planning of "
        "2020-03-10; signs: description, order of dates",
    ),
    "no agent by its tag": case(
        mri_says(ContrastBolusAgent="NONE", SeriesDescription="T1 KM"),
        event="?: the only contrast-enhanced T1 after the planning of "
        "2020-03-10; signs: description, echo time, order of "
        "dates; against it: the contrast agent's tag says that none was given: look at it, and write event",
    ),
    "a T2 called T1": case(
        mri_says(EchoTime=98),
        event="?: the only contrast-enhanced T1 after the planning of "
        "2020-03-10; signs: description, contrast agent, "
        "order of dates; against it: an echo time of 98 ms",
    ),
    "a series date before the planning": case(
        mri_says(SeriesDate="20200302", AcquisitionDate="20200302"),
        event="?: the only contrast-enhanced T1 after the planning of "
        "2020-03-10; signs: description, contrast agent, echo "
        "time; against it: study and series date lie on two sides of the planning",
    ),
    "a series date of another day": case(
        mri_says(SeriesDate="20200905", AcquisitionDate="20200905"), post_op="post_op",
        event="event: the only contrast-enhanced T1 after the planning of "
        "2020-03-10; signs: description, contrast agent, "
        "echo time, order of dates; its series date lies 4 day(s) after its study date",
    ),
    **{
        f"a study date of {text}": case(
            mri_says(StudyDate=text),
            event="?: a contrast-enhanced T1 without a study date: write which scan is post_op and which is "
            "event; its study date cannot be true",
            post_op="?",
        )
        for text in ("19000101", "19791231", "20000101", "21400101")
    },
    "a plan of a date that cannot be": case(
        plan_says(RTPlanDate="19000101"), event="event: the only", post_op="post_op: the latest"
    ),
    "a fragment": case(mr("other", EVENT, slices=7), other=": fewer than 8 slices", event="event"),
    "another sequence": case(
        mr("other", EVENT, "T2 FLAIR"), other=": not called a contrast-enhanced T1", event="event"
    ),
    "no plan: the dose's study": case(options={"with_plan": False}, post_op="post_op", event="event"),
    "no plan, no dose: the CT's study": case(
        no_dose, options={"with_plan": False, "with_ct": True}, post_op="post_op", event="event"
    ),
    "no date of radiotherapy": case(no_dose, options={"with_plan": False}, post_op=UNDATED, event=UNDATED),
    "a scan between two plans": case(
        plan("plan2", SECOND_PLAN), dose("dose2", "PLAN", plan="plan2"), post_op=BETWEEN, event=BETWEEN
    ),
    "a later plan that no dose refers to": case(plan("other", SECOND_PLAN), event="event"),
    # doses
    "beams beside their plan's dose": case(
        *(dose(f"beam{k}", "BEAM", beam=k) for k in (1, 2)),
        dose="dose", beam1=": a part of the plan's dose", beam2="",
    ),
    "beams alone": case(
        no_dose, *(dose(f"beam{k}", "BEAM", beam=k) for k in (1, 2)),
        beam1="dose: one of 2 BEAM", beam2="dose",
    ),
    "one fraction": case(options={"summation_type": "FRACTION"}, dose="dose: FRACTION dose, the only one"),
    "two of the whole plan": case(dose("a", "PLAN"), a="?: 2 doses of the whole plan: keep one", dose="?"),
    "two fractions": case(no_dose, dose("a", "FRACTION"), dose("b", "FRACTION"), a=NO_CHOICE, b=NO_CHOICE),
    "beam and fraction": case(no_dose, dose("a", "FRACTION"), dose("b", "BEAM"), a=NO_CHOICE, b=NO_CHOICE),
    "a control point": case(no_dose, dose("a", "CONTROL_POINT"), a=NO_CHOICE),
    "two plans": case(dose("a", "PLAN", plan="other"), a=SEVERAL_PLANS, dose=SEVERAL_PLANS),
    "one sign alone": case(
        dose_says(FrameOfReferenceUID="2.25.98"), options={"with_plan": False},
        dose="?: PLAN dose, the only one; signs: summation type: look at it, and write dose if it is that",
    ),
    "a dose that names no plan": case(
        dose_says(ReferencedRTPlanSequence=None),
        dose="?: it names no RTPLAN; the only one of its frame of reference, study, date stands in plan_uid: "
        "write dose to confirm it",
    ),
    "a dose that names no plan, of another day": case(
        dose_says(ReferencedRTPlanSequence=None), plan_says(StudyDate="20200311", RTPlanDate="20200311"),
        dose="?: it names no RTPLAN; the only one of its frame of reference, study stands in plan_uid",
    ),
    "a dose that may be of two plans": case(
        dose_says(ReferencedRTPlanSequence=None), plan("boost"),
        dose="?: it names no RTPLAN: write the SOPInstanceUID of its plan into plan_uid, or fractions and",
    ),
    "a dose that may be of a plan elsewhere": case(
        dose_says(ReferencedRTPlanSequence=None), plan_says(FrameOfReferenceUID="2.25.98"),
        dose="?: it names no RTPLAN: write the SOPInstanceUID",
    ),
    # plans
    "a plan without a dose": case(plan("boost"), dose=f"?: {MORE_PLANS}", event="event"),
    "an unreadable plan": case(plan("other", **NO_PLAN_CONTENT), dose=f"?: {MORE_PLANS}"),
    "a rejected plan without a dose": case(plan("other", ApprovalStatus="REJECTED"), dose="dose"),
    **{
        f"a plan for {intent} without a dose": case(plan("other", PlanIntent=intent), dose="dose")
        for intent in ("VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE")
    },
    "the dose of a rejected plan": case(plan_says(ApprovalStatus="REJECTED"), dose=REJECTED),
    "an approved plan": case(plan_says(ApprovalStatus="APPROVED"), dose="dose: PLAN dose"),
    "an unapproved plan": case(plan_says(ApprovalStatus="UNAPPROVED"), dose="dose: PLAN dose"),
    "a plan that treats nobody": case(plan_says(PlanIntent="VERIFICATION"), dose=NO_TREATMENT),
    "all doubts together": case(
        plan_says(ApprovalStatus="REJECTED"), dose("again", "PLAN"), plan("boost"),
        dose=f"{REJECTED}; {MORE_PLANS} delivered; 2 doses of the whole plan: keep one as dose",
    ),
    "a dose that is not used anyway": case(dose("beam", "BEAM", beam=1), plan("boost"), beam=""),
    # the planning CT
    "a dose in the scan's own frame": case(options={"with_ct": True}, ct=""),
    "the CT that structures were drawn on": case(
        ct("diagnostic", "2.25.99"), ct("replanned"), options=APART,
        ct="planning_ct: the dose's CT: its structure set was drawn on it", diagnostic="", replanned="",
    ),
    "the CT in the dose's frame": case(
        ct("scout", slices=2), options={**APART, "with_struct": False},
        ct="planning_ct: the dose's CT: it shares the dose's frame of reference", scout="",
    ),
    "two CTs in the dose's frame": case(
        ct("second"), options={**APART, "with_struct": False}, ct=TWO_CTS, second=TWO_CTS
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROPOSED)
def test_roles_are_proposed_by_dates_and_references_and_never_by_a_guess(name: str, tmp_path: Path) -> None:
    PROPOSED[name].require(tmp_path)


FLAIR = mr("flair", EVENT, "T2 FLAIR", study="event")
SEVERAL_FLAIR = "?: 2 FLAIR: keep one of the study of event as event_flair"

FURTHER_MRIS = {
    "of the event's study": case(
        FLAIR, mr("adc", EVENT, "ep2d_ADC", study="event"), mr("t2", EVENT, "T2 TSE", study="event"),
        mr("old", POST_OP, "T2 FLAIR", study="post_op"),
        flair="event_flair: the only FLAIR of the study of event",
        adc="event_adc: the only ADC map of the study of event", old="", t2="",
    ),
    "two of one study": case(
        FLAIR, mr("again", EVENT, "FLAIR", study="event"), flair=SEVERAL_FLAIR, again=SEVERAL_FLAIR
    ),
    "of an undecided study": case(
        mr("later", LATER), mr("flair", LATER, "T2 FLAIR", study="later"), later="?",
        flair="?: 1 FLAIR: keep one of the study of event as event_flair",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FURTHER_MRIS)
def test_further_mris_are_proposed_beside_the_reference_of_their_session(name: str, tmp_path: Path) -> None:
    FURTHER_MRIS[name].require(tmp_path, MORE_VOLUMES)


def test_a_declaration_of_one_session_needs_no_date_and_one_without_dose_proposes_none(
    tmp_path: Path,
) -> None:
    def only_the_event(export: TinyExport) -> None:
        for file in export.post_op_files:
            file.unlink()

    alone = case(
        only_the_event, options={"with_plan": False}, event="event: the only contrast-enhanced T1", dose=""
    )
    alone.require(tmp_path, Volumes([PAPER_VOLUMES["event"]]))


def test_a_row_says_to_people_what_a_series_is(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    rows = {row.uid: row for row in propose_map(read_tree(tmp_path), PAPER_VOLUMES)}
    assert rows[export.patient.uid("post_op")] == ProposedRow(
        "ANON-17", "post_op", "2020-03-01", "MR", "T1 MPRAGE ANON-17", 12, export.patient.uid("post_op"),
        "the latest contrast-enhanced T1, 9 day(s) before the planning of "
        "2020-03-10; signs: description, contrast agent, "
        "echo time, order of dates", planned_on="2020-03-10", from_planning="9 day(s) before",
    )  # fmt: skip
    told = {uid: (row.date, row.planned_on, row.from_planning) for uid, row in rows.items()}
    assert told[export.patient.uid("event")] == ("2020-09-01", "2020-03-10", "175 day(s) after")
    assert {planned_on for _, planned_on, _ in told.values()} == {"2020-03-10"}


@pytest.mark.parametrize(
    ("day", "first", "last", "told"),
    [
        ("2020-03-10", "2020-03-10", "2020-03-10", ("2020-03-10", "same day")),
        ("2020-03-12", "2020-03-10", "2020-03-14", ("2020-03-10 to 2020-03-14", "2 day(s) after")),
        ("", "2020-03-10", "2020-03-10", ("2020-03-10", "")),
    ],
)
def test_a_row_stands_beside_the_planning(day: str, first: str, last: str, told: tuple[str, str]) -> None:
    row = ProposedRow("ANON-17", "", day, "MR", "", 12, "1.2", "")
    found = beside_planning(row, date.fromisoformat(first), date.fromisoformat(last))
    assert (found.planned_on, found.from_planning) == told


def row_named(export: TinyExport, uid: str) -> ProposedRow:
    (row,) = [row for row in propose_map(read_tree(export.folder), PAPER_VOLUMES) if row.uid == uid]
    return row


def test_the_only_plan_of_a_dose_that_names_none_is_offered(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    dose_says(ReferencedRTPlanSequence=None)(export)
    assert row_named(export, export.patient.uid("dose")).plan_uid == export.patient.uid("plan")


def test_slices_of_series_of_their_own_are_proposed_as_one_with_a_note(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    uids = [f"2.25.77{k:02d}" for k in range(len(export.event_files))]
    for path, uid in zip(export.event_files, uids, strict=True):
        edit(path, SeriesInstanceUID=uid)
    row = row_named(export, min(uids))
    assert (row.role, row.slices) == ("event", 15)
    assert "; 15 series of one slice each joined (same study, number, description" in row.note


def test_localizers_in_a_ct_are_offered_to_be_left_out(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_ct=True)
    assert row_named(export, export.patient.uid("ct")).leave_out == ""
    edit(export.ct_files[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    row = row_named(export, export.patient.uid("ct"))
    assert row.leave_out == "localizer"
    assert row.note == "1 of its 14 images are localizers, left out by leave_out"


def test_a_scan_without_a_date_leaves_every_scan_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    tree = read_tree(export.folder)
    undated = [
        replace(one, instances=tuple(replace(i, date=None) for i in one.instances))
        if one.uid == export.patient.uid("event")
        else one
        for one in tree.series
    ]
    rows = propose_map(replace(tree, series=tuple(undated)), PAPER_VOLUMES)
    found = {row.uid: row for row in rows}
    assert found[export.patient.uid("post_op")].role == "?"
    assert found[export.patient.uid("event")].date == ""
    assert "without a study date" in found[export.patient.uid("event")].note


def test_each_patient_is_proposed_alone_and_counted(tmp_path: Path) -> None:
    first, lacking = write_tiny_export(tmp_path, "A"), write_tiny_export(tmp_path, "C")
    write_tiny_export(tmp_path, "B")
    add_mr(first, "later", LATER)
    lacking.dose_file.unlink()
    rows = propose_map(read_tree(tmp_path), PAPER_VOLUMES)
    assert progress(rows, PAPER_VOLUMES) == {"undecided": 1, "complete": 1, "incomplete": 1}
    assert progress(rows, MORE_VOLUMES) == {"undecided": 1, "incomplete": 2}


# the file


def written_rows(
    path: Path, rows: Sequence[Mapping[str, str]], delimiter: str = ",", bom: bool = False
) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def proposed_map(tree: DicomTree, path: Path) -> list[dict[str, str]]:
    """The rows of a proposed map, for a test to edit and write again with `written_rows`."""
    write_map(path, propose_map(tree, PAPER_VOLUMES))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def row_of(rows: Sequence[dict[str, str]], role: str, patient_id: str = "ANON-17") -> dict[str, str]:
    (found,) = [row for row in rows if row["role"] == role and row["patient_id"] == patient_id]
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> DicomTree:
    export = tmp_path_factory.mktemp("export")
    write_tiny_export(export)
    write_tiny_export(export, "ANON-18", shared_frame=False, with_ct=True)
    return read_tree(export)


@pytest.fixture
def rows(tree: DicomTree, tmp_path: Path) -> list[dict[str, str]]:
    return proposed_map(tree, tmp_path / "map.csv")


def selected(tree: DicomTree, path: Path, volumes: Volumes = PAPER_VOLUMES) -> tuple[Selection, ...]:
    return select(tree, read_map(path, volumes), path, volumes)


def refusal(tree: DicomTree, path: Path) -> str:
    with pytest.raises(CohortError) as refused:
        selected(tree, path)
    return str(refused.value)


def test_a_proposed_map_is_private_and_read_back_as_it_was_proposed(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    assert stat.S_IMODE((tmp_path / "map.csv").stat().st_mode) == 0o600
    assert tuple(rows[0]) == COLUMNS
    first, second = selected(tree, tmp_path / "map.csv")
    assert (first.patient_id, first.line, second.line) == ("ANON-17", 2, 5)
    assert first.source is not None and second.source is not None
    assert first.source.reference.first.date == POST_OP
    assert [dose.instance.kind for dose in first.source.doses] == ["RTDOSE"]
    assert len(first.source.plans) == len(first.source.structures) == 1
    assert not first.source.planning_ct_named and second.source.planning_ct_named
    assert [ct.slices for ct in second.source.planning_cts] == [14]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [True, False])
def test_a_spreadsheets_dialect_is_understood(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path, delimiter: str, bom: bool
) -> None:
    row_of(rows, "dose").update(
        note='with , and ; and "quotes"',
        course="a",
        dose_of="fraction",
        fractions="30,0",
        prescription_gy="59,4",
    )
    path = written_rows(tmp_path / "map.csv", rows, delimiter, bom)
    first, second = selected(tree, path)
    assert first.source is not None and second.source is not None
    stated = first.source.doses[0].stated
    assert (stated.course, stated.dose_of, stated.fractions, stated.prescription_gy) == (
        *("a", "fraction", 30, 59.4),
    )


def test_patient_role_and_uid_are_enough_in_a_map_written_by_hand(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    short = [{name: row[name] for name in ("patient_id", "role", "uid")} for row in rows]
    row_of(short, "planning_ct", "ANON-18")["role"] = ""
    _, second = selected(tree, written_rows(tmp_path / "map.csv", short))
    assert second.source is not None
    assert not second.source.planning_ct_named and len(second.source.planning_cts) == 1


def test_every_declared_mri_is_a_role(tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path) -> None:
    extra = Volumes([*PAPER_VOLUMES, mri("event_flair", "FLAIR", "event")])
    row_of(rows, "event", "ANON-18")["role"] = "event_flair"
    path = written_rows(tmp_path / "map.csv", rows)
    first, second = selected(tree, path, extra)
    assert first.source is not None and set(first.source.images) == {"post_op", "event"}
    assert second.missing == ("event",)
    assert "the role is none of post_op, event, dose, planning_ct, ?" in refusal(tree, path)


def test_a_dose_needs_the_mri_into_whose_space_it_is_brought(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    optional = Volumes(spec.model_copy(update={"required": spec.name == "event"}) for spec in PAPER_VOLUMES)
    row_of(rows, "post_op")["role"] = ""
    row_of(rows, "post_op", "ANON-18")["role"] = ""
    row_of(rows, "dose", "ANON-18")["role"] = ""
    first, second = selected(tree, written_rows(tmp_path / "map.csv", rows), optional)
    assert (first.source, first.missing) == (None, ("post_op",))
    assert second.source is not None and set(second.source.images) == {"event"}


def test_the_user_may_say_that_the_course_is_complete_all_the_same(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path / "export")
    add_plan(export, "boost")
    tree = read_tree(export.folder)
    rows = proposed_map(tree, tmp_path / "map.csv")
    row_of(rows, "?")["role"] = "dose"
    (one,) = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert one.source is not None
    assert len(one.source.doses) == 1 and len(one.source.plans) == 2


AWKWARD = ["=HYPERLINK(1)", "+1", "-1", "@x", "'=1", "''", "17\u00a0", "\u00a017", "17\t", "a\rb", 'q"u,o;te']


def renamed(tree: DicomTree, patient_id: str, **changes: str) -> DicomTree:
    """The tree of one patient of another PatientID."""
    of_first = [one for one in tree.series if one.first.patient_id == "ANON-17"]
    series = tuple(
        replace(one, instances=tuple(replace(i, patient_id=patient_id, **changes) for i in one.instances))  # type: ignore[arg-type]
        for one in of_first
    )
    return replace(tree, series=series)


@pytest.mark.parametrize("patient_id", AWKWARD)
def test_whatever_a_patient_id_holds_the_proposed_map_is_read_back(
    tree: DicomTree, tmp_path: Path, patient_id: str
) -> None:
    of_one = renamed(tree, patient_id)
    proposed_map(of_one, tmp_path / "map.csv")
    (one,) = selected(of_one, tmp_path / "map.csv")
    assert one.patient_id == patient_id and one.source is not None


@pytest.mark.parametrize("text", ["=1+1", "+C AX T1", "-x", "@SUM(A1)", "\uff1d1+1"])
def test_no_cell_of_a_proposed_map_is_calculated_by_a_spreadsheet(
    tree: DicomTree, tmp_path: Path, text: str
) -> None:
    of_one = renamed(tree, text, series_description=text)
    rows = proposed_map(of_one, tmp_path / "map.csv")
    assert {row["patient_id"] for row in rows} == {row["description"] for row in rows} == {f"'{text}"}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in set("=+-@\t\r\n")]
    # saving a guarded cell from a spreadsheet may drop its guard
    saved = [row | {"patient_id": text, "role": "?"} for row in rows]
    (one,) = selected(of_one, written_rows(tmp_path / "map.csv", saved))
    assert one.patient_id == text


class Counted(tuple[Series, ...]):
    """A tree's series, counting how often they are walked through."""

    walks = 0

    def __iter__(self) -> Iterator[Series]:
        Counted.walks += 1
        return super().__iter__()


def walks(patients: int, known: bool) -> int:
    """How often selecting from a map of so many patients walks through the export's series."""
    one = Instance(Path("x"), "MR", "", "", "", "", date(2020, 1, 1), 1, "", "", contrast_agent=True)
    series: list[Series] = []
    rows: list[MapRow] = []
    for n in range(patients):
        patient = f"P{n}" if known else f"0P{n}"
        for kind, role in (("MR", "post_op"), ("MR", "event"), ("RTDOSE", "dose")):
            uid = f"{n}.{role}"
            found = replace(one, kind=kind, patient_id=f"P{n}", series_uid=uid, sop_instance_uid=uid)
            series.append(Series((found,)))
            rows.append(MapRow(len(rows) + 2, patient, role, uid if known else f"{uid}.9"))
    Counted.walks = 0
    tree = DicomTree(Path("x"), Counted(series), ())
    with contextlib.nullcontext() if known else pytest.raises(CohortError):
        select(tree, SeriesMap(tuple(rows), ()), Path("map.csv"), PAPER_VOLUMES)
    return Counted.walks


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_an_export_of_many_patients_is_not_searched_anew_for_each(known: bool) -> None:
    assert walks(30, known) == walks(2, known)


def test_empty_rows_and_columns_at_the_edge_of_a_spreadsheet_are_nothing(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    path = written_rows(tmp_path / "map.csv", rows)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([line + ",," for line in lines] + ["," * (len(COLUMNS) + 1)]) + "\n")
    assert len(selected(tree, path)) == 2


def test_undecided_and_missing_roles_are_the_patients_own_affair(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    row_of(rows, "event")["role"] = "?"
    row_of(rows, "dose", "ANON-18")["role"] = row_of(rows, "event", "ANON-18")["role"] = ""
    first, second = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert (first.source, first.undecided) == (None, (4,))
    assert (second.source, second.missing) == (None, ("event", "dose"))


@pytest.mark.parametrize(
    ("role", "changes", "message"),
    [
        ("event", {"role": "Event"}, "line 4: the role is none of post_op, event, dose, planning_ct, ?"),
        ("event", {"role": "dose"}, "line 4: the role dose needs an RTDOSE, and this is an MR series"),
        ("dose", {"role": "event"}, "line 3: the role event needs an MR series, and this is an RTDOSE"),
        ("event", {"role": "post_op"}, "lines 2, 4: the role post_op is given 2 times to one patient. Keep"),
        ("event", {"uid": "1.2.3"}, "line 4: the export holds no MR or CT series and no RTDOSE of this uid"),
        ("event", {"uid": ""}, "line 4: uid is empty. Fill it in"),
        ("event", {"patient_id": ""}, "line 4: patient_id is empty. Fill it in"),
        ("event", {"patient_id": "ANON-18"}, "line 4: the uid is another patient's than the patient_id says"),
        ("dose", {"patient_id": "ANON-18"}, "line 3: the uid is another patient's than the patient_id says"),
        ("event", {"patient_id": "17", "uid": "1.2"}, "line 4: the export holds neither this patient_id nor"),
        ("dose", {"dose_of": "plan"}, "line 3: dose_of is neither course nor fraction"),
        ("dose", {"fractions": "thirty"}, "line 3: fractions is no whole number from 1 to 999"),
        ("dose", {"fractions": "30.5"}, "line 3: fractions is no whole number from 1 to 999"),
        ("dose", {"fractions": "0"}, "line 3: fractions is no whole number from 1 to 999"),
        ("dose", {"prescription_gy": "60 Gy"}, "line 3: prescription_gy is no positive number of Gy"),
        ("dose", {"prescription_gy": "-60"}, "line 3: prescription_gy is no positive number of Gy"),
        ("dose", {"prescription_gy": "0"}, "line 3: prescription_gy is no positive number of Gy"),
        (
            "dose",
            {"plan_uid": "1.2.3"},
            "line 3: the export holds no RTPLAN of this plan_uid for this patient",
        ),
        ("event", {"leave_out": "slices"}, "line 4: leave_out is not localizer. Write that, or nothing"),
        (
            "dose",
            {"leave_out": "localizer"},
            "line 3: leave_out stands beside a dose. Write it into the rows",
        ),
        (
            "event",
            {"fractions": "30"},
            "line 4: course, dose_of, fractions, prescription_gy or plan_uid stands",
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_line_alone(
    tree: DicomTree,
    rows: list[dict[str, str]],
    tmp_path: Path,
    role: str,
    changes: dict[str, str],
    message: str,
) -> None:
    row_of(rows, role).update(changes)
    said = refusal(tree, written_rows(tmp_path / "map.csv", rows))
    assert said.startswith("map.csv: ") and f"\n  - {message}" in said
    assert "ANON" not in said and "2.25." not in said and "2020" not in said


def test_all_problems_of_a_map_are_listed_together_in_the_order_of_lines(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    rows.append(row_of(rows, "dose") | {"role": ""})
    row_of(rows, "event", "ANON-18")["uid"] = "1.2.3"
    row_of(rows, "post_op", "ANON-18")["role"] = "before"
    path = written_rows(tmp_path / "map.csv", rows)
    path.write_text(path.read_text() + "ANON-19,event\n")
    said = refusal(tree, path).splitlines()
    assert said[0] == "map.csv: 4 problem(s)"
    assert said[1] == "  - lines 3, 9: the same uid. Keep one of the rows"
    assert [line.split(":")[0] for line in said[2:]] == ["  - line 5", "  - line 8", "  - line 10"]
    assert f"2 cell(s) under {len(COLUMNS)} column(s)" in said[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "map.csv: is empty. The first line names the columns: patient_id, role, uid"),
        (b"patient_id,role\n", "column uid is missing. Add it"),
        (b"Meier,event,1.2\n", "column 1 is not known. Name it one of patient_id, role, uid, course"),
        (b"patient_id,role,uid,uid\n", "column uid occurs twice. Keep one of them"),
        (b'patient_id,role,uid\n"Meier,event,1.2\n', "map.csv: line 2 is not well formed"),
        (b"patient_id,role,uid\n", "map.csv: has no row. Remove it to have it proposed anew"),
        (b"patient_id,role,uid\nM\xfcller,event,1", "is not text in UTF-8. In a spreadsheet, save it as CSV"),
        (None, "map.csv: no such file. Name the table that you mean"),
    ],
)
def test_a_map_that_is_no_table_is_refused(
    tree: DicomTree, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "map.csv").write_bytes(content)
    said = refusal(tree, tmp_path / "map.csv")
    assert message in said and "Meier" not in said
    (tmp_path / "folder.csv").mkdir()
    assert "folder.csv: cannot be read (no regular file" in refusal(tree, tmp_path / "folder.csv")


# the clinical table


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_clinical_table_is_read_and_its_date_kept_apart(tmp_path: Path, delimiter: str) -> None:
    row = {"patient_id": "A", "label": "rice", "rt_end_date": "2020-04-20", "mgmt": "", "sex": "n/a"}
    table = read_clinical(written_rows(tmp_path / "clinical.tsv", [row], delimiter))
    assert table.rows["A"].columns == {"label": "rice"}
    assert table.rows["A"].rt_end == date(2020, 4, 20)
    assert table.present == ("label",)
    assert table.dates_radiotherapy


WORD = "holds a name, a date or more than 32 characters, and would reach the cohort. Write a short word"
IDENTIFYING = [
    *("Secret^Sibylle", "2020-03-01", "1.3.2020", "01/03/20", "20200301", "born 19570401", "3 Mar 2020"),
    *("1. März 2020", "seen by Dr Meier in the ward on Monday"),
]
CLINICAL_FAULTS = [
    ([{"label": "Meier"}], "line 2: label is none of recurrence, rice, n/a"),
    ([{"age_years": "Meier"}], "line 2: age_years is no number from 0 to 130"),
    ([{"rt_modality": "Meier"}], "line 2: rt_modality is none of photon, proton, ion, n/a"),
    ([{"rt_end_date": "20.04.2020"}], "line 2: rt_end_date is no ISO date (YYYY-MM-DD)"),
    ([{"rt_end_date": "2020-13-45"}], "line 2: rt_end_date is no ISO date (YYYY-MM-DD)"),
    ([{"rt_end_date": "1900-01-01"}], "line 2: rt_end_date cannot be true: too early, ahead"),
    ([{"rt_end_date": "2140-01-02"}], "line 2: rt_end_date cannot be true: too early, ahead"),
    ([{"patient_id": "", "label": "rice"}], "line 2: patient_id is empty"),
    ([{"label": "rice"}, {"label": "recurrence"}], "lines 2, 3: the same patient_id. Keep one row a patient"),
    ([{"lable": "Meier"}], "column 2 is not known. Name it one of patient_id, label, label_source"),
    *(
        ([{column: cell}], f"line 2: {column} {WORD}")
        for column in ("site", "sex", "mgmt", "idh")
        for cell in IDENTIFYING
    ),
]


@pytest.mark.parametrize(("rows", "message"), CLINICAL_FAULTS)
def test_a_clinical_table_that_the_cohort_would_refuse_is_refused_by_its_lines(
    tmp_path: Path, rows: list[dict[str, str]], message: str
) -> None:
    with pytest.raises(CohortError) as refused:
        read_clinical(written_rows(tmp_path / "clinical.csv", [{"patient_id": "A"} | row for row in rows]))
    said = str(refused.value)
    assert said.startswith(f"clinical.csv: 1 problem(s)\n  - {message}")
    assert "Meier" not in said and "20.04" not in said


@pytest.mark.parametrize(
    "cell", ["Ulm", "site 3", "unmethylated (12.5 %)", "IDH1 R132H", "IDH-wildtype", "1-2-3", "HD 2020", "m"]
)
def test_a_clinical_word_is_taken_as_it_is(tmp_path: Path, cell: str) -> None:
    table = read_clinical(written_rows(tmp_path / "clinical.csv", [{"patient_id": "A", "idh": cell}]))
    assert table.rows["A"].columns == {"idh": cell}
