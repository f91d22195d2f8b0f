"""The map: proposed by dates and references, never by a guess; read back strictly."""

from __future__ import annotations

import contextlib
import csv
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from dicom_trees import TinyExport, edit, tiny_ct, tiny_dose, tiny_event, write_tiny_export

from ricenet.importing.clinical import read_clinical
from ricenet.importing.contrast_t1 import says_contrast_t1
from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.proposal import progress, propose_map
from ricenet.importing.selection import Selection, select
from ricenet.importing.series_map import COLUMNS, MapRow, ProposedRow, SeriesMap, read_map, write_map
from ricenet.phantom.dicom.images import write_image_series
from ricenet.phantom.dicom.radiotherapy import write_rtdose, write_rtplan
from ricenet.runtime.errors import CohortError
from ricenet.volume import Volume

PLANNED = date(2020, 3, 10)


def add_mr(
    export: TinyExport, name: str, day: date, description: str = "CET1", slices: int | None = None
) -> str:
    """One more MR series in a study of its own; returns its uid."""
    patient = export.patient
    study = replace(patient.study("event", day), study_uid=patient.uid(f"{name}-study"))
    volume = tiny_event()
    if slices is not None:
        grid = replace(volume.grid, shape=(*volume.grid.shape[:2], slices))
        volume = Volume(volume.data[..., :slices], grid)
    write_image_series(
        volume,
        export.folder / patient.patient_id / name,
        study,
        modality="MR",
        series_uid=patient.uid(name),
        frame_of_reference_uid=patient.uid(f"{name}-frame"),
        description=description,
    )
    return patient.uid(name)


def add_dose(
    export: TinyExport, name: str, summation_type: str, plan: str = "plan", beam: int | None = None
) -> str:
    """One more RTDOSE; returns its uid. plan: that of the export, or of another name."""
    patient = export.patient
    write_rtdose(
        tiny_dose(20.0, export.rt_world_from_post_op_world),
        export.folder / patient.patient_id / f"{name}.dcm",
        patient.study("rt", PLANNED),
        sop_instance_uid=patient.uid(name),
        frame_of_reference_uid=export.rt_frame_uid,
        plan_uid=patient.uid(plan),
        summation_type=summation_type,
        beam_number=beam,
    )
    return patient.uid(name)


def add_ct(export: TinyExport, name: str, frame: str, slices: int = 14) -> str:
    """One more CT series; returns its uid."""
    ct, patient = tiny_ct(export.rt_world_from_post_op_world), export.patient
    write_image_series(
        Volume(ct.data[..., :slices], replace(ct.grid, shape=(*ct.grid.shape[:2], slices))),
        export.folder / patient.patient_id / name,
        patient.study("rt", PLANNED),
        modality="CT",
        series_uid=patient.uid(name),
        frame_of_reference_uid=frame,
        intercept=-1024.0,
    )
    return patient.uid(name)


def proposals(export: TinyExport) -> dict[str, ProposedRow]:
    return {row.uid: row for row in propose_map(read_tree(export.folder))}


def roles(export: TinyExport) -> dict[str, str]:
    return {uid: row.role for uid, row in proposals(export).items()}


@pytest.mark.parametrize(
    "description",
    [
        *(
            "CET1",
            "CET1 ax",
            "T1CE",
            "t1_mprage_sag_p2_iso_KM",
            "AX T1 +C",
            "T1 C+",
            "T1c",
            "T1w+Gd",
            "T1_GD",
        ),
        *("SAG 3D BRAVO +C", "MPRAGE post contrast", "T1 postop KM", "Ax T1 FLAIR C+", "T1 VIBE fs post"),
    ],
)
def test_series_called_contrast_enhanced_t1_are_candidates(description: str) -> None:
    assert says_contrast_t1(description, contrast_agent=False)


@pytest.mark.parametrize(
    "description",
    [
        *("T1", "T1 SPACE", "t1_tse_cor", "T1 post op", "T2 KM", "MR0T2FLAIR", "T2 FLAIR post Gd", ""),
        *("T1 nativ", "T1 pre contrast", "T1 ohne KM", "T1 C-", "T1 sub KM", "T1 dynamic KM", "T1map post"),
    ],
)
def test_series_called_anything_else_are_not(description: str) -> None:
    assert not says_contrast_t1(description, contrast_agent=False)


