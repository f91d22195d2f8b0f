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
from cohorts import change_voxels, read_table
from dicom_trees import TinyExport, edit, write_tiny_export
from pydicom import dcmread
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.importing import dicom_export
from ricenet.importing import import_subject as subject_module
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose.course_dose import CourseDose
from ricenet.importing.import_subject import SubjectWriter
from ricenet.importing.key_file import read_key
from ricenet.importing.selection import select
from ricenet.importing.series_map import read_map
from ricenet.importing.sources import PatientSource
from ricenet.runtime.errors import SourceError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
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


@pytest.fixture
def mapped(export: TinyExport, run: Import) -> TinyExport:
    """An export whose map was proposed by a first call."""
    assert run().exit_code == 0
    return export


Row = dict[str, str]


def edit_map(tmp_path: Path, change: Callable[[list[Row]], None]) -> None:
    path = tmp_path / "map.csv"
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def give(patient: str, role: str, becomes: str) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            if row["patient_id"] == patient and row["role"] == role:
                row["role"] = becomes

    return change


def write_clinical(
    tmp_path: Path, *rows: str, header: str = "patient_id,label,label_source,site,rt_end_date"
) -> str:
    path = tmp_path / "clinical.csv"
    path.write_text(f"{header}\n" + "\n".join(rows) + "\n")
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


def test_the_first_call_proposes_a_map_and_the_second_makes_a_cohort_that_passes_the_check(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    first = run()
    assert first.exit_code == 0
    assert "map.csv: a proposal for 1 patient(s); nothing is imported yet" in first.stdout
    assert "1 complete: post_op, event, dose are proposed" in first.stdout
    assert "0 undecided" in first.stdout
    assert (tmp_path / "map.csv").exists()
    assert not (tmp_path / "mine").exists() and not (tmp_path / "map.key.csv").exists()
    second = run()
    assert second.exit_code == 0
    assert second.stdout.startswith("1 patient(s): 1 imported, 0 excluded, 0 failed\n")
    assert len(admit(check_cohort(tmp_path / "mine"), exclude_faulty=False).subjects) == 1
    # a dose of another patient is not taken for the one that was placed over this scan
    raw = RawSubject(tmp_path / "mine", "sub-001")
    kept = raw.scan("dose").read_bytes()
    change_voxels(raw.scan("dose"), lambda values: values * np.float32(0.98))
    (problem,) = check_cohort(tmp_path / "mine").problems
    assert "is not the one that the import placed over the other" in problem.found
    raw.scan("dose").write_bytes(kept)
    assert import_table(tmp_path / "mine") == {"sub-001": ("imported", "n/a")}
    # the key alone says who is who, and only its owner may read it
    key = tmp_path / "map.key.csv"
    assert read_key(key)["ANON-17"].participant_id == "sub-001"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (key, tmp_path / "map.csv")} == {0o600}
    # nor does the cohort, whose heads have faces, lie open
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "mine", *(tmp_path / "mine").rglob("*")]
    }
    assert modes == {0o600, 0o700}


def test_voxels_stay_where_they_were(mapped: TinyExport, run: Import, tmp_path: Path) -> None:
    run()
    raw = RawSubject(tmp_path / "mine", "sub-001")
    for name, original in (("post_op", mapped.post_op), ("event", mapped.event), ("dose", mapped.dose)):
        # on the grid that was exported; its outermost voxels may fall a rounding error outside
        at_the_same_places = resample(load_nifti(raw.scan(name)), original.grid)
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(at_the_same_places.data[inner], original.data[inner], rtol=0, atol=1e-2)


def test_intervals_and_radiation_are_written_and_dates_are_not(
    mapped: TinyExport, run: Import, tmp_path: Path
) -> None:
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
        "rt_modality": "photon",
    }
    # labels are not lost by an import without their table
    result = run()
    assert result.exit_code == 1 and "labels or subsets of 1 subject(s)" in result.output
    assert read_table(tmp_path / "mine")[0]["label"] == "rice"


def test_without_a_clinical_table_labels_are_not_available(
    mapped: TinyExport, run: Import, tmp_path: Path
) -> None:
    run()
    (row,) = read_table(tmp_path / "mine")
    assert (row["label"], row["label_source"], row["subset"]) == ("n/a", "n/a", "n/a")
    assert "days_rt_end_to_event" not in row


