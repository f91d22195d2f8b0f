"""CFB-GBM: which patients its tables offer, what their weak labels are, and which files are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohorts import change_voxels
from collection_trees import (
    CFB_FILES,
    DOSE_GRID,
    IMPORT,
    MRI_GRID,
    TARGET_MM,
    ball,
    cfb_patient,
    write_cfb_patient,
    write_cfb_tables,
)
from typer.testing import CliRunner

from ricenet.cohort.checks import check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.importing.collections.cfb_gbm import (
    CfbEvent,
    cfb_candidates,
    choose_event,
    import_cfb_gbm,
    weak_label,
)
from ricenet.importing.collections.cfb_gbm_files import (
    CfbFiles,
    find_files,
    patient_folders,
    write_cfb_subject,
)
from ricenet.importing.collections.cfb_gbm_tables import CfbPatient, newest_tables, read_tables
from ricenet.importing.collections.collection import Exclusion, Where
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

SAMPLES = Path(os.environ.get("RICENET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))
TABLES = SAMPLES / "cfb_gbm_tables"
needs_tables = pytest.mark.skipif(not TABLES.is_dir(), reason=f"RICENET_SAMPLES: no {TABLES.name}")

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)


def patient_of(tmp_path: Path, **described: object) -> CfbPatient:
    tables = write_cfb_tables(tmp_path / "tables", [cfb_patient(7, **described)])  # type: ignore[arg-type]
    return read_tables(tables).patients[0]


def event_of(patient: CfbPatient, follow_up: int | None = None) -> CfbEvent | str:
    """The event, or why there is none."""
    try:
        return choose_event(patient, follow_up, PAPER_VOLUMES)
    except Exclusion as exclusion:
        return str(exclusion)


# --- tables


@needs_tables
def test_the_real_tables_offer_144_patients_with_dose_and_two_scans() -> None:
    tables = read_tables(TABLES)
    events = [event_of(patient) for patient in tables.patients]
    eligible = [event for event in events if isinstance(event, CfbEvent)]
    assert len(tables.patients) == 264
    assert len(eligible) == 144
    assert Counter(event.follow_up for event in eligible) == {1: 140, 2: 4}
    assert Counter(event for event in events if isinstance(event, str)) == {
        "no RTDOSE at t0, as the tables say": 70,
        "no T1Gd after t0, as the tables say": 50,
    }


@needs_tables
def test_the_real_tables_hold_32_progressions_with_dose_15_stay_4_do_not_13_are_unknown() -> None:
    with_dose = [patient for patient in read_tables(TABLES).patients if patient.has_dose]
    progressions = [patient for patient in with_dose if patient.rano["t1"] == "PD"]
    assert Counter(weak_label(patient) for patient in progressions) == {
        "recurrence": 15,
        "rice_candidate": 4,
        None: 13,
    }
    events = [event_of(patient) for patient in progressions]
    assert all(isinstance(event, CfbEvent) and event.visit == "t1" for event in events)


@needs_tables
def test_the_older_real_table_of_doses_says_the_same(tmp_path: Path) -> None:
    for path in TABLES.glob("*.tsv"):
        if path.name != CFB_FILES["treatment_imaging_availability"]:
            shutil.copy(path, tmp_path)
    newest, older = read_tables(TABLES), read_tables(tmp_path)
    assert newest.files == tuple(sorted(CFB_FILES.values()))
    assert "CFB-GBM_treatment_imaging_availability_v02_20260129.tsv" in older.files
    assert older.patients == newest.patients


def test_a_target_that_was_generated_says_nothing_of_the_dose(tmp_path: Path) -> None:
    drawn, generated = cfb_patient(7), cfb_patient(8)
    generated["treatment_imaging_availability"][0]["gtv_type"] = "genSegmentation"
    read = read_tables(write_cfb_tables(tmp_path, [drawn, generated]))
    assert [patient.has_gtv for patient in read.patients] == [True, False]


def test_versions_are_compared_as_numbers_and_then_by_day(tmp_path: Path) -> None:
    tables = write_cfb_tables(tmp_path, [cfb_patient(7)])
    older = tables / CFB_FILES["treatment_data"]
    for name in ("v10_20250101", "v02_20270101", "v10_20250102"):
        shutil.copy(older, tables / f"CFB-GBM_treatment_data_{name}.tsv")
    assert newest_tables(tables)["treatment_data"].name == "CFB-GBM_treatment_data_v10_20250102.tsv"


def test_without_the_rano_table_there_are_no_weak_labels(tmp_path: Path) -> None:
    tables = write_cfb_tables(tmp_path, [cfb_patient(7, rano=("PD", "PD"))])
    assert weak_label(read_tables(tables).patients[0]) == "recurrence"
    (tables / CFB_FILES["rano_criteria"]).unlink()
    read = read_tables(tables)
    assert not read.has_rano and weak_label(read.patients[0]) is None


@pytest.mark.parametrize(
    ("table", "before", "after", "message"),
    [
        ("treatment_data", "dose (Gy)", "dose", r"treatment_data: lacks the column\(s\) dose \(Gy\)"),
        ("treatment_data", "\t60\t", "\t-60\t", r"line 2: dose \(Gy\) is not a positive number or empty"),
        ("treatment_data", "\t30\n", "\t0\n", "line 2: fractions_number is not a positive whole number"),
        ("treatment_data", "\t2\t", "\ttwo\t", r"delay_t0_to_radiotherapy \(weeks\) is not a whole number"),
        ("treatment_data", "\t30\n", "\n", r"treatment_data, line\(s\) 2: not one cell under each column"),
        ("mri_availability", "\t12\t", "\t1.5\t", r"line 3: time_diff_t0 \(weeks\) is not a whole number"),
        ("mri_availability", "\t12\t1", "\t12\tyes", "mri_availability, line 3: t1gd is not 0 or 1"),
        ("mri_availability", "\tt1\t", "\tt9\t", "line 3: temporality is none of t0, t1, t2"),
        ("mri_availability", "\tt1\t", "\tt0\t", "line 3: lists a patient's visit a second time"),
        ("clinical_data", "7\t", "Secret\t", "clinical_data, line 2: id_patient is no number"),
        ("rano_criteria", "(SD)", "(XX)", "rano_t0_to_t1 is not a RANO category or empty"),
        (
            "clinical_data",
            "60",
            '"60',
            r"clinical_data: cannot be read as tab-separated UTF-8 text \(Error\)",
        ),
    ],
)
def test_a_table_that_is_not_what_it_was_is_refused_with_table_and_line(
    tmp_path: Path, table: str, before: str, after: str, message: str
) -> None:
    path = write_cfb_tables(tmp_path, [cfb_patient(7)]) / CFB_FILES[table]
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(CohortError, match=message) as refused:
        read_tables(tmp_path)
    assert "Secret" not in str(refused.value)


def test_missing_tables_are_named(tmp_path: Path) -> None:
    tables = write_cfb_tables(tmp_path, [cfb_patient(7)])
    (tables / CFB_FILES["mri_availability"]).unlink()
    (tables / CFB_FILES["clinical_data"]).unlink()
    with pytest.raises(CohortError, match="the folder of tables lacks clinical_data, mri_availability"):
        read_tables(tables)


# --- events and weak labels


@pytest.mark.parametrize(
    ("rano", "label"),
    [
        (("PD", "PD"), "recurrence"),
        (("PD", "SD"), "rice_candidate"),
        (("PD", "PR"), "rice_candidate"),
        (("PD", ""), None),
        (("SD", "PD"), None),
        (("", "PD"), None),
    ],
)
def test_a_progression_is_weakly_labelled_by_what_becomes_of_it(
    tmp_path: Path, rano: tuple[str, str], label: str | None
) -> None:
    event = event_of(patient_of(tmp_path, rano=rano, scans=(("t0", 0), ("t1", 12), ("t2", 20))))
    assert isinstance(event, CfbEvent) and event.weak_label == label


def test_the_event_is_the_first_later_visit_with_a_t1gd(tmp_path: Path) -> None:
    both = event_of(patient_of(tmp_path, scans=(("t0", 0), ("t1", 12), ("t2", 20))))
    late = event_of(patient_of(tmp_path, scans=(("t0", 0), ("t2", 20)), rano=("PD", "PD")))
    # radiotherapy starts two weeks after t0
    assert both == CfbEvent("t1", 1, 12, 70, None)
    # the progression at t1 was not seen on the scan that is taken
    assert late == CfbEvent("t2", 2, 20, 126, None)


@pytest.mark.parametrize(
    ("described", "follow_up", "reason"),
    [
        ({"scans": (("t1", 12),)}, None, "no T1Gd at t0, as the tables say"),
        ({"has_dose": False}, None, "no RTDOSE at t0, as the tables say"),
        ({"scans": (("t0", 0),)}, None, "no T1Gd after t0, as the tables say"),
        ({"scans": (("t0", 0), ("t2", 20))}, 1, "the first T1Gd after t0 is at t2, not t1"),
        ({}, 2, "the first T1Gd after t0 is at t1, not t2"),
        ({"delay_weeks": "13"}, None, "the T1Gd after t0 is dated 7 day(s) before the start of radiotherapy"),
    ],
)
def test_a_patient_without_the_volumes_is_excluded_with_the_reason(
    tmp_path: Path, described: dict[str, object], follow_up: int | None, reason: str
) -> None:
    assert event_of(patient_of(tmp_path, **described), follow_up) == reason


# --- files


def more(*declared: tuple[str, str, str, bool]) -> Volumes:
    """Further MRIs by name, session, suffix and whether they are required."""
    further = [
        VolumeSpec(name=name, kind="mri", session=session, suffix=suffix, title=name, required=required)
        for name, session, suffix, required in declared
    ]
    return Volumes([*PAPER_VOLUMES, *further])


def files_of(tmp_path: Path, source: Path, volumes: Volumes = PAPER_VOLUMES) -> CfbFiles:
    return find_files(patient_folders(source), patient_of(tmp_path), "t1", volumes)


def missing_in(tmp_path: Path, source: Path, volumes: Volumes = PAPER_VOLUMES) -> str:
    with pytest.raises(Exclusion) as exclusion:
        files_of(tmp_path, source, volumes)
    return str(exclusion.value)


def sound_files(tmp_path: Path) -> CfbFiles:
    write_cfb_patient(tmp_path / "images", 7)
    return files_of(tmp_path, tmp_path / "images")


def file_of(files: CfbFiles, role: str) -> Path:
    path = files.scans.get(role) or getattr(files, role)
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize("folder", ["007", "7"])
@pytest.mark.parametrize("prefix", ["007", "7"])
def test_folders_and_prefixes_may_be_padded_or_not(tmp_path: Path, folder: str, prefix: str) -> None:
    write_cfb_patient(tmp_path / "images", 7, folder=folder, prefix=prefix)
    files = files_of(tmp_path, tmp_path / "images")
    assert files.scans["event"] == tmp_path / "images" / folder / "t1" / f"{prefix}_t1_t1gd.nii.gz"
    assert files.dose == tmp_path / "images" / folder / "t0" / f"{prefix}_t0_rtdose.nii.gz"


def test_what_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_cfb_patient(images, 8)
    assert missing_in(tmp_path, images) == "no folder with files"
    folder = write_cfb_patient(images, 7, prefix="17")
    everything = "t0 brain_mask, t0 t1gd, t1 t1gd, t0 rtdose, t0 gtv"
    assert missing_in(tmp_path, images) == f"file(s) missing: {everything}"
    write_cfb_patient(images, 7)
    shutil.copy(folder / "t0" / "7_t0_gtv.nii.gz", folder / "t0" / "007_t0_gtv.nii.gz")
    assert missing_in(tmp_path, images) == "ambiguous: file(s) there twice: t0 gtv"
    (folder / "t0" / "7_t0_brain_mask.nii.gz").unlink()
    shutil.rmtree(folder / "t1")
    assert missing_in(tmp_path, images) == "file(s) missing: t0 brain_mask, t1 t1gd"
    write_cfb_patient(images, 7, folder="7")
    assert missing_in(tmp_path, images) == "ambiguous: 2 folders"


def test_further_mris_are_taken_by_visit_and_kind_where_there_are_any(tmp_path: Path) -> None:
    folder = write_cfb_patient(tmp_path / "images", 7)
    shutil.copy(folder / "t1" / "7_t1_t1gd.nii.gz", folder / "t1" / "7_t1_flair.nii.gz")
    volumes = more(("event_flair", "event", "FLAIR", True), ("event_adc", "event", "ADC", False))
    files = files_of(tmp_path, tmp_path / "images", volumes)
    assert list(files.scans) == ["post_op", "event", "event_flair"]
    raw = RawSubject(tmp_path / "cohort", "sub-001", volumes)
    write_cfb_subject(files, 60.0, 30, raw)
    assert (
        raw.scan("event_flair").name == "sub-001_ses-event_FLAIR.nii.gz" and raw.scan("event_flair").is_file()
    )
    needed = more(("event_adc", "event", "ADC", True))
    assert missing_in(tmp_path, tmp_path / "images", needed) == "file(s) missing: t1 adc"


def test_a_required_volume_that_the_collection_does_not_have_is_refused(tmp_path: Path) -> None:
    where = Where(tmp_path / "images", tmp_path / "cohort", tmp_path / "key.csv")
    volumes = more(("perfusion", "event", "perf", True))
    with pytest.raises(CohortError, match=r"CFB-GBM distributes no perfusion \(perf\); it has adc, .*"):
        import_cfb_gbm(where, tmp_path / "tables", None, False, volumes, SERIAL)


def test_a_folder_without_patients_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CFB-GBM").mkdir()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CohortError, match="no folder of a patient"):
            patient_folders(folder)


# --- one subject


def written(tmp_path: Path, files: CfbFiles) -> RawSubject:
    raw = RawSubject(tmp_path / "cohort", "sub-001")
    write_cfb_subject(files, 60.0, 30, raw)
    return raw


def refusal(tmp_path: Path, files: CfbFiles) -> str:
    with pytest.raises(SourceError) as refused:
        written(tmp_path, files)
    message = str(refused.value)
    assert str(tmp_path) not in message and "7_t" not in message
    assert not (tmp_path / "cohort").exists()
    return message


def test_a_subjects_files_keep_grid_and_values_and_leave_headers_behind(tmp_path: Path) -> None:
    import nibabel as nib

    files = sound_files(tmp_path)
    image = nib.nifti1.load(files.scans["post_op"])
    image.header["descrip"] = b"Secret Sibylle"
    nib.nifti1.save(image, files.scans["post_op"])
    # a mask may be of any positive value
    change_voxels(files.brain_mask, lambda voxels: 255 * voxels)
    raw = written(tmp_path, files)
    for name in PAPER_VOLUMES.names:
        before, after = load_nifti(file_of(files, name)), load_nifti(raw.scan(name))
        np.testing.assert_array_equal(before.data, after.data)
        np.testing.assert_array_equal(before.grid.affine, after.grid.affine)
    assert bytes(nib.nifti1.load(raw.scan("post_op")).header["descrip"].item()) == b""
    assert set(np.unique(load_nifti(raw.brain_mask).data)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("with_target", "compared"),
    [
        (True, "100% of the target (GTV) lies in the brain mask of t0"),
        (False, "no target of the planning is distributed to compare dose and brain by"),
    ],
)
def test_the_sidecar_says_what_the_dose_is_and_what_was_taken_for_granted(
    tmp_path: Path, with_target: bool, compared: str
) -> None:
    files = sound_files(tmp_path)
    raw = written(tmp_path, files if with_target else replace(files, gtv=None))
    assert json.loads(raw.dose_sidecar.read_text()) == {
        "DoseUnits": "GY",
        "DoseSummationType": "PLAN",
        "NumberOfFractions": 30,
        "PrescriptionGy": 60.0,
        "Decisions": [
            "the dose is taken to lie in the space of the T1Gd of t0, as distributed: not documented",
            compared,
        ],
    }


def _no_dose_in_target(voxels: np.ndarray) -> np.ndarray:
    target = ball(15.0, DOSE_GRID, TARGET_MM).data
    return np.where(target, 0.0, voxels + 1.0).astype(np.float32)


def shifted(shift_mm: float, *roles: str) -> Callable[[CfbFiles], None]:
    def spoil(files: CfbFiles) -> None:
        for role in roles:
            volume = load_nifti(file_of(files, role))
            affine = volume.grid.affine.copy()
            affine[0, 3] += shift_mm
            save_nifti(Volume(volume.data, Grid(volume.grid.shape, affine)), file_of(files, role))

    return spoil


def changed(role: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[CfbFiles], None]:
    return lambda files: change_voxels(file_of(files, role), change)


FAULTS: dict[str, tuple[Callable[[CfbFiles], object], str]] = {
    "no dose in the target": (changed("dose", _no_dose_in_target), "inside the target (GTV) is 0 everywhere"),
    "a fraction": (changed("dose", lambda v: v / 30), "the course's dose reaches 2.1 Gy"),
    "too much": (changed("dose", lambda v: v * 1.3), "the course's dose reaches 83.2 Gy"),
    "NaN": (changed("dose", lambda v: np.where(v == 0, np.nan, v)), " NaN voxel(s)"),
    "negative": (changed("dose", lambda v: v - 1), "voxel(s) of negative dose, down to -1 Gy"),
    "flat event": (changed("event", lambda v: 0 * v + 5), "the scan event: every voxel is 5"),
    "NaN scan": (changed("post_op", lambda v: v + np.nan), "the scan post_op: 8000 NaN voxel(s)"),
    "labels": (
        changed("brain_mask", lambda v: v * (1 + np.arange(20) % 2)), "brain mask: holds 3 values, 0 and"
    ),
    "no brain": (changed("brain_mask", lambda v: 0 * v), "brain mask: every voxel is 0"),
    "inverted brain": (
        changed("brain_mask", lambda v: 1 - v), "0% of the target (GTV) lies in the brain of t0"
    ),
    "no target": (changed("gtv", lambda v: 0 * v), "target (GTV): every voxel is 0"),
    # half of 160 mm and of 140 mm, and 4 mm between the centres: they touch at 146 mm
    "beside the scan": (shifted(151.0, "dose"), "lies 5 mm outside the field of view of the T1Gd of t0"),
    "another grid": (shifted(1.0, "gtv"), "the target (GTV) does not lie on the dose's grid"),
    "far from the brain": (shifted(50.0, "dose", "gtv"), "lies in the brain of t0, at least 50% is expected"),
    "unreadable": (lambda files: file_of(files, "dose").write_bytes(b"x"), "dose: cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS)
def test_a_file_that_contradicts_the_others_or_itself_is_refused(
    tmp_path: Path, spoil: Callable[[CfbFiles], object], words: str
) -> None:
    files = sound_files(tmp_path)
    spoil(files)
    assert words in refusal(tmp_path, files)


# --- the whole


def test_a_tree_becomes_a_cohort_that_passes_its_check(tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "cohort"
    where = Where(images, output, tmp_path / "key.csv")
    tables = write_cfb_tables(
        tmp_path / "tables",
        [
            cfb_patient(2, rano=("PD", "SD"), scans=(("t0", 0), ("t1", 12), ("t2", 20))),
            cfb_patient(3, rano=("PD", "PD"), scans=(("t0", 0), ("t1", 9), ("t2", 20))),
            cfb_patient(4, scans=(("t0", 0), ("t2", 20))),
            cfb_patient(5, has_dose=False),
            cfb_patient(6),
            cfb_patient(10),
        ],
    )
    for number, visit in ((2, "t1"), (3, "t1"), (4, "t2"), (6, "t1"), (11, "t1")):
        write_cfb_patient(images, number, visit)
    change_voxels(images / "006" / "t0" / "6_t0_rtdose.nii.gz", _no_dose_in_target)
    imported = import_cfb_gbm(where, tables, None, False, PAPER_VOLUMES, SERIAL)
    report = check_cohort(output)
    assert report.problems == () and len(report.subjects) == 3
    rows = _table(output / "participants.tsv")
    assert [
        (row["label"], row["weak_label"], row["follow_up"], row["days_rt_start_to_event"]) for row in rows
    ] == [
        ("n/a", "rice_candidate", "1", "70"),
        ("n/a", "recurrence", "1", "49"),
        ("n/a", "n/a", "2", "126"),
    ]
    assert {
        row["participant_id"]: (row["status"], row["reason"]) for row in _table(output / "import.tsv")
    } == {
        "sub-001": ("imported", "n/a"),
        "sub-002": ("imported", "n/a"),
        "sub-003": ("imported", "n/a"),
        "sub-004": ("excluded", "no RTDOSE at t0, as the tables say"),
        "sub-005": (
            "failed",
            "the dose inside the target (GTV) is 0 everywhere. Fetch the patient's files again from the "
            "archive; where they stay so, the patient is excluded",
        ),
        "sub-006": ("excluded", "no folder with files"),
        "sub-007": ("excluded", "a folder, but no row in the tables"),
    }
    description = json.loads((output / "dataset_description.json").read_text())
    assert description["SourceTables"] == sorted(CFB_FILES.values())
    assert description["TimeOnlyAUC"]["follow_up"]["AUC"] == 0.5
    assert description["TimeOnlyAUC"]["days_rt_start_to_event"] == {
        "AUC": 1.0,
        "CI95": [1.0, 1.0],
        "RiceIs": "later",
        "Recurrence": 1,
        "Rice": 1,
    }
    assert import_cfb_gbm(where, tables, None, False, PAPER_VOLUMES, SERIAL) == imported
    assert json.loads((output / "dataset_description.json").read_text()) == description
    assert "7 patients: 3 imported, 3 excluded, 1 failed" in imported.text()
    assert "  - sub-005: the dose inside the target" in imported.text()


def test_weak_labels_become_labels_only_where_they_are_asked_for(tmp_path: Path) -> None:
    tables = write_cfb_tables(
        tmp_path / "tables",
        [cfb_patient(2, rano=("PD", "SD")), cfb_patient(3, rano=("PD", "PD")), cfb_patient(4)],
    )
    for number in (2, 3, 4):
        write_cfb_patient(tmp_path / "images", number)
    read, folders = read_tables(tables), patient_folders(tmp_path / "images")
    found = cfb_candidates(read.patients, folders, None, True, PAPER_VOLUMES)
    assert [(one.columns["label"], one.columns["label_source"]) for one in found] == [
        ("rice", "follow_up"),
        ("recurrence", "follow_up"),
        ("n/a", "n/a"),
    ]
    plain = cfb_candidates(read.patients, folders, None, False, PAPER_VOLUMES)
    assert {one.columns["label"] for one in plain} == {"n/a"}


def test_the_command_imports_weak_labels_of_one_visit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    late = cfb_patient(3, scans=(("t0", 0), ("t2", 20)))
    write_cfb_tables(Path("tables"), [cfb_patient(2, rano=("PD", "SD")), late])
    write_cfb_patient(Path("images"), 2)
    write_cfb_patient(Path("images"), 3, "t2")
    options = ["--follow-up", "1", "--weak-labels"]
    result = CliRunner().invoke(IMPORT, ["cfb-gbm", "images", "tables", "cohort", *options])
    assert result.exit_code == 0, result.output
    (row,) = _table(Path("cohort/participants.tsv"))
    assert (row["label"], row["label_source"], row["follow_up"]) == ("rice", "follow_up", "1")
    assert "2 patients: 1 imported, 1 excluded" in result.stdout
    assert "follow_up: no AUC, for not both labels were imported" in result.stdout
    assert "003,sub-002" in Path("cohort.key.csv").read_text(encoding="utf-8")


def test_weak_labels_without_the_rano_table_are_refused(tmp_path: Path) -> None:
    tables = write_cfb_tables(tmp_path / "tables", [cfb_patient(2)])
    (tables / CFB_FILES["rano_criteria"]).unlink()
    with pytest.raises(CohortError, match="weak labels need the table rano_criteria"):
        where = Where(tmp_path / "images", tmp_path / "cohort", tmp_path / "key.csv")
        import_cfb_gbm(where, tables, None, True, PAPER_VOLUMES, SERIAL)


def test_a_patient_whose_folder_cannot_be_opened_is_left_out_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_tables(write_cfb_tables(tmp_path / "tables", [cfb_patient(7), cfb_patient(8)]))
    write_cfb_patient(tmp_path / "images", 8)
    closed = write_cfb_patient(tmp_path / "images", 7) / "t0"
    folders, real = patient_folders(tmp_path / "images"), Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    left_out, taken = cfb_candidates(read.patients, folders, None, False, PAPER_VOLUMES)
    assert left_out.exclusion == "a folder or file cannot be opened (Permission denied)"
    assert taken.exclusion is None


def test_a_collection_that_cannot_be_opened_is_told_without_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(CohortError) as refused:
        patient_folders(tmp_path)
    assert str(refused.value) == (
        "the folder of CFB-GBM's images cannot be opened (Permission denied). "
        "Mend the cause, and give the same command again"
    )


def test_of_an_unforeseen_error_the_command_tells_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise KeyError(str(folder))

    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ricenet.importing.collections.cfb_gbm.read_tables", broken)
    result = CliRunner().invoke(IMPORT, ["cfb-gbm", "images", "patient 7", "cohort"])
    assert result.exit_code == 1
    assert "error: an unforeseen KeyError, a fault of the program" in result.output
    assert "in broken" in result.output and "patient 7" not in result.output


def test_the_content_of_a_candidate_changes_with_its_files(tmp_path: Path) -> None:
    read = read_tables(write_cfb_tables(tmp_path / "tables", [cfb_patient(7)]))
    folder = write_cfb_patient(tmp_path / "images", 7)

    def content() -> object:
        (candidate,) = cfb_candidates(
            read.patients, patient_folders(tmp_path / "images"), None, False, PAPER_VOLUMES
        )
        return candidate.content

    before = content()
    assert content() == before
    save_nifti(ball(60.0, MRI_GRID), folder / "t0" / "7_t0_brain_mask.nii.gz")
    assert content() != before


def _table(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
