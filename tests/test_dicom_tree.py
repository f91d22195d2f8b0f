"""A folder of files becomes series by tags alone; what cannot be used is listed with the reason."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    FRAME,
    STUDY,
    change,
    numbered,
    only_series,
    reasons,
    sample,
    setting,
    write_dose,
    write_plan,
    write_series,
)
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.images import write_enhanced_mr, write_secondary_capture
from ricenet.phantom.dicom.objects import PatientTags, StudyTags, uid
from ricenet.phantom.dicom.radiotherapy import write_rtdose, write_rtplan, write_rtstruct
from ricenet.runtime.errors import CohortError

DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"


def test_files_are_found_whatever_they_and_their_folders_are_called(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    names = ["a/b/c/1", "a/x y.txt", "Ünïcode/.hidden", "a/IM.JPG", "z.dcm/0.dcm", "noext"]
    for path, name in zip(files, names, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / name)
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    series = only_series(tmp_path)
    assert series.kind == "MR" and series.slices == 6
    paths = [instance.path for instance in series.instances]
    assert paths == sorted(tmp_path / name for name in names)


def test_an_instance_says_what_the_header_says(tmp_path: Path) -> None:
    write_series(tmp_path, numbered(), series_number=7, description="t1 CET1", contrast_agent="Gadovist")
    first = only_series(tmp_path).first
    assert (first.patient_id, first.date, first.series_number) == ("ANON-1", date(2020, 3, 1), 7)
    assert (first.series_description, first.contrast_agent, first.frames) == ("t1 CET1", True, 1)
    assert (first.study_uid, first.series_uid) == (STUDY.study_uid, uid("edits", "series"))
    assert first.frame_of_reference_uid == FRAME


@pytest.mark.parametrize("written", ["", "NONE", "no", None])
def test_no_contrast_agent_in_any_words(tmp_path: Path, written: str | None) -> None:
    for path in write_series(tmp_path, numbered(), contrast_agent="x"):
        change(path, setting(ContrastBolusAgent=written))
    assert not only_series(tmp_path).first.contrast_agent


@pytest.mark.parametrize(("agent", "expected"), [("Gadovist", True), ("", False)])
def test_enhanced_images_code_their_agent(tmp_path: Path, agent: str, expected: bool) -> None:
    write_enhanced_mr(
        numbered(), tmp_path / "e", STUDY, series_uid=uid("e"), frame_of_reference_uid=FRAME,
        contrast_agent=agent,
    )  # fmt: skip
    first = only_series(tmp_path).first
    assert (first.contrast_agent, first.frames) == (expected, 6)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("written", ["", "unknown", "20201345", None])
def test_a_date_that_is_none_is_none(tmp_path: Path, written: str | None) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, setting(StudyDate=written, SeriesNumber=None))
    first = only_series(tmp_path).first
    assert first.date is None and first.series_number is None


def test_kinds_go_by_sop_class_not_by_modality(tmp_path: Path) -> None:
    """A screenshot claims to be MR; reports and presentation states are no images. All stay listed."""
    write_secondary_capture(
        np.zeros((4, 4, 3), np.uint8), tmp_path / "shot", STUDY, series_uid=uid("shot"), modality="MR"
    )
    for name, sop_class in {"report": "88.11", "pdf": "104.1", "presentation": "11.1", "raw": "66"}.items():
        path = shutil.copy(tmp_path / "shot", tmp_path / name)
        edit = setting(
            SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop_class}", SOPInstanceUID=uid(name),
            SeriesInstanceUID=uid(name, "series"), PixelData=None,
        )  # fmt: skip
        change(Path(path), edit)
    tree = read_tree(tmp_path)
    assert tree.unusable == ()
    assert [series.kind for series in tree.series] == ["other"] * 5


def test_radiotherapy_objects_have_their_kinds(tmp_path: Path) -> None:
    plan = write_rtplan(
        tmp_path / "p", STUDY, sop_instance_uid="1.2.1", frame_of_reference_uid=FRAME, fractions=30,
        prescription_gy=60.0,
    )  # fmt: skip
    write_rtdose(numbered(), tmp_path / "d", STUDY, sop_instance_uid="1.2.2", frame_of_reference_uid=FRAME)
    write_rtstruct(
        tmp_path / "s", STUDY, sop_instance_uid="1.2.3", frame_of_reference_uid=FRAME,
        image_series_uid="1.2.4", image_study_uid="1.2.5", image_sop_instance_uids=[],
    )  # fmt: skip
    assert plan.exists()
    kinds = {series.kind: series.slices for series in read_tree(tmp_path).series}
    assert kinds == {"RTPLAN": 1, "RTDOSE": 6, "RTSTRUCT": 1}


def test_objects_of_several_kinds_under_one_series_uid_are_kept_apart(tmp_path: Path) -> None:
    """Some exports put plan and dose into one series."""
    for name, writer in {"1.2.1": write_plan, "1.2.2": write_dose}.items():
        change(writer(tmp_path, name), setting(SeriesInstanceUID="1.2.9"))
    tree = read_tree(tmp_path)
    assert tree.unusable == ()
    assert [(series.uid, series.kind, len(series.instances)) for series in tree.series] == [
        ("1.2.9", "RTPLAN", 1), ("1.2.9", "RTDOSE", 1),
    ]  # fmt: skip


def test_series_are_ordered_by_patient_date_number_and_uid(tmp_path: Path) -> None:
    wanted = []
    for patient in ("B", "A"):
        for day in (date(2020, 3, 1), date(2019, 12, 31)):
            study = StudyTags(PatientTags(patient), uid(patient, day), day)
            for number in (10, 9):
                series_uid = uid(patient, day, number)
                write_secondary_capture(
                    np.zeros((2, 2, 3), np.uint8), tmp_path / series_uid, study, series_uid=series_uid,
                    series_number=number,
                )  # fmt: skip
                wanted.append((patient, day, number, series_uid))
    tree = read_tree(tmp_path)
    found = [(s.first.patient_id, s.first.date, s.first.series_number, s.uid) for s in tree.series]
    assert found == sorted(wanted)
    assert tree.patient_ids == ("A", "B")
    assert len(tree.of_patient("A")) == 4


def test_files_that_are_no_dicom_are_listed_and_clutter_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    (tmp_path / "README.txt").write_text("hello" * 100)
    (tmp_path / "empty").touch()
    (tmp_path / "all.zip").write_bytes(b"PK\x03\x04" + bytes(300))
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(200))
    (tmp_path / "DICOMDIR").write_bytes(b"anything")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    tree = read_tree(tmp_path)
    assert reasons(tree) == {
        "README.txt": "no DICOM file",
        "empty": "an empty file",
        "all.zip": "an archive or compressed file",
        "x.gz": "an archive or compressed file",
        "gone": "a broken link, or neither a file nor a folder",
        "pipe": "a broken link, or neither a file nor a folder",
    }
    assert all(file.remedy for file in tree.unusable)
    assert tree.series[0].slices == 6


def test_an_index_is_no_data_under_any_name(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    shutil.copy(str(get_testdata_file("DICOMDIR", download=False)), tmp_path / "index.bin")
    assert only_series(tmp_path).slices == 6


@pytest.mark.parametrize("keyword", ["PatientID", "SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_files_without_identity_are_unusable(tmp_path: Path, keyword: str, value: str | None) -> None:
    files = write_series(tmp_path, numbered())
    dataset = dcmread(files[2])
    setting(**{keyword: value})(dataset)
    dataset.save_as(files[2], enforce_file_format=False)
    tree = read_tree(tmp_path)
    assert reasons(tree) == {files[2].name: f"a DICOM file without {keyword}"}
    assert tree.series[0].slices == 5


def test_a_missing_study_uid_is_no_obstacle(tmp_path: Path) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, setting(StudyInstanceUID=None))
    assert only_series(tmp_path).first.study_uid == ""


# ---- links, permissions, copies, contradictions


def test_links_are_followed_once(tmp_path: Path) -> None:
    files = write_series(tmp_path / "data" / "inner", numbered())
    (tmp_path / "data" / "inner" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "inner")
    (tmp_path / "data" / "one").symlink_to(files[0])
    assert only_series(tmp_path / "data").slices == 6


def test_a_folder_outside_is_reached_by_a_link(tmp_path: Path) -> None:
    write_series(tmp_path / "elsewhere", numbered())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert only_series(tmp_path / "root").slices == 6


def test_copies_count_once_even_with_another_file_meta(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    shutil.copy(files[0], tmp_path / "copy")
    rewritten = dcmread(files[1])
    rewritten.file_meta.ImplementationVersionName = "ANOTHER"
    rewritten.save_as(tmp_path / "rewritten")
    series = only_series(tmp_path)
    assert series.slices == 6
    assert len({instance.sop_instance_uid for instance in series.instances}) == 6


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: setattr(d, "PixelData", bytes(len(d.PixelData))),
        setting(ImagePositionPatient=["1", "2", "3"]),
    ],
)
def test_one_uid_for_differing_content_is_ambiguous(
    tmp_path: Path, edit: Callable[[Dataset], object]
) -> None:
    files = write_series(tmp_path, numbered())
    change(Path(shutil.copy(files[0], tmp_path / "other")), edit)
    tree = read_tree(tmp_path)
    assert reasons(tree) == dict.fromkeys(
        (files[0].name, "other"), "one SOP instance UID for 2 files with differing content"
    )
    assert tree.series[0].slices == 5


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"PatientID": "ANON-2"}, "patients (PatientID)"),
        ({"StudyInstanceUID": "1.2.3"}, "studies (StudyInstanceUID)"),
        ({"StudyDate": "20210301"}, "study dates"),
    ],
)
def test_a_series_that_belongs_to_two_is_unusable_as_a_whole(
    tmp_path: Path, elements: dict[str, object], match: str
) -> None:
    files = write_series(tmp_path, numbered())
    change(files[3], setting(**elements))
    write_plan(tmp_path, "1.2.1")
    tree = read_tree(tmp_path)
    assert reasons(tree) == dict.fromkeys(
        (path.name for path in files), f"one series (SeriesInstanceUID) under several {match}"
    )
    assert [series.kind for series in tree.series] == ["RTPLAN"]


def test_reasons_do_not_identify_anyone(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(files[0], setting(PatientID="Miller-77"))
    (tmp_path / "Miller.txt").write_text("x")
    write_plan(tmp_path, "1.2.1")
    for file in read_tree(tmp_path).unusable:
        for secret in ("Miller", "ANON", "2.25.", "20200301", str(tmp_path)):
            assert secret not in file.found + file.remedy


@pytest.mark.filterwarnings("error")
def test_nothing_of_odd_values_is_warned_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    files = write_series(tmp_path, numbered())
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"20200301", b"SECRETS!").replace(b"ISO_IR 192", b"ISO_IR 19X"))
    with caplog.at_level(logging.DEBUG):
        tree = read_tree(tmp_path)
    assert tree.series or tree.unusable
    output = "".join(capfd.readouterr()) + caplog.text
    assert "SECRETS" not in output and "19X" not in output and str(tmp_path) not in output
    assert not logging.getLogger("pydicom").disabled


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_listed(tmp_path: Path) -> None:
    files = write_series(tmp_path / "open", numbered())
    closed = tmp_path / "closed"
    closed.mkdir()
    files[0].chmod(0)
    closed.chmod(0)
    try:
        found = reasons(read_tree(tmp_path))
    finally:
        closed.chmod(0o755)
    assert found == {files[0].name: "a file cannot be opened", "closed": "a folder cannot be opened"}


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "open", numbered())
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def guarded(path: os.PathLike[str]) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert reasons(read_tree(tmp_path)) == {"closed": "a folder cannot be opened"}


# ---- nothing to read


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="the source is not a folder"):
        read_tree(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(CohortError, match="the source is not a folder"):
        read_tree(tmp_path / "file")


def test_a_root_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(CohortError, match="the source folder cannot be opened"):
        read_tree(tmp_path)


def test_a_folder_without_dicom_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("text")
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(CohortError, match="no usable DICOM file among 3") as refusal:
        read_tree(tmp_path)
    assert "2 x no DICOM file" in str(refusal.value)
    assert "1 x an archive or compressed file" in str(refusal.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no usable DICOM file among 0"):
        read_tree(tmp_path)


# ---- real files


def test_a_real_radiotherapy_set_is_sorted_by_kind() -> None:
    tree = read_tree(sample("rt_dicom"))
    assert {series.kind: series.slices for series in tree.series} == {
        "CT": 1, "RTSTRUCT": 1, "RTPLAN": 1, "RTDOSE": 98,
    }  # fmt: skip
    assert not tree.series[0].first.contrast_agent
    assert (
        len({series.first.frame_of_reference_uid for series in tree.series if series.kind != "RTSTRUCT"}) == 1
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("CT_small.dcm", "CT"), ("MR_small.dcm", "MR"), ("rtdose.dcm", "RTDOSE"), ("rtplan.dcm", "RTPLAN"),
     ("rtstruct.dcm", "RTSTRUCT"), ("MR_small_RLE.dcm", "MR"),
     ("JPEG-lossy.dcm", "other")],
)  # fmt: skip
def test_pydicoms_own_files_are_known_by_kind(tmp_path: Path, name: str, kind: str) -> None:
    shutil.copy(str(get_testdata_file(name, download=False)), tmp_path / "x")
    assert only_series(tmp_path).kind == kind
