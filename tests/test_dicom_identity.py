"""Whose an object is: people under one identifier, identifiers that cannot be read, kinds under one UID."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    change,
    header,
    numbered,
    only_series,
    reasons,
    setting,
    write_dose,
    write_plan,
    write_series,
)

from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.instances import DicomTree
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import write_secondary_capture
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.errors import CohortError


def person(folder: Path, **elements: object) -> str:
    """The person of a series with these elements; a woman born on 2 May 1961 if none."""
    for path in write_series(folder, numbered((5, 4, 2))):
        change(path, setting(**{"PatientBirthDate": "19610502", "PatientSex": "F", **elements}))
    return only_series(folder).first.person


def test_birth_date_and_sex_tell_people_apart_and_are_not_legible(tmp_path: Path) -> None:
    found = {
        person(tmp_path / "a"),
        person(tmp_path / "b", PatientBirthDate="19610503"),
        person(tmp_path / "c", PatientSex="M"),
    }
    assert len(found) == 3
    assert all(len(one) == 64 and "1961" not in one for one in found)


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientName": "Meier^Anna"},
        {"PatientID": "ANOTHER"},
        {"PatientSex": "f"},
        {"PatientBirthDate": "1961.05.02"},
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_spelling_does_not_make_another_person(tmp_path: Path, elements: dict[str, object]) -> None:
    assert person(tmp_path / "a") == person(tmp_path / "b", **elements)


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "PatientSex"])
@pytest.mark.parametrize("value", ["", None, "1961", "O"])
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_what_is_not_stated_in_full_says_nothing_of_the_person(
    tmp_path: Path, keyword: str, value: str | None
) -> None:
    assert person(tmp_path, **{keyword: value}) == ""


def test_a_series_that_states_the_person_in_parts_is_of_one(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(files[0], setting(PatientBirthDate="19610502", PatientSex="M"))
    assert only_series(tmp_path).slices == 6


# ---- identifiers that cannot be read


@pytest.mark.parametrize(
    "written",
    [b"M\xfcll-1", b"M\xf6ll-1", "\ufffdl-1".encode(), b"\xef\xbf\xbd-77"],
    ids=["Latin-1 as UTF-8", "another", "replaced before", "replaced at the start"],
)
@pytest.mark.parametrize("characters", [b"ISO_IR 192", b"ISO_IR 100"])
def test_an_identifier_that_cannot_be_decoded_is_nobodys(
    tmp_path: Path, written: bytes, characters: bytes
) -> None:
    """M\xfcll-1 and M\xf6ll-1 would become one patient."""
    files = write_series(tmp_path, numbered())
    write_plan(tmp_path)
    for path in files:
        content = path.read_bytes().replace(b"ISO_IR 192", characters)
        assert content.count(b"ANON-1") == 1
        path.write_bytes(content.replace(b"ANON-1", written.ljust(6)))
    tree = read_tree(tmp_path)
    legible = characters == b"ISO_IR 100" and b"\xef\xbf\xbd" not in written
    if legible:
        assert tree.patient_ids == ("ANON-1", written.decode("latin-1"))
        return
    assert tree.patient_ids == ("ANON-1",)
    found = "PatientID with characters that cannot be decoded"
    assert reasons(tree) == dict.fromkeys((path.name for path in files), found)
    assert {(file.patient_id, file.series_uid) for file in tree.unusable} == {("", uid("edits", "series"))}


def test_an_identifier_with_umlauts_is_one_like_others(tmp_path: Path) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, setting(PatientID="Müller 1"))
    assert read_tree(tmp_path).patient_ids == ("Müller 1",)


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_uid_that_cannot_be_decoded_is_none(tmp_path: Path, keyword: str) -> None:
    files = write_series(tmp_path, numbered())
    change(files[0], setting(**{keyword: "2.25.777777"}))
    files[0].write_bytes(files[0].read_bytes().replace(b"2.25.777777", b"2.25.77\xef\xbf\xbd7"))
    found = f"{keyword} with characters that cannot be decoded"
    assert reasons(read_tree(tmp_path)) == {files[0].name: found}


# ---- kinds under one UID


def test_mr_and_ct_under_one_series_uid_are_unusable(tmp_path: Path) -> None:
    write_series(tmp_path / "mr", numbered())
    for k, path in enumerate(write_series(tmp_path / "ct", numbered(), modality="CT")):
        change(path, setting(SOPInstanceUID=uid("ct", k)))
    with pytest.raises(CohortError, match=r"12 x one series .SeriesInstanceUID. of MR and CT images"):
        read_tree(tmp_path)


def test_objects_that_are_no_images_may_share_an_images_series(tmp_path: Path) -> None:
    """A screenshot, a plan and a dose in the series of the MRI are told apart by what they are."""
    write_series(tmp_path, numbered())
    shared = uid("edits", "series")
    change(write_plan(tmp_path), setting(SeriesInstanceUID=shared))
    change(write_dose(tmp_path), setting(SeriesInstanceUID=shared))
    write_secondary_capture(np.zeros((4, 4, 3), np.uint8), tmp_path / "shot", header(shared))
    tree = read_tree(tmp_path)
    assert tree.unusable == ()
    assert sorted(series.kind for series in tree.series) == ["MR", "RTDOSE", "RTPLAN", "other"]
    (image,) = (series for series in tree.series if series.kind == "MR")
    assert read_image(image).grid.shape == (5, 4, 6)


def test_a_patients_series_are_found_without_going_through_all(tmp_path: Path) -> None:
    write_secondary_capture(np.zeros((2, 2, 3), np.uint8), tmp_path / "one", header(uid("one")))
    only = only_series(tmp_path)
    visits = 0

    class Counting(tuple):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal visits
            visits += 1
            return super().__iter__()

    names = [f"P{number}" for number in (3, 1, 2)]
    series = [
        replace(only, instances=(replace(only.first, patient_id=name),)) for name in names for _ in "ab"
    ]
    tree = DicomTree(tmp_path, Counting(series), ())
    assert tree.patient_ids == ("P1", "P2", "P3")
    assert all([s.first.patient_id for s in tree.of_patient(name)] == [name] * 2 for name in names)
    assert tree.of_patient("P4") == ()
    assert visits == 1
