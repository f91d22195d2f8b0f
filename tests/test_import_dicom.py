"""`ricenet import dicom`: from an export to a cohort that identifies nobody."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from cohorts import read_table
from dicom_trees import TinyExport, edit, write_tiny_export
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.importing import dicom_export
from ricenet.importing import import_subject as subject_module
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose_space import PlacedDose
from ricenet.importing.import_subject import SubjectWriter, write_raw_subject
from ricenet.importing.key_file import read_key
from ricenet.importing.selection import select
from ricenet.importing.series_map import read_map
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import read_json
from ricenet.volume import load_nifti, resample

PARAMS = Path(__file__).parents[1] / "params.yaml"
IDENTIFYING = "ANON|Secret|Sibylle|1957|2\\.25\\.|2020-|2020\\d{4}|MPRAGE|PTV|Phantom|\\.bin|ser7"
"""Of the tiny exports: name, ID, birth date, UIDs, dates, free texts, paths."""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS.read_text().replace("backend: processes", "backend: serial"))
    return file


@pytest.fixture
def export(tmp_path: Path) -> TinyExport:
    return write_tiny_export(tmp_path / "export")


Import = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, params: Path) -> Import:
    """Calls the command; `out`, `map_file` and `source` may be others than the usual ones."""

    def call(*options: str, out: str = "mine", map_file: str = "map.csv", source: str = "export") -> Result:
        paths = [str(tmp_path / source), str(tmp_path / out), "--map", str(tmp_path / map_file)]
        return CliRunner().invoke(app, ["import", "dicom", *paths, "--params", str(params), *options])

    return call


def edit_map(tmp_path: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = tmp_path / "map.csv"
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def give(patient: str, role: str, becomes: str) -> Callable[[list[dict[str, str]]], None]:
    def change(rows: list[dict[str, str]]) -> None:
        for row in rows:
            if row["patient_id"] == patient and row["role"] == role:
                row["role"] = becomes

    return change


def write_clinical(tmp_path: Path, *rows: str) -> str:
    path = tmp_path / "clinical.csv"
    path.write_text("patient_id,label,label_source,site,rt_end_date\n" + "\n".join(rows) + "\n")
    return str(path)


def import_table(cohort: Path) -> dict[str, tuple[str, str]]:
    _, *lines = (cohort / "import.tsv").read_text().splitlines()
    cells = [line.split("\t") for line in lines]
    return {subject: (status, reason) for subject, status, reason in cells}


def everything_in(folder: Path) -> str:
    """Names and contents of all files, those of compressed ones unpacked."""
    text = ""
    for path in folder.rglob("*"):
        text += f"{path.relative_to(folder)}\n"
        if path.is_file():
            content = path.read_bytes()
            text += (gzip.decompress(content) if path.suffix == ".gz" else content).decode("latin-1")
    return text


def test_the_first_call_proposes_a_map_and_imports_nothing(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    result = run()
    assert result.exit_code == 0
    assert "map.csv: a proposal for 1 patient(s); nothing is imported yet" in result.stdout
    assert "1 complete" in result.stdout and "0 undecided" in result.stdout
    assert (tmp_path / "map.csv").exists()
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "map.key.csv").exists()


def test_the_second_call_makes_a_cohort_that_passes_the_check(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    result = run()
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "1 patient(s): 1 imported, 0 excluded, 0 failed",
    )
    assert len(admit(check_cohort(tmp_path / "mine"), exclude_faulty=False).subjects) == 1
    assert import_table(tmp_path / "mine") == {"sub-001": ("imported", "n/a")}


def test_voxels_stay_where_they_were(export: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    run()
    raw = RawSubject(tmp_path / "mine", "sub-001")
    for written, original in (
        (raw.scan("post_op"), export.post_op),
        (raw.scan("event"), export.event),
        (raw.scan("dose"), export.dose),
    ):
        # on the grid that was exported; its outermost voxels may fall a rounding error outside
        at_the_same_places = resample(load_nifti(written), original.grid)
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(at_the_same_places.data[inner], original.data[inner], rtol=0, atol=1e-2)


def test_intervals_are_written_and_dates_are_not(export: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    clinical = write_clinical(tmp_path, "ANON-17,rice,biopsy,Ulm,2020-04-21")
    assert run("--clinical", clinical).exit_code == 0
    (row,) = read_table(tmp_path / "mine")
    assert row == {
        "participant_id": "sub-001",
        "label": "rice",
        "label_source": "biopsy",
        "subset": "n/a",
        "site": "Ulm",
        "days_post_op_to_event": "184",
        "days_planning_to_event": "175",
        "days_rt_end_to_event": "133",
    }


def test_without_a_clinical_table_labels_are_not_available(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    run()
    (row,) = read_table(tmp_path / "mine")
    assert (row["label"], row["label_source"], row["subset"]) == ("n/a", "n/a", "n/a")
    assert "days_rt_end_to_event" not in row


def test_labels_are_not_lost_by_an_import_without_their_table(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    run("--clinical", write_clinical(tmp_path, "ANON-17,rice,biopsy,Ulm,2020-04-21"))
    result = run()
    assert result.exit_code == 1 and "labels or subsets of 1 subject(s)" in result.output
    (row,) = read_table(tmp_path / "mine")
    assert row["label"] == "rice"


def test_nothing_that_identifies_a_patient_reaches_the_cohort_or_the_screen(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    faulty = write_tiny_export(tmp_path / "export", "ANON-18", units="RELATIVE")
    edit(faulty.plan_file or Path(), DoseReferenceSequence=None)
    (tmp_path / "export" / "ANON-18" / "letter to Secret^Sibylle.txt").write_text("Dear Sibylle")
    told = run().output
    result = run("--clinical", write_clinical(tmp_path, "ANON-17,rice,biopsy,Ulm,2020-04-21"))
    assert result.exit_code == 1
    assert import_table(tmp_path / "mine")["sub-002"][0] == "failed"
    cohort = everything_in(tmp_path / "mine")
    assert "184" in cohort
    assert re.findall(IDENTIFYING, cohort + told + result.output) == []


def test_the_key_alone_says_who_is_who_and_only_its_owner_may_read_it(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    run()
    key = tmp_path / "map.key.csv"
    assert read_key(key)["ANON-17"].participant_id == "sub-001"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (key, tmp_path / "map.csv")} == {0o600}


def test_a_key_of_another_name_is_used(export: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    run("--key", str(tmp_path / "safe" / "who.csv"))
    assert list(read_key(tmp_path / "safe" / "who.csv")) == ["ANON-17"]
    assert not (tmp_path / "map.key.csv").exists()


def test_a_second_import_keeps_what_is_unchanged(export: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    run()
    dose = RawSubject(tmp_path / "mine", "sub-001").scan("dose")
    before = dose.stat().st_ino
    assert "import: 1 of 1 subjects are unchanged and kept" in run().stderr
    assert dose.stat().st_ino == before
    edit_map(tmp_path, lambda rows: rows[1].update(prescription_gy="60"))
    assert "import: 0 of 1 subjects are unchanged and kept" in run().stderr
    assert dose.stat().st_ino != before


def test_a_changed_file_is_imported_again(export: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    run()
    edit(export.event_files[3], PatientComments="corrected")
    assert "import: 0 of 1 subjects are unchanged and kept" in run().stderr


def test_an_undecided_patient_waits_while_the_others_are_imported(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    run()
    edit_map(tmp_path, give("ANON-17", "event", "?"))
    result = run()
    assert result.exit_code == 1
    assert import_table(tmp_path / "mine")["sub-002"] == ("imported", "n/a")
    assert (
        "sub-001 (line 2 of map.csv): 1 row(s) of the map are undecided (lines 4). "
        "Write a role in place of each ?, or nothing where the row is not used"
    ) in result.stderr
    assert "error: 1 of 2 patient(s) could not be imported; the others are complete" in result.stderr


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (["event"], "no row of the map has the role event"),
        (["post_op", "event"], "no row of the map has the role post_op or event"),
        (["post_op", "event", "dose"], "no row of the map has a role"),
    ],
)
def test_a_patient_without_all_roles_is_left_out_and_listed(
    export: TinyExport, run: Import, tmp_path: Path, roles: list[str], reason: str
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    run()
    for role in roles:
        edit_map(tmp_path, give("ANON-17", role, ""))
    result = run()
    assert result.exit_code == 0
    assert import_table(tmp_path / "mine") == {
        "sub-001": ("excluded", reason),
        "sub-002": ("imported", "n/a"),
    }
    assert f"sub-001 (line 2 of map.csv): {reason}" in result.stderr


def test_files_that_cannot_be_used_are_listed_beside_the_map_and_counted(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    (tmp_path / "export" / "notes.txt").write_text("no image" * 99)
    result = run()
    listed = tmp_path / "map.files.csv"
    assert "1 file(s) of the export cannot be used; map.files.csv lists them" in result.stderr
    assert listed.read_text(encoding="utf-8-sig").splitlines()[1].startswith("notes.txt,no DICOM file")
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    (tmp_path / "export" / "notes.txt").unlink()
    run()
    assert listed.read_text(encoding="utf-8-sig") == "path,found,remedy\n"


def test_a_file_whose_name_is_not_utf_8_is_listed(export: TinyExport, run: Import, tmp_path: Path) -> None:
    name = os.fsdecode("Befund M\xfcller.txt".encode("latin-1"))
    (tmp_path / "export" / name).write_text("no image")
    assert run().exit_code == 0
    listed = (tmp_path / "map.files.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed[1].startswith("Befund M\\xfcller.txt,no DICOM file")


def test_a_file_name_that_a_spreadsheet_would_calculate_is_guarded(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    (tmp_path / "export" / "=1+1.txt").write_text("no image")
    run()
    listed = (tmp_path / "map.files.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed[1].startswith("'=1+1.txt,")


def test_a_patient_who_lacks_a_role_and_has_files_that_cannot_be_used_fails_and_says_so(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    for file in export.event_files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 4 // 5])
    run()
    result = run()
    assert result.exit_code == 1
    status, reason = import_table(tmp_path / "mine")["sub-001"]
    assert (status, reason) == (
        "failed",
        "no row of the map has the role event, and 15 file(s) of this patient cannot be used (*.files.csv "
        "beside the map lists them). Export them again and propose a map under another name, or remove the "
        "patient from the map",
    )
    assert f"sub-001 (line 2 of map.csv): {reason}" in result.stderr


@pytest.mark.parametrize("options", [{"map_file": "Meier/map.csv"}, {"out": "Meier/mine"}])
def test_a_place_that_cannot_be_written_is_told_without_its_path(
    export: TinyExport, run: Import, tmp_path: Path, options: dict[str, str]
) -> None:
    (tmp_path / "Meier").touch()
    run()
    result = run(**options)
    assert result.exit_code == 1
    assert re.search(
        r"error: (map.csv: cannot be written|mine: cannot be made) \((Not a directory|File exists)\). Mend",
        result.stderr,
    )
    assert "Meier" not in result.output and str(tmp_path) not in result.output


def test_a_map_or_an_export_that_may_not_be_looked_at_is_told_without_its_path(
    export: TinyExport, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(dicom_export.Path, "is_dir", closed)
        assert "error: export: cannot be opened (Permission denied). Mend" in run().stderr
    monkeypatch.setattr(dicom_export.Path, "exists", closed)
    assert "error: map.csv: cannot be looked for (Permission denied). Mend" in run().stderr


def test_of_an_unforeseen_error_the_screen_tells_kind_and_frames_alone(
    export: TinyExport, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError(str(export.event_files[0]))

    monkeypatch.setattr(dicom_export, "propose_map", broken)
    result = run()
    assert result.exit_code == 1
    assert "error: an unforeseen KeyError, a fault of the program. Report the lines above" in result.stderr
    assert "in broken" in result.stderr
    assert re.findall(IDENTIFYING, result.output) == []


def test_a_file_that_the_file_system_refuses_is_told_without_its_name(
    export: TinyExport, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/export/Secret^Sibylle.dcm")

    monkeypatch.setattr(dicom_export, "read_tree", closed)
    result = run()
    assert (result.exit_code, result.stderr) == (
        1,
        "error: a file or folder could not be read or written (Permission denied). "
        "Mend the cause, and try again\n",
    )


def test_patients_whom_one_source_does_not_know_are_counted(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    write_tiny_export(tmp_path / "export", "ANON-18")
    result = run("--clinical", write_clinical(tmp_path, "X,rice,biopsy,Ulm,", "Y,rice,biopsy,Ulm,"))
    assert "1 patient(s) of the export are not in the map, and are not imported" in result.stderr
    assert "2 patient(s) of the clinical table are not in the map" in result.stderr
    assert "1 patient(s) of the map are not in the clinical table" in result.stderr


def test_a_map_that_contradicts_the_export_imports_nothing(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    edit_map(tmp_path, lambda rows: rows[0].update(role="before"))
    result = run()
    assert result.exit_code == 1
    assert "error: map.csv: 1 problem(s)\n  - line 2: the role is none of" in result.stderr
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"source": "nowhere"}, "nowhere: no such folder. Name the folder of the DICOM export"),
        ({"out": "export/mine"}, "the cohort's folder and the export lie one inside the other"),
        ({"out": "."}, "the cohort's folder and the export lie one inside the other"),
        ({"out": "export"}, "the cohort's folder and the export lie one inside the other"),
        ({"map_file": "mine/map.csv"}, "the map map.csv identifies patients and would lie inside mine"),
        ({"out": "full"}, "full holds files, and is no cohort that ricenet import wrote"),
    ],
)
def test_unsafe_paths_are_refused_before_anything_is_read_or_written(
    export: TinyExport, run: Import, tmp_path: Path, paths: dict[str, str], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.nii.gz").touch()
    before = sorted(tmp_path.rglob("*"))
    result = run(**paths)
    assert result.exit_code == 1
    assert message in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mine/key.csv", "the key file key.csv identifies patients and would lie inside mine"),
        ("map.csv", "the map and the key file are the same file. Name two"),
    ],
)
def test_a_key_in_the_wrong_place_is_refused(
    export: TinyExport, run: Import, tmp_path: Path, key: str, message: str
) -> None:
    result = run("--key", str(tmp_path / key))
    assert result.exit_code == 1
    assert message in result.stderr


def test_an_export_without_images_and_dose_is_refused(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    for file in (*export.post_op_files, *export.event_files, export.dose_file):
        file.unlink()
    result = run()
    assert result.exit_code == 1
    assert "export: no MR or CT series and no RTDOSE in it. Name the folder of the DICOM" in result.stderr
    assert not (tmp_path / "map.csv").exists()


def test_the_workers_of_a_parallel_import_do_the_same(
    export: TinyExport, run: Import, tmp_path: Path, params: Path
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    run()
    run()
    serial = everything_in(tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine")
    params.write_text(PARAMS.read_text())
    assert run().exit_code == 0
    assert everything_in(tmp_path / "mine") == serial


# one patient


def source_of(export: TinyExport, tmp_path: Path, **roles: str) -> PatientSource:
    """The chosen objects of a tiny export. roles: of its series, by name, e.g. post_op="event"."""
    lines = ["patient_id,role,uid"]
    for name in ("post_op", "event", "dose"):
        lines.append(f"{export.patient.patient_id},{roles.get(name, name)},{export.patient.uid(name)}")
    path = tmp_path / "by-hand.csv"
    path.write_text("\n".join(lines) + "\n")
    (selection,) = select(read_tree(export.folder), read_map(path), path)
    assert selection.source is not None
    return selection.source


def refusal(source: PatientSource, tmp_path: Path, rt_end: date | None = None) -> str:
    with pytest.raises(SourceError) as refused:
        SubjectWriter(source, 7, rt_end)(RawSubject(tmp_path / "raw", "sub-001"))
    assert not (tmp_path / "raw").exists()
    assert not re.search(IDENTIFYING, str(refused.value))
    return str(refused.value)


def test_an_event_before_post_op_is_refused_in_days(export: TinyExport, tmp_path: Path) -> None:
    source = source_of(export, tmp_path, post_op="event", event="post_op")
    assert refusal(source, tmp_path).startswith("the event lies 184 day(s) before post_op. Choose a later")


def test_an_event_before_the_plan_is_refused_in_days(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path / "export", event_date=date(2020, 3, 4))
    message = refusal(source_of(export, tmp_path), tmp_path)
    assert message.startswith("the event lies 6 day(s) before the radiotherapy plan. Choose a later")


def test_an_event_before_the_end_of_radiotherapy_is_refused_in_days(
    export: TinyExport, tmp_path: Path
) -> None:
    message = refusal(source_of(export, tmp_path), tmp_path, rt_end=date(2020, 9, 11))
    assert message.startswith("the event lies 10 day(s) before the end of radiotherapy. Choose a later")


def test_a_post_op_after_the_end_of_radiotherapy_is_refused_in_days(
    export: TinyExport, tmp_path: Path
) -> None:
    message = refusal(source_of(export, tmp_path), tmp_path, rt_end=date(2020, 2, 20))
    assert message.startswith(
        "the scan post_op was taken 10 day(s) after the end of radiotherapy. Choose the"
    )


@pytest.mark.parametrize(("day", "accepted"), [(date(2020, 3, 24), True), (date(2020, 3, 25), False)])
def test_a_post_op_more_than_14_days_after_the_plan_is_refused(
    tmp_path: Path, day: date, accepted: bool
) -> None:
    source = source_of(write_tiny_export(tmp_path / "export", post_op_date=day), tmp_path)
    if accepted:
        assert write_raw_subject(source, RawSubject(tmp_path / "raw", "sub-001"), 7).planning_to_event == 175
    else:
        assert refusal(source, tmp_path).startswith(
            "the scan post_op was taken 15 day(s) after the radiotherapy plan, so during or after treatment; "
            "at most 14 are expected. Choose the scan between surgery and radiotherapy"
        )


@pytest.mark.parametrize("of", ["event", "dose", "plan"])
def test_objects_of_two_people_under_one_patient_id_are_refused(
    export: TinyExport, tmp_path: Path, of: str
) -> None:
    files = {"event": export.event_files, "dose": [export.dose_file], "plan": [export.plan_file or Path()]}
    for file in files[of]:
        edit(file, PatientName="Mueller^Hans", PatientBirthDate="19300101", PatientSex="M")
    message = refusal(source_of(export, tmp_path), tmp_path)
    assert message.startswith("objects of one PatientID, chosen together, state 2 different pairs of birth")


def test_objects_that_state_neither_birth_date_nor_sex_contradict_nobody(
    export: TinyExport, tmp_path: Path
) -> None:
    for file in export.event_files:
        edit(file, PatientBirthDate="", PatientSex="")
    write_raw_subject(source_of(export, tmp_path), RawSubject(tmp_path / "raw", "sub-001"), 7)


def test_scans_that_state_no_study_are_not_of_one(export: TinyExport, tmp_path: Path) -> None:
    for file in (*export.post_op_files, *export.event_files):
        edit(file, StudyInstanceUID=None)
    write_raw_subject(source_of(export, tmp_path), RawSubject(tmp_path / "raw", "sub-001"), 7)


def test_two_series_of_one_study_are_one_examination(export: TinyExport, tmp_path: Path) -> None:
    for file in export.event_files:
        edit(file, StudyInstanceUID=export.patient.uid("post_op-study"), StudyDate="20200301")
    assert refusal(source_of(export, tmp_path), tmp_path).startswith(
        "post_op and event are series of one study, so of one examination"
    )


def test_a_follow_up_that_was_registered_to_the_first_scan_is_taken(
    export: TinyExport, tmp_path: Path
) -> None:
    for file in export.event_files:
        edit(file, FrameOfReferenceUID=export.patient.uid("post_op-frame"))
    raw = RawSubject(tmp_path / "out", "sub-001")
    write_raw_subject(source_of(export, tmp_path), raw, seed=7)
    assert raw.scan("event").is_file()


def test_one_series_in_both_roles_is_refused(export: TinyExport, tmp_path: Path) -> None:
    source = source_of(export, tmp_path)
    twice = PatientSource(source.post_op, source.post_op, source.doses, source.plans, (), ())
    assert refusal(twice, tmp_path).startswith("post_op and event are the same series. Choose two scans in")


@pytest.mark.parametrize("role", ["post_op", "event"])
def test_a_scan_that_cannot_be_read_is_told_by_its_role(
    export: TinyExport, tmp_path: Path, role: str
) -> None:
    files = export.post_op_files if role == "post_op" else export.event_files
    files[5].unlink()
    raw = RawSubject(tmp_path / "raw", "sub-001")
    with pytest.raises(SourceError, match=f"the scan {role}: ") as refused:
        write_raw_subject(source_of(export, tmp_path), raw, 7)
    assert not re.search(IDENTIFYING, str(refused.value))


def test_missing_dates_leave_intervals_open(export: TinyExport, tmp_path: Path) -> None:
    for file in export.event_files:
        edit(file, StudyDate=None)
    columns = SubjectWriter(source_of(export, tmp_path), 7, date(2020, 4, 21))(
        RawSubject(tmp_path / "raw", "sub-001")
    )
    assert columns == {}


def test_the_planning_ct_is_written_beside_the_dose_where_one_was_needed(
    export: TinyExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def placed(course: object, source: object, post_op: object, seed: int) -> PlacedDose:
        return PlacedDose(export.dose, export.post_op, {"DoseUnits": "GY", "seed": seed})

    monkeypatch.setattr(subject_module, "place_dose", placed)
    raw = RawSubject(tmp_path / "raw", "sub-001")
    write_raw_subject(source_of(export, tmp_path), raw, 7)
    np.testing.assert_array_equal(load_nifti(raw.planning_ct).data, export.post_op.data)
    assert read_json(raw.dose_sidecar) == {"DoseUnits": "GY", "seed": 7}


def test_what_a_subject_depends_on_is_told_apart(export: TinyExport, tmp_path: Path) -> None:
    source = source_of(export, tmp_path)
    contents = [
        SubjectWriter(source, 7).content,
        SubjectWriter(source, 8).content,
        SubjectWriter(source, 7, date(2020, 4, 21)).content,
        SubjectWriter(replace(source, planning_ct_named=True), 7).content,
    ]
    assert contents[0] == SubjectWriter(source_of(export, tmp_path), 7).content
    assert len({str(content) for content in contents}) == 4
    export.event_files[0].unlink()
    assert SubjectWriter(source, 7).content != contents[0]
