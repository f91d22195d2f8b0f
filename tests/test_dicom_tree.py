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
    header,
    numbered,
    only_series,
    reasons,
    sample,
    setting,
    write_dose,
    write_enhanced,
    write_plan,
    write_series,
    write_structures,
)
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import write_secondary_capture
from ricenet.phantom.dicom.objects import Header, PatientTags, StudyTags, uid
from ricenet.runtime.errors import CohortError

BLACK = np.zeros((4, 4, 3), np.uint8)


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
    described = header(uid("edits", "series"), number=7, description="t1 CET1")
    write_series(tmp_path, numbered(), described, contrast_agent="Gadovist")
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


@pytest.mark.parametrize(("agent", "expected"), [("Gadovist", True), ("", None)])
def test_enhanced_images_code_their_agent(tmp_path: Path, agent: str, expected: bool | None) -> None:
    write_enhanced(tmp_path, numbered(), contrast_agent=agent)
    first = only_series(tmp_path).first
    assert (first.contrast_agent, first.frames) == (expected, 6)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("written", ["", "unknown", "20201345", None])
def test_a_date_that_is_none_is_none(tmp_path: Path, written: str | None) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, setting(StudyDate=written, SeriesNumber=None, StudyInstanceUID=None))
    first = only_series(tmp_path).first
    assert (first.date, first.series_number, first.study_uid) == (None, None, "")


def test_kinds_go_by_sop_class_not_by_modality(tmp_path: Path) -> None:
    """A screenshot claims to be MR; reports and presentation states are no images. All stay listed."""
    write_secondary_capture(BLACK, tmp_path / "shot", header(uid("shot")))
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
    for write in (write_plan, write_dose, write_structures):
        write(tmp_path)
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
                of = Header(study, series_uid, number=number)
                write_secondary_capture(BLACK, tmp_path / series_uid, of)
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
    shutil.copy(str(get_testdata_file("DICOMDIR", download=False)), tmp_path / "index under another name")
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


# ---- links, copies, contradictions


def test_links_are_followed_once_and_out_of_the_folder(tmp_path: Path) -> None:
    files = write_series(tmp_path / "data" / "inner", numbered())
    (tmp_path / "data" / "inner" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "inner")
    (tmp_path / "data" / "one").symlink_to(files[0])
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "data")
    for root in ("data", "root"):
        assert only_series(tmp_path / root).slices == 6


def test_copies_count_once_even_with_another_file_meta(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    shutil.copy(files[0], tmp_path / "copy")
    rewritten = dcmread(files[1])
    rewritten.file_meta.ImplementationVersionName = "ANOTHER"
    rewritten.save_as(tmp_path / "rewritten")
    series = only_series(tmp_path)
    assert len({instance.sop_instance_uid for instance in series.instances}) == series.slices == 6


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
    ("elements", "words"),
    [
        ({"PatientID": "ANON-2"}, "patients (PatientID)"),
        ({"StudyInstanceUID": "1.2.3"}, "studies (StudyInstanceUID)"),
        ({"StudyDate": "20210301"}, "study dates"),
        ({"PatientBirthDate": "19700101", "PatientSex": "M"}, "people (PatientBirthDate, PatientSex)"),
    ],
)
def test_a_series_that_belongs_to_two_is_unusable_as_a_whole(
    tmp_path: Path, elements: dict[str, object], words: str
) -> None:
    files = write_series(tmp_path, numbered())
    for path in files:
        change(path, setting(PatientBirthDate="19610502", PatientSex="M"))
    change(files[3], setting(**elements))
    write_plan(tmp_path)
    tree = read_tree(tmp_path)
    assert reasons(tree) == dict.fromkeys(
        (path.name for path in files), f"one series (SeriesInstanceUID) under several {words}"
    )
    assert [series.kind for series in tree.series] == ["RTPLAN"]


# ---- privacy


def test_reasons_do_not_identify_anyone(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(files[0], setting(PatientID="Miller-77"))
    (tmp_path / "Miller.txt").write_text("x")
    write_plan(tmp_path)
    for file in read_tree(tmp_path).unusable:
        for secret in ("Miller", "ANON", "2.25.", "20200301", str(tmp_path)):
            assert secret not in file.found + file.remedy


@pytest.mark.filterwarnings("error")
def test_nothing_of_odd_values_is_warned_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in write_series(tmp_path, numbered()):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"20200301", b"SECRETS!").replace(b"ISO_IR 192", b"ISO_IR 19X"))
    with caplog.at_level(logging.DEBUG):
        tree = read_tree(tmp_path)
    assert tree.series or tree.unusable
    output = "".join(capfd.readouterr()) + caplog.text
    assert "SECRETS" not in output and "19X" not in output and str(tmp_path) not in output
    assert not logging.getLogger("pydicom").disabled


# ---- nothing to read


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": b"text", "b": b"text", "c.zip": b"PK\x03\x04"}, "no usable DICOM file among 3"),
        ({"a": b"text", "b": b"text", "c.zip": b"PK\x03\x04"}, "2 x no DICOM file"),
        ({"a": b"text", "b": b"text", "c.zip": b"PK\x03\x04"}, "1 x an archive or compressed file"),
        ({}, "no usable DICOM file among 0"),
        (None, "the source is not a folder"),
    ],
)
def test_a_source_without_dicom_is_refused_with_what_it_holds(
    tmp_path: Path, files: dict[str, bytes] | None, words: str
) -> None:
    root = tmp_path / "source"
    if files is not None:
        root.mkdir()
        for name, content in files.items():
            (root / name).write_bytes(content)
    with pytest.raises(CohortError) as refused:
        read_tree(root)
    assert words in str(refused.value)


# ---- real files


def test_a_real_radiotherapy_set_is_sorted_by_kind() -> None:
    tree = read_tree(sample("rt_dicom"))
    assert {series.kind: series.slices for series in tree.series} == {
        "CT": 1, "RTSTRUCT": 1, "RTPLAN": 1, "RTDOSE": 98,
    }  # fmt: skip
    assert not tree.series[0].first.contrast_agent
    placed = [series for series in tree.series if series.kind != "RTSTRUCT"]
    assert len({series.first.frame_of_reference_uid for series in placed}) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("CT_small.dcm", "CT"), ("MR_small.dcm", "MR"), ("rtdose.dcm", "RTDOSE"), ("rtplan.dcm", "RTPLAN"),
     ("rtstruct.dcm", "RTSTRUCT"), ("MR_small_RLE.dcm", "MR"), ("JPEG-lossy.dcm", "other")],
)  # fmt: skip
def test_pydicoms_own_files_are_known_by_kind(tmp_path: Path, name: str, kind: str) -> None:
    shutil.copy(str(get_testdata_file(name, download=False)), tmp_path / "x")
    assert only_series(tmp_path).kind == kind