def test_further_declared_volumes_are_mapped_and_imported_where_they_are(
    export: TinyExport, run: Import, params: Path, tmp_path: Path
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    for number, path in enumerate(export.event_files):
        copy = path.with_name(f"flair{number}")
        shutil.copy(path, copy)
        edit(
            copy, SOPInstanceUID=f"2.25.8.{number}", SeriesInstanceUID="2.25.8", SeriesDescription="T2 FLAIR",
            ContrastBolusAgent="", EchoTime="120",
        )  # fmt: skip
    flair = "  - {name: event_flair, kind: mri, session: event, suffix: FLAIR, title: FLAIR, required: false}"
    declared = re.sub(r"(?m)^volumes:.*$", rf"\g<0>\n{flair}", params.read_text())
    params.write_text(declared)
    assert "2 complete: post_op, event, dose are proposed" in run().stdout
    assert run().exit_code == 0
    written = [path.name for path in (tmp_path / "mine").rglob("*FLAIR.nii.gz")]
    assert written == ["sub-001_ses-event_FLAIR.nii.gz"]


def test_nothing_that_identifies_a_patient_reaches_the_cohort_or_the_screen(
    export: TinyExport, run: Import, tmp_path: Path
) -> None:
    faulty = write_tiny_export(tmp_path / "export", "ANON-18", units="RELATIVE")
    edit(faulty.plan_file or Path(), DoseReferenceSequence=None)
    (tmp_path / "export" / "ANON-18" / "letter to Secret^Sibylle.txt").write_text("Dear Sibylle")
    said = run().output
    result = run("--clinical", write_clinical(tmp_path, "ANON-17,rice,biopsy,Ulm,2020-04-21"))
    assert result.exit_code == 1
    assert import_table(tmp_path / "mine")["sub-002"][0] == "failed"
    cohort = everything_in(tmp_path / "mine")
    assert "184" in cohort
    assert re.findall(IDENTIFYING, cohort + said + result.output) == []


def test_a_second_import_keeps_what_is_unchanged(mapped: TinyExport, run: Import, tmp_path: Path) -> None:
    run("--key", str(tmp_path / "safe" / "who.csv"))
    assert list(read_key(tmp_path / "safe" / "who.csv")) == ["ANON-17"]
    assert not (tmp_path / "map.key.csv").exists()

    def kept() -> bool:
        result = run("--key", str(tmp_path / "safe" / "who.csv"))
        (number,) = re.findall("import: ([01]) of 1 subjects are unchanged and kept", result.stderr)
        return bool(int(number))

    assert kept()
    edit_map(tmp_path, lambda rows: rows[1].update(prescription_gy="60"))
    assert not kept()
    edit(mapped.event_files[3], PatientComments="corrected")
    assert not kept()


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
def test_a_patient_without_all_roles_is_excluded_and_listed(
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
    # a name that is no UTF-8, and one that a spreadsheet would calculate
    names = {os.fsdecode("Befund M\xfcller.txt".encode("latin-1")): "Befund M\\xfcller.txt", "=1": "'=1"}
    for name in names:
        (tmp_path / "export" / name).write_text("no image" * 99)
    result = run()
    listed = tmp_path / "map.files.csv"
    assert "2 file(s) of the export cannot be used; map.files.csv lists them" in result.stderr
    lines = listed.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert all(any(line.startswith(f"{name},no DICOM file") for line in lines) for name in names.values())
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    for name in names:
        (tmp_path / "export" / name).unlink()
    run()
    assert listed.read_text(encoding="utf-8-sig") == "path,found,remedy\n"


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
def test_a_place_that_cannot_be_written_is_reported_without_its_path(
    mapped: TinyExport, run: Import, tmp_path: Path, options: dict[str, str]
) -> None:
    (tmp_path / "Meier").touch()
    result = run(**options)
    assert result.exit_code == 1
    assert re.search(
        r"error: (map.csv: cannot be written|mine: cannot be made) \((Not a directory|File exists)\). Mend",
        result.stderr,
    )
    assert "Meier" not in result.output and str(tmp_path) not in result.output


SECRET = "/export/Secret^Sibylle.dcm"


def closed(*_: object) -> bool:
    raise PermissionError(13, "Permission denied", SECRET)


def broken(*_: object) -> None:
    raise KeyError(SECRET)


@pytest.mark.parametrize(
    ("what", "fails", "message"),
    [
        ("Path.is_dir", closed, "error: export: cannot be opened (Permission denied). Mend"),
        ("Path.exists", closed, "error: map.csv: cannot be looked for (Permission denied). Mend"),
        (
            "read_tree",
            closed,
            "error: a file or folder could not be read or written (Permission denied).",
        ),
        ("propose_map", broken, "error: an unforeseen KeyError, a fault of the program. Report the lines"),
    ],
)
def test_errors_of_the_file_system_and_of_the_program_name_nobody(
    export: TinyExport,
    run: Import,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    fails: Callable[..., object],
    message: str,
) -> None:
    target, _, name = what.rpartition(".")
    with monkeypatch.context() as patched:
        patched.setattr(getattr(dicom_export, target) if target else dicom_export, name, fails)
        result = run()
    assert result.exit_code == 1 and message in result.stderr
    assert ("in broken" in result.stderr) == (fails is broken)
    assert re.findall(IDENTIFYING, result.output) == []


def test_patients_whom_one_source_does_not_know_are_counted(
    mapped: TinyExport, run: Import, tmp_path: Path
) -> None:
    write_tiny_export(tmp_path / "export", "ANON-18")
    table = write_clinical(tmp_path, "X,rice,biopsy,Ulm,", "Y,rice,biopsy,Ulm,")
    result = run("--clinical", table, "--unmatched-ok")
    assert result.exit_code == 0
    assert "1 patient(s) of the export are not in the map, and are not imported" in result.stderr
    assert "2 patient(s) of the clinical table are not in the map" in result.stderr
    assert "1 patient(s) of the map are not in the clinical table" in result.stderr


LOOKALIKES = [
    ("14629", "0014629", "lacks 2 leading zero(s)"),
    ("14629.0", "14629", "ends in .0"),
    ("14629.0", "0014629", "ends in .0"),
    ("gbm-7", "GBM-7", "differs in case or in blanks"),
    ("sub-014629", "0014629", "differs in signs, zeros, case or what stands before it"),
    ("GBM 7", "GBM_007", "differs in signs, zeros, case or what stands before it"),
    ("1.23457E+11", "123456789012", "was turned into a rounded number"),
    ("X17", "0014629", None),
]


@pytest.mark.parametrize(("given", "patient", "how"), LOOKALIKES)
def test_a_clinical_table_that_names_nobody_or_a_lookalike_labels_nobody_in_silence(
    run: Import, tmp_path: Path, given: str, patient: str, how: str | None
) -> None:
    write_tiny_export(tmp_path / "export", patient)
    assert run().exit_code == 0
    table = write_clinical(tmp_path, "Z99,rice,biopsy,Ulm,", f"{given},rice,biopsy,Ulm,")
    refused = run("--clinical", table)
    pair = f"line 3 of clinical.csv may be line 2 of map.csv: its patient_id {how}"
    nobody = "not one of its 2 patient_id(s) is in map.csv"
    assert refused.exit_code == 1 and not (tmp_path / "mine").exists()
    assert f"error: clinical.csv: 1 problem(s)\n  - {pair if how else nobody}\n" in refused.stderr
    assert patient not in refused.output and given not in refused.output
    told = run("--clinical", table, "--unmatched-ok")
    assert told.exit_code == 0, told.output
    assert read_table(tmp_path / "mine")[0]["label"] == "n/a"


def test_a_lookalike_of_somebody_who_has_a_row_is_nobody(run: Import, tmp_path: Path) -> None:
    # 14629 and 0014629 are two patients of this hospital
    write_tiny_export(tmp_path / "export", "0014629")
    assert run().exit_code == 0
    result = run("--clinical", write_clinical(tmp_path, "0014629,rice,biopsy,Ulm,", "14629,rice,biopsy,Ulm,"))
    assert result.exit_code == 0, result.output
    assert read_table(tmp_path / "mine")[0]["label"] == "rice"


def test_a_map_that_contradicts_the_export_imports_nothing(
    mapped: TinyExport, run: Import, tmp_path: Path
) -> None:
    edit_map(tmp_path, lambda rows: rows[0].update(role="before"))
    result = run()
    assert result.exit_code == 1
    assert "error: map.csv: 1 problem(s)\n  - line 2: the role is none of" in result.stderr
    assert not (tmp_path / "mine").exists()


INSIDE = "the cohort's folder and the files to be imported lie one inside the other. Name a folder"


@pytest.mark.parametrize(
    ("paths", "key", "message"),
    [
        ({"source": "nowhere"}, "", "nowhere: no such folder. Name the folder of the DICOM export"),
        ({"out": "export/mine"}, "", INSIDE),
        ({"out": "."}, "", INSIDE),
        ({"out": "export"}, "", INSIDE),
        ({"map_file": "mine/map.csv"}, "", "the map map.csv identifies patients and would lie inside mine"),
        ({"out": "full"}, "", "full holds files, and is no cohort that ricenet import wrote"),
        ({}, "mine/key.csv", "the key file key.csv identifies patients and would lie inside mine"),
        ({}, "map.csv", "the map and the key file are the same file. Name two"),
        ({"source": "circle"}, "", "circle: "),
        ({"out": "circle"}, "", "circle: "),
        ({"map_file": "circle"}, "", "circle: "),
        ({}, "circle", "circle: "),
    ],
)
def test_unsafe_paths_are_refused_before_anything_is_read_or_written(
    export: TinyExport, run: Import, tmp_path: Path, paths: dict[str, str], key: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.nii.gz").touch()
    (tmp_path / "circle").symlink_to("circle")
    before = sorted(tmp_path.rglob("*"))
    result = run(*(["--key", str(tmp_path / key)] if key else []), **paths)
    assert result.exit_code == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


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
    tree = read_tree(export.folder)
    (selection,) = select(tree, read_map(path, PAPER_VOLUMES), path, PAPER_VOLUMES)
    assert selection.source is not None
    return selection.source


def swapped(source: PatientSource) -> PatientSource:
    images = source.images
    return replace(source, images={"post_op": images["event"], "event": images["post_op"]})


def twice(source: PatientSource) -> PatientSource:
    return replace(source, images=dict.fromkeys(("post_op", "event"), source.images["event"]))


def another_person(*names: str) -> Callable[[TinyExport], None]:
    def change(export: TinyExport) -> None:
        files = {
            "event": export.event_files,
            "dose": [export.dose_file],
            "plan": [export.plan_file or Path()],
        }
        for file in (file for name in names for file in files[name]):
            edit(file, PatientName="Mueller^Hans", PatientBirthDate="19300101", PatientSex="M")

    return change


def of_one_study(export: TinyExport) -> None:
    for file in export.event_files:
        edit(file, StudyInstanceUID=export.patient.uid("post_op-study"), StudyDate="20200301")


def radiating(kind: str) -> Callable[[TinyExport], None]:
    """An edit after which the treatment beams are of another kind; ions have a sequence of their own."""

    def change(export: TinyExport) -> None:
        plan = dcmread(export.plan_file or Path())
        for beam in plan.BeamSequence:
            beam.RadiationType = kind
        if kind in ("PROTON", "ION"):
            plan.IonBeamSequence = plan.BeamSequence
            del plan.BeamSequence
        plan.save_as(export.plan_file)

    return change


def lose_slice(name: str) -> Callable[[TinyExport], None]:
    return lambda export: getattr(export, f"{name}_files")[5].unlink()


def nothing(_: TinyExport) -> None:
    pass


TWO_PEOPLE = "objects of one PatientID, chosen together, state 2 different pairs of birth date"

Refused = tuple[
    dict[str, object],
    Callable[[TinyExport], None],
    Callable[[PatientSource], PatientSource],
    dict[str, object],
    str,
]
REFUSED: dict[str, Refused] = {
    "an event before post_op": (
        {}, nothing, swapped, {}, r"scan event lies 184 day\(s\) before post_op. Choose a later"
    ),
    "an event before the plan": (
        {"event_date": date(2020, 3, 4)}, nothing, replace, {},
        r"scan event lies 6 day\(s\) before the radiotherapy plan",
    ),
    "an event before the end of radiotherapy": (
        {}, nothing, replace, {"rt_end": date(2020, 9, 11)}, r"10 day\(s\) before the end of radiotherapy"
    ),
    "a post_op after the end of radiotherapy": (
        {}, nothing, replace, {"rt_end": date(2020, 2, 20)},
        r"scan post_op was taken 10 day\(s\) after the end of radiotherapy.*at most 0 are.*Choose the scan",
    ),
    "a post_op more than 14 days after the plan": (
        {"post_op_date": date(2020, 3, 25)}, nothing, replace, {},
        r"15 day\(s\) after the radiotherapy plan, so during or after treatment; at most 14 are expected",
    ),
    "an end of radiotherapy before its plan": (
        {}, nothing, replace, {"rt_end": date(2020, 3, 8)},
        r"end of radiotherapy lies 2 day\(s\) before its plan. Correct rt_end_date",
    ),
    "another radiation than stated": (
        {}, radiating("PROTON"), replace, {"rt_modality": "photon"},
        "the clinical table says rt_modality photon, the plan's beams are of proton. Correct",
    ),
    **{
        f"another person's {name}": ({}, another_person(name), replace, {}, TWO_PEOPLE)
        for name in ("event", "dose", "plan")
    },
    "two series of one study": (
        {}, of_one_study, replace, {}, "post_op and event are series of one study, so of one examination"
    ),
    "one series in both roles": ({}, nothing, twice, {}, "post_op and event are the same series. Choose two"),
    **{
        f"an incomplete {name}": ({}, lose_slice(name), replace, {}, f"the scan {name}: ")
        for name in ("post_op", "event")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_patients_course_is_refused_without_a_name(name: str, tmp_path: Path) -> None:
    options, change, choose, stated, message = REFUSED[name]
    export = write_tiny_export(tmp_path / "export", **options)  # type: ignore[arg-type]
    change(export)
    source = choose(source_of(export, tmp_path))
    with pytest.raises(SourceError, match=message) as refused:
        SubjectWriter(source, 7, **stated)(RawSubject(tmp_path / "raw", "sub-001"))  # type: ignore[arg-type]
    assert not re.search(IDENTIFYING, str(refused.value))


def without(**elements: object) -> Callable[[TinyExport], None]:
    """An edit of the event's files."""

    def change(export: TinyExport) -> None:
        for file in export.event_files:
            edit(file, **elements)

    return change


ACCEPTED: dict[str, tuple[dict[str, object], Callable[[TinyExport], None], dict[str, str]]] = {
    "a post_op 14 days after the plan": (
        {"post_op_date": date(2020, 3, 24)}, nothing,
        {"days_post_op_to_event": "161", "days_planning_to_event": "175", "days_rt_end_to_event": "133"},
    ),
    "scans without birth date and sex": ({}, without(PatientBirthDate="", PatientSex=""), {}),
    "scans without a study": ({}, without(StudyInstanceUID=None), {}),
    "a follow-up registered to the first scan": (
        {}, lambda e: without(FrameOfReferenceUID=e.patient.uid("post_op-frame"))(e), {}
    ),
    "an event without a date": ({}, without(StudyDate=None), {"days_planning_to_event": ""}),
    **{
        f"an event dated {text}": (
            {}, without(StudyDate=text),
            {"days_post_op_to_event": "", "days_planning_to_event": "", "days_rt_end_to_event": ""},
        )
        for text in ("19000101", "19700101", "20000101", "29990101")
    },
    "an event on the day of the plan": (
        {"event_date": date(2020, 3, 10), "rt_end": None},
        nothing, {"days_post_op_to_event": "9", "days_planning_to_event": ""},
    ),
    "protons": ({}, radiating("PROTON"), {"rt_modality": "proton"}),
    "ions": ({}, radiating("ION"), {"rt_modality": "ion"}),
    "electrons": ({}, radiating("ELECTRON"), {"rt_modality": ""}),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_unusual_but_sound_is_written(name: str, tmp_path: Path) -> None:
    given, change, expected = ACCEPTED[name]
    options = dict(given)
    rt_end = options.pop("rt_end", date(2020, 4, 21))
    export = write_tiny_export(tmp_path / "export", **options)  # type: ignore[arg-type]
    change(export)
    raw = RawSubject(tmp_path / "raw", "sub-001")
    columns = SubjectWriter(source_of(export, tmp_path), 7, rt_end)(raw)  # type: ignore[arg-type]
    assert {name: columns.get(name, "") for name in expected} == expected
    assert raw.scan("event").is_file()


def decisions_on(scan: Path) -> str:
    sidecar = scan.with_name(scan.name.replace(".nii.gz", ".json"))
    return " ".join(read_json(sidecar)["Decisions"]) if sidecar.exists() else ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nothing, ""),
        (without(StudyDate="19000101"), "Of the scan: its study date cannot be true."),
        (
            without(SeriesDate="20200903", AcquisitionDate="20200903"),
            "Of the scan: its series date lies 2 day(s) after its study date.",
        ),
        (
            lambda e: edit(e.plan_file or Path(), RTPlanDate="20200401"),
            "The plan's date, which counts, lies 22 day(s) after its study's.",
        ),
    ],
)
def test_doubts_on_dates_are_written_beside_the_event_without_a_date(
    export: TinyExport, tmp_path: Path, change: Callable[[TinyExport], None], said: str
) -> None:
    change(export)
    raw = RawSubject(tmp_path / "raw", "sub-001")
    SubjectWriter(source_of(export, tmp_path), 7)(raw)
    assert decisions_on(raw.scan("event")) == said
    assert decisions_on(raw.scan("post_op")) == ""


def test_the_clinical_tables_radiation_counts_where_no_plan_says(export: TinyExport, tmp_path: Path) -> None:
    radiating("ELECTRON")(export)
    writer = SubjectWriter(source_of(export, tmp_path), 7, rt_modality="proton")
    assert writer(RawSubject(tmp_path / "raw", "sub-001"))["rt_modality"] == "proton"


def test_a_declaration_without_dose_imports_mris_alone(export: TinyExport, tmp_path: Path) -> None:
    volumes = Volumes(PAPER_VOLUMES.mris)
    source = replace(source_of(export, tmp_path), volumes=volumes, doses=())
    raw = RawSubject(tmp_path / "raw", "sub-001", volumes)
    assert SubjectWriter(source, 7)(raw) == {"days_post_op_to_event": "184"}
    assert len(list((tmp_path / "raw").rglob("*.nii.gz"))) == 2
    assert not (tmp_path / "raw/sub-001/ses-postop/rt").exists()


def test_the_planning_ct_is_written_beside_the_dose_where_one_was_needed(
    export: TinyExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def placed(course: CourseDose, source: object, mri: object, seed: int) -> CourseDose:
        return replace(course, planning_ct=export.post_op, placement={"Method": "given", "Seed": seed})

    monkeypatch.setattr(subject_module, "place_dose", placed)
    raw = RawSubject(tmp_path / "raw", "sub-001")
    SubjectWriter(source_of(export, tmp_path), 7)(raw)
    np.testing.assert_array_equal(load_nifti(raw.planning_ct).data, export.post_op.data)
    assert '"Seed": 7' in raw.dose_sidecar.read_text()


def test_what_a_subject_depends_on_makes_a_difference(
    export: TinyExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(export, tmp_path)
    flair = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="F", required=False)
    writers = [
        SubjectWriter(source, 7),
        SubjectWriter(source, 8),
        SubjectWriter(source, 7, date(2020, 4, 21)),
        SubjectWriter(source, 7, rt_modality="photon"),
        SubjectWriter(replace(source, planning_ct_named=True), 7),
        SubjectWriter(replace(source, volumes=Volumes([*PAPER_VOLUMES, flair])), 7),
    ]
    contents = [writer.content for writer in writers]
    assert contents[0] == SubjectWriter(source_of(export, tmp_path), 7).content
    monkeypatch.setattr(subject_module, "code_of", lambda _: "newer")
    contents.append(writers[0].content)
    export.event_files[0].unlink()
    contents.append(writers[0].content)
    assert len({str(content) for content in contents}) == len(contents)