def test_the_tag_of_a_contrast_agent_makes_a_t1_a_candidate_unless_it_is_called_native() -> None:
    assert says_contrast_t1("t1_mprage_sag", contrast_agent=True)
    assert not says_contrast_t1("t1_mprage_sag nativ", contrast_agent=True)
    assert not says_contrast_t1("T2 tse", contrast_agent=True)


def test_a_plain_export_is_proposed_complete(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    patient = export.patient
    assert roles(export) == {
        patient.uid("post_op"): "post_op",
        patient.uid("event"): "event",
        patient.uid("dose"): "dose",
    }
    assert progress(proposals(export).values()) == {"complete": 1}


def test_a_row_tells_people_what_a_series_is(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    row = proposals(export)[export.patient.uid("post_op")]
    assert (row.patient_id, row.date, row.modality, row.slices) == ("ANON-17", "2020-03-01", "MR", 12)
    assert row.description == "T1 MPRAGE ANON-17"
    assert row.note == "the latest contrast-enhanced T1, 9 day(s) before the planning"


def test_a_scan_on_the_day_of_the_plan_is_post_op(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, post_op_date=PLANNED)
    assert roles(export)[export.patient.uid("post_op")] == "post_op"


def test_an_earlier_scan_before_radiotherapy_is_not_used(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    earlier = add_mr(export, "preop", date(2020, 1, 5))
    assert roles(export)[earlier] == ""
    assert roles(export)[export.patient.uid("post_op")] == "post_op"


def test_two_scans_of_the_latest_day_before_radiotherapy_are_both_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    second = add_mr(export, "second", date(2020, 3, 1))
    found = proposals(export)
    assert {found[uid].role for uid in (second, export.patient.uid("post_op"))} == {"?"}
    assert found[second].note == (
        "2 contrast-enhanced T1 on the latest day, 9 day(s) before the planning: keep one as post_op"
    )
    assert progress(found.values()) == {"undecided": 1}


def test_several_visits_after_radiotherapy_are_all_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    later = add_mr(export, "later", date(2021, 1, 1))
    found = proposals(export)
    for uid in (later, export.patient.uid("event")):
        assert found[uid].role == "?"
        assert found[uid].note == (
            "several scans after radiotherapy: the event is the visit at which the new lesion was first seen"
        )
    assert found[export.patient.uid("post_op")].role == "post_op"


@pytest.mark.parametrize(
    ("description", "slices", "note"),
    [
        ("CET1", 7, "fewer than 8 slices"),
        ("T2 FLAIR", None, "not called a contrast-enhanced T1"),
    ],
)
def test_what_is_no_contrast_enhanced_head_is_not_used_and_does_not_compete(
    tmp_path: Path, description: str, slices: int | None, note: str
) -> None:
    export = write_tiny_export(tmp_path)
    other = add_mr(export, "other", date(2020, 9, 1), description, slices)
    found = proposals(export)
    assert (found[other].role, found[other].note) == ("", note)
    assert found[export.patient.uid("event")].role == "event"


def test_without_a_plan_the_doses_study_dates_radiotherapy(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_plan=False)
    assert roles(export)[export.patient.uid("post_op")] == "post_op"
    assert roles(export)[export.patient.uid("event")] == "event"


def test_without_plan_and_dose_the_cts_study_dates_radiotherapy(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_plan=False, with_struct=False, with_ct=True)
    export.dose_file.unlink()
    found = proposals(export)
    assert found[export.patient.uid("post_op")].role == "post_op"
    assert progress(found.values()) == {"incomplete": 1}


def test_without_any_date_of_radiotherapy_every_scan_is_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_plan=False, with_struct=False)
    export.dose_file.unlink()
    found = proposals(export)
    assert {row.role for row in found.values()} == {"?"}
    assert {row.note for row in found.values()} == {
        "no plan, dose or CT with a date: write which scan is post_op and which is event"
    }


def test_a_scan_between_two_plans_leaves_every_scan_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    write_rtplan(
        tmp_path / "second.dcm",
        export.patient.study("rt", date(2020, 12, 1)),
        sop_instance_uid=export.patient.uid("plan2"),
        frame_of_reference_uid=export.rt_frame_uid,
        fractions=5,
        prescription_gy=25.0,
    )
    add_dose(export, "dose2", "PLAN", plan="plan2")
    found = proposals(export)
    for name in ("post_op", "event"):
        assert found[export.patient.uid(name)].role == "?"
        assert "a scan between the dates of several plans" in found[export.patient.uid(name)].note


def test_a_plan_that_no_dose_refers_to_does_not_date_radiotherapy(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    write_rtplan(
        tmp_path / "other.dcm",
        export.patient.study("rt", date(2020, 12, 1)),
        sop_instance_uid=export.patient.uid("other"),
        frame_of_reference_uid=export.rt_frame_uid,
        fractions=5,
        prescription_gy=25.0,
    )
    assert roles(export)[export.patient.uid("event")] == "event"


def test_a_scan_without_a_date_leaves_every_scan_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    tree = read_tree(export.folder)
    undated = [
        replace(one, instances=tuple(replace(i, date=None) for i in one.instances))
        if one.uid == export.patient.uid("event")
        else one
        for one in tree.series
    ]
    found = {row.uid: row for row in propose_map(replace(tree, series=tuple(undated)))}
    assert found[export.patient.uid("post_op")].role == "?"
    assert found[export.patient.uid("event")].date == ""
    assert "without a study date" in found[export.patient.uid("event")].note


def test_beams_beside_their_plans_dose_are_not_used(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    beams = [add_dose(export, f"beam{k}", "BEAM", beam=k) for k in (1, 2)]
    found = roles(export)
    assert found[export.patient.uid("dose")] == "dose"
    assert [found[uid] for uid in beams] == ["", ""]


def test_beams_alone_are_all_used(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    export.dose_file.unlink()
    beams = [add_dose(export, f"beam{k}", "BEAM", beam=k) for k in (1, 2)]
    assert [roles(export)[uid] for uid in beams] == ["dose", "dose"]


def test_the_dose_of_one_fraction_is_used(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, summation_type="FRACTION", dose_max_gy=2.05)
    assert roles(export)[export.patient.uid("dose")] == "dose"


@pytest.mark.parametrize(
    ("types", "note"),
    [
        (["PLAN", "PLAN"], "2 doses of the whole plan: keep one as dose"),
        (["FRACTION", "FRACTION"], "neither one dose of the plan nor all of its beams"),
        (["BEAM", "FRACTION"], "neither one dose of the plan nor all of its beams"),
        (["CONTROL_POINT"], "neither one dose of the plan nor all of its beams"),
    ],
)
def test_doses_of_which_a_choice_would_be_a_guess_are_undecided(
    tmp_path: Path, types: list[str], note: str
) -> None:
    export = write_tiny_export(tmp_path)
    export.dose_file.unlink()
    uids = [
        add_dose(export, f"d{k}", kind, beam=1 if kind == "BEAM" else None) for k, kind in enumerate(types)
    ]
    found = proposals(export)
    assert {found[uid].role for uid in uids} == {"?"}
    assert found[uids[0]].note.startswith(note)


def test_doses_of_several_plans_are_undecided_and_the_note_says_how_to_sum_them(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    boost = add_dose(export, "boost", "PLAN", plan="boost-plan")
    found = proposals(export)
    for uid in (boost, export.patient.uid("dose")):
        assert found[uid].role == "?"
        assert "write the same course in each if they were delivered as one" in found[uid].note


def add_plan(export: TinyExport, name: str, **elements: object) -> Path:
    """One more RTPLAN (14 Gy in 7 fractions); elements: changed by keyword."""
    path = write_rtplan(
        export.folder / f"{name}.dcm",
        export.patient.study("rt", PLANNED),
        sop_instance_uid=export.patient.uid(name),
        frame_of_reference_uid=export.rt_frame_uid,
        fractions=7,
        prescription_gy=14.0,
    )
    edit(path, **elements)
    return path


def test_a_plan_without_a_dose_leaves_open_whether_the_course_is_complete(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    add_plan(export, "boost")
    found = proposals(export)
    row = found[export.patient.uid("dose")]
    assert (row.role, row.note) == (
        "?",
        "a further RTPLAN of the patient has no RTDOSE: is the course complete? "
        "Keep as dose what was delivered",
    )
    assert found[export.patient.uid("event")].role == "event"
    assert progress(found.values()) == {"undecided": 1}


def test_the_user_may_say_that_the_course_is_complete_all_the_same(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path / "export")
    add_plan(export, "boost")
    tree = read_tree(export.folder)
    rows = proposed_map(tree, tmp_path / "map.csv")
    row_of(rows, "?")["role"] = "dose"
    (one,) = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert one.source is not None
    assert len(one.source.doses) == 1 and len(one.source.plans) == 2


@pytest.mark.parametrize(
    "elements",
    [
        {"ApprovalStatus": "REJECTED"},
        *({"PlanIntent": name} for name in ("VERIFICATION", "MACHINE_QA", "RESEARCH", "SERVICE")),
    ],
    ids=lambda elements: "".join(elements.values()),
)
def test_a_plan_that_treats_nobody_does_not_make_a_course_incomplete(
    tmp_path: Path, elements: dict[str, object]
) -> None:
    export = write_tiny_export(tmp_path)
    add_plan(export, "other", **elements)
    assert roles(export)[export.patient.uid("dose")] == "dose"


def test_a_further_plan_that_cannot_be_read_may_be_a_part_of_the_course(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    empty = {"FractionGroupSequence": None, "DoseReferenceSequence": None, "BeamSequence": None}
    add_plan(export, "other", **empty)
    assert roles(export)[export.patient.uid("dose")] == "?"


@pytest.mark.parametrize(
    ("status", "role"), [("REJECTED", "?"), ("APPROVED", "dose"), ("UNAPPROVED", "dose")]
)
def test_the_dose_of_a_rejected_plan_is_undecided(tmp_path: Path, status: str, role: str) -> None:
    export = write_tiny_export(tmp_path)
    edit(export.plan_file or Path(), ApprovalStatus=status)
    row = proposals(export)[export.patient.uid("dose")]
    assert row.role == role
    rejected = "its RTPLAN is REJECTED: choose the dose of the plan that was delivered"
    assert (row.note == rejected) == (role == "?")


def test_the_dose_of_a_plan_that_treats_nobody_is_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    edit(export.plan_file or Path(), PlanIntent="VERIFICATION")
    row = proposals(export)[export.patient.uid("dose")]
    assert (row.role, row.note) == (
        "?",
        "its RTPLAN is not for treatment (PlanIntent): choose the dose of the plan that was delivered",
    )


def test_all_doubts_about_a_dose_are_told_together(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    edit(export.plan_file or Path(), ApprovalStatus="REJECTED")
    add_dose(export, "again", "PLAN")
    add_plan(export, "boost")
    note = proposals(export)[export.patient.uid("dose")].note
    assert note.startswith("its RTPLAN is REJECTED: choose the dose")
    assert "; a further RTPLAN of the patient has no RTDOSE: is" in note
    assert note.endswith("; 2 doses of the whole plan: keep one as dose")


def test_a_dose_that_is_not_used_anyway_raises_no_doubt(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    beam = add_dose(export, "beam", "BEAM", beam=1)
    add_plan(export, "boost")
    assert roles(export)[beam] == ""


def test_a_dose_in_the_scans_own_frame_needs_no_ct(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_ct=True)
    assert roles(export)[export.patient.uid("ct")] == ""


def test_the_ct_that_the_plans_structures_were_drawn_on_is_proposed(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, shared_frame=False, with_ct=True)
    diagnostic = add_ct(export, "diagnostic", export.patient.uid("diagnostic-frame"))
    replanned = add_ct(export, "replanned", export.rt_frame_uid)
    found = proposals(export)
    assert found[export.patient.uid("ct")].role == "planning_ct"
    assert found[export.patient.uid("ct")].note == "the dose's CT: its structure set was drawn on it"
    assert (found[diagnostic].role, found[replanned].role) == ("", "")


def test_without_structures_the_ct_in_the_doses_frame_is_proposed(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, shared_frame=False, with_ct=True, with_struct=False)
    scout = add_ct(export, "scout", export.rt_frame_uid, slices=2)
    found = proposals(export)
    assert found[export.patient.uid("ct")].role == "planning_ct"
    assert found[export.patient.uid("ct")].note == "the dose's CT: it shares the dose's frame of reference"
    assert found[scout].role == ""


def test_two_cts_in_the_doses_frame_are_undecided(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, shared_frame=False, with_ct=True, with_struct=False)
    second = add_ct(export, "second", export.rt_frame_uid)
    found = proposals(export)
    assert {found[second].role, found[export.patient.uid("ct")].role} == {"?"}
    assert "2 CTs may be the dose's" in found[second].note


def test_each_patient_is_proposed_alone(tmp_path: Path) -> None:
    first = write_tiny_export(tmp_path, "A")
    write_tiny_export(tmp_path, "B")
    add_mr(first, "later", date(2021, 1, 1))
    assert progress(propose_map(read_tree(tmp_path))) == {"undecided": 1, "complete": 1}


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
    write_map(path, propose_map(tree))
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


def selected(tree: DicomTree, path: Path) -> tuple[Selection, ...]:
    return select(tree, read_map(path), path)


def refusal(tree: DicomTree, rows: Sequence[Mapping[str, str]], tmp_path: Path) -> str:
    path = written_rows(tmp_path / "map.csv", rows)
    with pytest.raises(CohortError) as refused:
        selected(tree, path)
    return str(refused.value)


def test_only_its_owner_may_read_a_proposed_map(tree: DicomTree, tmp_path: Path) -> None:
    write_map(tmp_path / "map.csv", propose_map(tree))
    assert stat.S_IMODE((tmp_path / "map.csv").stat().st_mode) == 0o600


def test_a_proposed_map_is_read_back_as_it_was_proposed(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    assert tuple(rows[0]) == COLUMNS
    first, second = selected(tree, tmp_path / "map.csv")
    assert (first.patient_id, first.line, second.line) == ("ANON-17", 2, 5)
    assert first.source is not None and second.source is not None
    assert first.source.post_op.first.date == date(2020, 3, 1)
    assert [dose.instance.kind for dose in first.source.doses] == ["RTDOSE"]
    assert len(first.source.plans) == len(first.source.structures) == 1
    assert [ct.slices for ct in second.source.planning_cts] == [14]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [True, False])
def test_a_spreadsheets_dialect_is_understood(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path, delimiter: str, bom: bool
) -> None:
    row_of(rows, "dose")["note"] = 'with , and ; and "quotes"'
    path = written_rows(tmp_path / "map.csv", rows, delimiter, bom)
    assert all(one.source is not None for one in selected(tree, path))


def test_patient_role_and_uid_are_enough_in_a_map_written_by_hand(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    short = [{name: row[name] for name in ("patient_id", "role", "uid")} for row in rows]
    path = written_rows(tmp_path / "map.csv", short)
    assert all(one.source is not None for one in selected(tree, path))


def test_a_planning_ct_that_the_map_names_is_known_as_such(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    first, second = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert first.source is not None and second.source is not None
    assert not first.source.planning_ct_named
    assert second.source.planning_ct_named and len(second.source.planning_cts) == 1
    row_of(rows, "planning_ct", "ANON-18")["role"] = ""
    _, without = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert without.source is not None
    assert not without.source.planning_ct_named and len(without.source.planning_cts) == 1


AWKWARD = ["=HYPERLINK(1)", "+1", "-1", "@x", "'=1", "''", "17\u00a0", "\u00a017", "17\t", "a\rb", 'q"u,o;te']


def renamed(tree: DicomTree, patient_id: str) -> DicomTree:
    """The tree of one patient of another PatientID."""
    of_first = [one for one in tree.series if one.first.patient_id == "ANON-17"]
    series = tuple(
        replace(one, instances=tuple(replace(i, patient_id=patient_id) for i in one.instances))
        for one in of_first
    )
    return replace(tree, series=series)


@pytest.mark.parametrize("patient_id", AWKWARD)
def test_whatever_a_patient_id_holds_the_proposed_map_is_read_back(
    tree: DicomTree, tmp_path: Path, patient_id: str
) -> None:
    of_one = renamed(tree, patient_id)
    write_map(tmp_path / "map.csv", propose_map(of_one))
    (one,) = selected(of_one, tmp_path / "map.csv")
    assert one.patient_id == patient_id and one.source is not None


@pytest.mark.parametrize("text", ["=1+1", "+C AX T1", "-x", "@SUM(A1)", "\uff1d1+1"])
def test_no_cell_of_a_proposed_map_is_calculated_by_a_spreadsheet(
    tree: DicomTree, tmp_path: Path, text: str
) -> None:
    of_one = renamed(tree, text)
    series = tuple(
        replace(one, instances=tuple(replace(i, series_description=text) for i in one.instances))
        for one in of_one.series
    )
    rows = proposed_map(replace(of_one, series=series), tmp_path / "map.csv")
    assert {row["patient_id"] for row in rows} == {row["description"] for row in rows} == {f"'{text}"}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in set("=+-@\t\r\n")]


def test_an_apostrophe_that_a_spreadsheet_kept_to_itself_makes_no_difference(
    tree: DicomTree, tmp_path: Path
) -> None:
    """Saving a guarded cell from a spreadsheet may drop its guard."""
    of_one = renamed(tree, "=17")
    rows = [row | {"patient_id": "=17"} for row in proposed_map(of_one, tmp_path / "map.csv")]
    (one,) = selected(of_one, written_rows(tmp_path / "map.csv", rows))
    assert one.source is not None


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
            rows.append(MapRow(len(rows) + 2, patient, role, uid if known else f"{uid}.9"))  # type: ignore[arg-type]
    Counted.walks = 0
    tree = DicomTree(Path("x"), Counted(series), ())
    with contextlib.nullcontext() if known else pytest.raises(CohortError):
        select(tree, SeriesMap(tuple(rows), ()), Path("map.csv"))
    return Counted.walks


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_an_export_of_many_patients_is_not_searched_anew_for_each(known: bool) -> None:
    assert walks(30, known) == walks(2, known)


def test_what_is_stated_of_a_dose_reaches_it(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    row_of(rows, "dose").update(course="a", dose_of="fraction", fractions="30", prescription_gy="59,4")
    source = selected(tree, written_rows(tmp_path / "map.csv", rows, ";"))[0].source
    assert source is not None
    (dose,) = source.doses
    assert (dose.course, dose.dose_of, dose.fractions, dose.prescription_gy) == ("a", "fraction", 30, 59.4)


def test_empty_rows_and_columns_at_the_edge_of_a_spreadsheet_are_nothing(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    path = written_rows(tmp_path / "map.csv", rows)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([line + ",," for line in lines] + ["," * (len(COLUMNS) + 1)]) + "\n")
    assert len(selected(tree, path)) == 2


def test_an_undecided_row_leaves_its_patient_undecided(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    row_of(rows, "event")["role"] = "?"
    first, second = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert (first.source, first.undecided) == (None, (4,))
    assert second.source is not None


def test_a_missing_role_is_told(tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path) -> None:
    row_of(rows, "dose")["role"] = ""
    row_of(rows, "event")["role"] = ""
    first, _ = selected(tree, written_rows(tmp_path / "map.csv", rows))
    assert (first.source, first.missing) == (None, ("event", "dose"))


@pytest.mark.parametrize(
    ("role", "changes", "message"),
    [
        ("event", {"role": "Event"}, "line 4: the role is none of post_op, event, dose, planning_ct, ?"),
        ("event", {"role": "dose"}, "line 4: the role dose needs an RTDOSE, and this is an MR series"),
        ("dose", {"role": "event"}, "line 3: the role event needs an MR series, and this is an RTDOSE"),
        ("event", {"uid": "1.2.3"}, "line 4: the export holds no MR or CT series and no RTDOSE of this uid"),
        ("event", {"uid": ""}, "line 4: uid is empty. Fill it in"),
        ("event", {"patient_id": ""}, "line 4: patient_id is empty. Fill it in"),
        ("event", {"patient_id": "ANON-18"}, "line 4: the uid is another patient's than the patient_id says"),
        ("dose", {"patient_id": "ANON-18"}, "line 3: the uid is another patient's than the patient_id says"),
        (
            "event",
            {"patient_id": "17", "uid": "1.2"},
            "line 4: the export holds neither this patient_id nor this uid",
        ),
        ("dose", {"dose_of": "plan"}, "line 3: dose_of is neither course nor fraction"),
        ("dose", {"fractions": "thirty"}, "line 3: fractions is no whole number from 1 to 999"),
        ("dose", {"fractions": "0"}, "line 3: fractions is no whole number from 1 to 999"),
        ("dose", {"prescription_gy": "60 Gy"}, "line 3: prescription_gy is no positive number of Gy"),
        ("dose", {"prescription_gy": "-60"}, "line 3: prescription_gy is no positive number of Gy"),
        ("dose", {"prescription_gy": "0"}, "line 3: prescription_gy is no positive number of Gy"),
        (
            "event",
            {"fractions": "30"},
            "line 4: course, dose_of, fractions or prescription_gy stands beside the role event",
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
    told = refusal(tree, rows, tmp_path)
    assert told.startswith("map.csv: ") and f"\n  - {message}" in told
    assert "ANON" not in told and "2.25." not in told and "2020" not in told


def test_a_role_that_a_patient_has_twice_is_refused(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    row_of(rows, "event")["role"] = "post_op"
    assert "  - lines 2, 4: the role post_op is given 2 times to one patient. Keep it in one row" in refusal(
        tree, rows, tmp_path
    )


def test_a_uid_that_is_listed_twice_is_refused(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    rows.append(row_of(rows, "dose"))
    assert "  - lines 3, 9: the same uid. Keep one of the rows" in refusal(tree, rows, tmp_path)


def test_all_problems_of_a_map_are_told_together_in_the_order_of_lines(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    row_of(rows, "event", "ANON-18")["uid"] = "1.2.3"
    row_of(rows, "post_op", "ANON-18")["role"] = "before"
    row_of(rows, "dose")["fractions"] = "x"
    told = refusal(tree, rows, tmp_path).splitlines()
    assert told[0] == "map.csv: 3 problem(s)"
    assert [line.split(":")[0] for line in told[1:]] == ["  - line 3", "  - line 5", "  - line 8"]


def test_a_row_of_the_wrong_length_is_refused(
    tree: DicomTree, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    path = written_rows(tmp_path / "map.csv", rows)
    path.write_text(path.read_text() + "ANON-19,event\n")
    with pytest.raises(CohortError, match=r"line 9: 2 cell\(s\) under 12 column\(s\)"):
        selected(tree, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "map.csv: is empty. The first line names the columns: patient_id, role, uid"),
        ("patient_id,role\n", "column uid is missing. Add it"),
        ("Meier,event,1.2\n", "column 1 is not known. Name it one of patient_id, role, uid, course"),
        ("patient_id,role,uid,uid\n", "column uid occurs twice. Keep one of them"),
        ('patient_id,role,uid\n"Meier,event,1.2\n', "map.csv: line 2 is not well formed"),
        ("patient_id,role,uid\n", "map.csv: has no row. Remove it to have it proposed anew"),
    ],
)
def test_a_map_that_is_no_table_is_refused(tree: DicomTree, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(CohortError) as refused:
        selected(tree, path)
    assert message in str(refused.value)
    assert "Meier" not in str(refused.value)


def test_a_map_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_bytes("patient_id,role,uid\nMüller,event,1".encode("cp1252"))
    with pytest.raises(CohortError, match=r"is not text in UTF-8. In a spreadsheet, save it as CSV UTF-8"):
        read_map(tmp_path / "map.csv")


def test_a_map_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"map.csv: no such file"):
        read_map(tmp_path / "map.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CohortError, match=r"folder.csv: cannot be read \(Is a directory\)"):
        read_map(tmp_path / "folder.csv")


# the clinical table


def clinical_refusal(tmp_path: Path, rows: Sequence[Mapping[str, str]]) -> str:
    with pytest.raises(CohortError) as refused:
        read_clinical(written_rows(tmp_path / "clinical.csv", rows))
    return str(refused.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_clinical_table_is_read_and_its_date_kept_apart(tmp_path: Path, delimiter: str) -> None:
    row = {"patient_id": "A", "label": "rice", "rt_end_date": "2020-04-20", "mgmt": "", "sex": "n/a"}
    table = read_clinical(written_rows(tmp_path / "clinical.tsv", [row], delimiter))
    assert table.rows["A"].columns == {"label": "rice"}
    assert table.rows["A"].rt_end == date(2020, 4, 20)
    assert table.present == ("label",)
    assert table.dates_radiotherapy


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"label": "Meier"}, "line 2: label is none of recurrence, rice, n/a"),
        ({"age_years": "Meier"}, "line 2: age_years is no number from 0 to 130"),
        ({"rt_end_date": "20.04.2020"}, "line 2: rt_end_date is no ISO date (YYYY-MM-DD)"),
        ({"rt_end_date": "2020-13-45"}, "line 2: rt_end_date is no ISO date (YYYY-MM-DD)"),
        ({"patient_id": "", "label": "rice"}, "line 2: patient_id is empty"),
    ],
)
def test_a_clinical_cell_that_the_cohort_would_refuse_is_told_by_its_line(
    tmp_path: Path, cells: dict[str, str], message: str
) -> None:
    told = clinical_refusal(tmp_path, [{"patient_id": "A"} | cells])
    assert told.startswith(f"clinical.csv: 1 problem(s)\n  - {message}")
    assert "Meier" not in told and "20.04" not in told


@pytest.mark.parametrize("column", ["site", "sex", "mgmt", "idh"])
@pytest.mark.parametrize(
    "cell",
    [
        *("Secret^Sibylle", "2020-03-01", "1.3.2020", "01/03/20", "20200301", "born 19570401", "3 Mar 2020"),
        *("1. März 2020", "seen by Dr Meier in the ward on Monday"),
    ],
)
def test_a_clinical_word_that_may_identify_is_refused(tmp_path: Path, column: str, cell: str) -> None:
    told = clinical_refusal(tmp_path, [{"patient_id": "A", column: cell}])
    assert told == (
        f"clinical.csv: 1 problem(s)\n  - line 2: {column} holds a name, a date or more than 32 characters, "
        "and would reach the cohort. Write a short word"
    )


@pytest.mark.parametrize(
    "cell", ["Ulm", "site 3", "unmethylated (12.5 %)", "IDH1 R132H", "IDH-wildtype", "1-2-3", "HD 2020", "m"]
)
def test_a_clinical_word_is_taken_as_it_is(tmp_path: Path, cell: str) -> None:
    table = read_clinical(written_rows(tmp_path / "clinical.csv", [{"patient_id": "A", "idh": cell}]))
    assert table.rows["A"].columns == {"idh": cell}


def test_a_patient_is_listed_once_in_the_clinical_table(tmp_path: Path) -> None:
    rows = [{"patient_id": "A", "label": label} for label in ("rice", "recurrence")]
    assert "  - lines 2, 3: the same patient_id. Keep one row a patient" in clinical_refusal(tmp_path, rows)


def test_an_unknown_clinical_column_is_refused_by_its_position(tmp_path: Path) -> None:
    told = clinical_refusal(tmp_path, [{"patient_id": "A", "lable": "rice"}])
    assert "column 2 is not known. Name it one of patient_id, label, label_source" in told
