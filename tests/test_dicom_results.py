"""Results as DICOM objects: valid, of the scan's patient and study, and each voxel where it was computed."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from case_results import (
    ANSWER,
    PDF,
    SHAPE,
    WHY,
    Scan,
    brain_mask,
    oblique_grid,
    patient_source,
    results_of,
    source_of,
    write_scan,
)
from dicom_trees import TinyPatient, edit
from explained_cases import case

from ricenet.dicom_results.sources import SourceImages, require_one_space
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import ENHANCED_MR_IMAGE, write_image_series
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

LPS = np.array([-1.0, -1.0, 1.0])
MAPS = ("together", "event", "dose")
NAMES = {"report.dcm", "brain.dcm", "page.dcm", *(f"map-{name}.dcm" for name in MAPS)}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """To be read or copied, never changed."""
    return write_scan(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def written(scan: Scan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The results' files by name."""
    files = results_of(scan.files[0].parent).write(tmp_path_factory.mktemp("results"))
    return {file.name: file for file in files}


@pytest.fixture
def changed(scan: Scan, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the scan's folder with elements changed in every file; None deletes one."""

    def copy(**elements: object) -> Path:
        shutil.copytree(scan.files[0].parent, tmp_path / "scan")
        for file in (tmp_path / "scan").iterdir():
            edit(file, **elements)
        return tmp_path / "scan"

    return copy


# --- valid objects ---


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("multi_frame", [False, True])
def test_every_result_is_valid_dicom(multi_frame: bool, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", multi_frame=multi_frame)
    files = results_of(tmp_path / "scan").write(tmp_path / "results")
    assert {file.name for file in files} == NAMES
    for file in files:
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr + said.stdout, f"{file.name}: {said.stderr}"


@pytest.mark.skipif(shutil.which("dcm2pdf") is None, reason="dcm2pdf (dcmtk) is not installed")
def test_dcmtk_takes_the_page_out_again(written: dict[str, Path], tmp_path: Path) -> None:
    subprocess.run(["dcm2pdf", str(written["page.dcm"]), str(tmp_path / "page.pdf")], check=True)
    # an odd number of bytes, to which a zero was added
    assert len(PDF) % 2 == 1 and (tmp_path / "page.pdf").read_bytes().rstrip(b"\0") == PDF


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dsrdump (dcmtk) is not installed")
def test_dcmtk_reads_the_report(written: dict[str, Path]) -> None:
    command = ["dsrdump", "+Pl", "-Ee", str(written["report.dcm"])]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'TEXT:(,,"Comment")="Research use only: not a medical device, not for clinical use."' in said
    assert 'NUM:(,,"p_rice, calibrated")="0.7312"' in said and WHY in said


# --- whose they are ---


def test_results_are_of_the_scans_patient_study_and_space_in_series_of_their_own(
    scan: Scan, written: dict[str, Path]
) -> None:
    source, series, instances = pydicom.dcmread(scan.files[0]), set(), set()
    for name, file in written.items():
        made = pydicom.dcmread(file)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
                        "AccessionNumber", "StudyDate", "StudyTime", "StudyID"):  # fmt: skip
            assert made[keyword].value == source[keyword].value, (name, keyword)
        if name.startswith(("map", "brain")):
            assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert "Research use only" in made.SeriesDescription
        series.add(made.SeriesInstanceUID)
        instances.add(made.SOPInstanceUID)
    assert len(instances) == len(NAMES) and source.SOPInstanceUID not in instances
    # the maps share one
    assert len(series) == 4 and source.SeriesInstanceUID not in series


def test_results_refer_to_every_image_of_the_scan(scan: Scan, written: dict[str, Path]) -> None:
    uids = {pydicom.dcmread(file).SOPInstanceUID for file in scan.files}
    report, page, brain, occlusion = (
        pydicom.dcmread(written[name]) for name in ("report.dcm", "page.dcm", "brain.dcm", "map-event.dcm")
    )
    assert {item.ReferencedSOPInstanceUID for item in page.SourceInstanceSequence} == uids
    for made in (brain, occlusion):
        (referred,) = made.ReferencedSeriesSequence
        assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == uids
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    others = {pydicom.dcmread(file).SOPInstanceUID for n, file in written.items() if n != "report.dcm"}
    assert evidence == uids | others


def test_what_else_was_used_is_evidence_also_of_other_studies(scan: Scan, tmp_path: Path) -> None:
    patient = TinyPatient("ANON-17")
    event = Volume(np.ones((4, 3, 3), np.float32), Grid((4, 3, 3), np.diag([-5.0, -5, 5, 1])))
    write_image_series(event, tmp_path, patient.mri("event", date(2020, 9, 1)))
    (post_op,), (later,) = (read_tree(folder).series for folder in (scan.files[0].parent, tmp_path))
    source = patient_source(post_op)
    source = type(source)(source.volumes, {**source.images, "event": later})
    report = results_of(scan.files[0].parent, sources=SourceImages.read(source)).objects()["report.dcm"]
    (other,) = report.PertinentOtherEvidenceSequence
    assert other.StudyInstanceUID == patient.uid("event-study")
    assert len(other.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 3


def test_equal_results_have_equal_uids_and_others_have_others(scan: Scan) -> None:
    def uids(**changes: Any) -> dict[str, str]:
        made = results_of(scan.files[0].parent, **changes).objects()
        return {name: one.SOPInstanceUID for name, one in made.items()}

    first = uids()
    assert uids() == first
    assert not set(uids(answer=ANSWER | {"p_rice": 0.99}).values()) & set(first.values())
    assert not set(uids(case=case(maps={"together": case().maps["dose"]})).values()) & set(first.values())
    # without a page, the report is another one, and all else the same
    without = uids(page=None)
    assert without.pop("report.dcm") != first["report.dcm"]
    assert without.items() <= first.items()


def test_what_names_a_patient_is_its_owners_alone_whatever_is_set(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RICENET_UMASK", "022")
    files = results_of(scan.files[0].parent).write(tmp_path)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_what_is_written_already_is_never_changed(scan: Scan, tmp_path: Path) -> None:
    results = results_of(scan.files[0].parent)
    before = {file: file.read_bytes() for file in results.write(tmp_path)}
    # highdicom gives times and dimension UIDs anew
    assert {file: file.read_bytes() for file in results.write(tmp_path)} == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 144", "Иван^Ф"),
    ],
)
def test_names_keep_their_characters(changed: Callable[..., Path], character_set: str, name: str) -> None:
    sets = character_set.split("\\")
    folder = changed(SpecificCharacterSet=sets[0] if len(sets) == 1 else sets, PatientName=name)
    for file in results_of(folder).write(folder.parent / "results"):
        made = pydicom.dcmread(file)
        assert (made.PatientName, made.SpecificCharacterSet) == (name, "ISO_IR 192")


# --- headers as they come ---


def test_elements_that_are_missing_or_not_allowed_become_empty(changed: Callable[..., Path]) -> None:
    # as scanners and anonymisers write them
    wrong = {"PatientSex": "U", "StudyTime": "noon", "PatientBirthDate": "17.9.57", "PatientAge": "42"}
    with pytest.warns(UserWarning):
        folder = changed(AccessionNumber=None, StudyID=None, ReferringPhysicianName=None, **wrong)
    made = results_of(folder).objects()
    for one in made.values():
        assert (one.PatientSex, one.AccessionNumber, one.StudyID) == ("", "", "")
        assert not one.StudyTime and not one.PatientBirthDate and "PatientAge" not in one
        assert (one.PatientID, str(one.PatientName)) == ("ANON-17", "Secret^Sibylle")


def refused(folder: Path) -> str:
    with pytest.raises(SourceError) as error:
        SourceImages.read(source_of(folder))
    assert not any(word in str(error.value) for word in ("ANON", "Sibylle", "2.25."))
    return str(error.value)


def test_a_scan_without_a_space_or_study_carries_no_results(changed: Callable[..., Path]) -> None:
    folder = changed(FrameOfReferenceUID=None, StudyInstanceUID=None)
    assert "no StudyInstanceUID and no FrameOfReferenceUID" in refused(folder)


def test_slices_of_several_series_carry_no_results(scan: Scan) -> None:
    (series,) = source_of(scan.files[0].parent).images.values()
    sources = SourceImages.read(patient_source(series))
    sources.heads[0].SeriesInstanceUID = "2.25.1"
    with pytest.raises(SourceError, match="slices of the reference MRI are of 2 series"):
        require_one_space(sources.heads)


def test_nothing_is_said_of_a_name_that_highdicom_doubts(
    changed: Callable[..., Path], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = changed(PatientName="Sibylle")
    with caplog.at_level(logging.DEBUG):
        results_of(folder).objects()
    assert "Sibylle" not in caplog.text + "".join(capfd.readouterr())


# --- where they lie ---


def voxels_lps(image: SimpleITK.Image) -> dict[tuple[float, ...], float]:
    """Each voxel's value by its centre (LPS, mm, to 0.001)."""
    values = SimpleITK.GetArrayFromImage(image)
    x, y, z = image.GetSize()
    indices = np.stack(np.meshgrid(range(x), range(y), range(z), indexing="ij"), axis=-1).reshape(-1, 3)
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    places = np.array(image.GetOrigin()) + indices @ steps.T
    return {
        tuple(np.round(place, 3) + 0.0): float(values[k, j, i])
        for place, (i, j, k) in zip(places, indices, strict=True)
    }


def placed(values: np.ndarray, grid: Grid) -> dict[tuple[float, ...], float]:
    """The same of an array (X, Y, Z) and its grid in RAS, an obvious way."""
    return {
        tuple(np.round(grid.world_mm(np.array(index, float)) * LPS, 3) + 0.0): float(values[index])
        for index in np.ndindex(values.shape)
    }


@pytest.mark.parametrize("name", MAPS)
def test_every_voxel_of_a_map_lies_where_it_was_computed(written: dict[str, Path], name: str) -> None:
    made, read = case(), pydicom.dcmread(written[f"map-{name}.dcm"])
    values = np.frombuffer(read.FloatPixelData, np.float32).reshape(-1, read.Rows, read.Columns)
    shared = read.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down, along = (float(mm) for mm in shared.PixelMeasuresSequence[0].PixelSpacing)
    found = {}
    for frame, groups in zip(values, read.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for (row, column), value in np.ndenumerate(frame):
            # PS3.3, C.7.6.2.1.1
            at = position + directions[:3] * along * column + directions[3:] * down * row
            found[tuple(np.round(at, 3) + 0.0)] = float(value)
    assert found == placed(made.maps[name], made.anatomy.grid)


def test_simpleitk_places_a_maps_voxels_likewise(written: dict[str, Path], tmp_path: Path) -> None:
    # it reads no Parametric Map: numbers of the voxels stand for their values, in another kind of object
    read = pydicom.dcmread(written["map-together.dcm"])
    values = np.frombuffer(read.FloatPixelData, np.float32)
    del read.FloatPixelData
    read.add_new("PixelData", "OW", np.arange(values.size, dtype=np.uint16).tobytes())
    read.BitsAllocated = read.BitsStored = 16
    read.HighBit, read.PixelRepresentation = 15, 0
    read.SOPClassUID = read.file_meta.MediaStorageSOPClassUID = ENHANCED_MR_IMAGE
    read.save_as(tmp_path / "numbers.dcm")
    numbers = voxels_lps(SimpleITK.ReadImage(tmp_path / "numbers.dcm"))
    made = case()
    found = {at: float(values[int(number)]) for at, number in numbers.items()}
    assert found == placed(made.maps["together"], made.anatomy.grid)


def test_highdicom_finds_every_voxel_of_a_map_where_it_was_computed(written: dict[str, Path]) -> None:
    made = case()
    read = highdicom.imread(written["map-together.dcm"]).get_volume(dtype=np.float32)
    change, grid = made.maps["together"], made.anatomy.grid
    for index in ((0, 0, 0), (13, 12, 11), (19, 3, 7)):
        at = grid.world_mm(np.array(index, float)) * LPS
        (there,) = read.map_reference_to_indices(at[None], round_output=True)
        assert read.array[tuple(there)] == change[index]
    assert sorted(read.array.ravel().tolist()) == sorted(change.ravel().tolist())


def test_simpleitk_finds_the_brain_on_the_voxels_of_the_oblique_scan(written: dict[str, Path]) -> None:
    found = voxels_lps(SimpleITK.ReadImage(written["brain.dcm"]))
    assert {at: float(value > 0) for at, value in found.items()} == placed(brain_mask().data, oblique_grid())


@pytest.mark.parametrize(("multi_frame", "shared"), [(False, True), (True, True), (True, False)])
def test_each_frame_of_the_brain_lies_over_the_image_of_its_slice(
    multi_frame: bool, shared: bool, tmp_path: Path
) -> None:
    scan = write_scan(tmp_path / "scan", multi_frame=multi_frame, shared_orientation=shared)
    made = results_of(tmp_path / "scan").objects()["brain.dcm"]
    pixels, mask = made.pixel_array, brain_mask().data
    assert len(pixels) == SHAPE[2]
    for frame, groups in zip(pixels, made.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        if multi_frame:
            k = int(source.ReferencedFrameNumber) - 1
            position = (
                pydicom.dcmread(scan.files[0]).PerFrameFunctionalGroupsSequence[k].PlanePositionSequence[0]
            )
        else:
            headers = [pydicom.dcmread(file) for file in scan.files]
            k = [header.SOPInstanceUID for header in headers].index(source.ReferencedSOPInstanceUID)
            position = headers[k]
        # to the last digit, since viewers compare them
        assert groups.PlanePositionSequence[0].ImagePositionPatient == position.ImagePositionPatient
        assert (frame.astype(bool) == mask[:, :, k].T).all()


@pytest.mark.parametrize("thickness", [None, "", "2.5"])
def test_slices_that_agree_as_far_as_the_import_wants_carry_results(
    scan: Scan, tmp_path: Path, thickness: str | None
) -> None:
    folder = tmp_path / "scan"
    shutil.copytree(scan.files[0].parent, folder)
    for number, file in enumerate(sorted(folder.iterdir())):
        orientation = [float(part) for part in pydicom.dcmread(file).ImageOrientationPatient]
        orientation[0] += 1e-5 * number
        edit(file, ImageOrientationPatient=[f"{part:.6f}" for part in orientation])
        edit(file, SpacingBetweenSlices="0.7", SliceThickness="1")
        edit(file, SliceThickness=thickness)
    made = results_of(folder).objects()["brain.dcm"]
    (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SliceThickness) == (2.5 if thickness == "2.5" else 13.0)
    assert float(measures.SpacingBetweenSlices) == pytest.approx(13.0, abs=1e-3)


def test_copies_of_slices_are_left_out_as_in_the_import(scan: Scan, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    shutil.copytree(scan.files[0].parent, folder)
    shutil.copy(folder / scan.files[4].name, folder / "copy.dcm")
    edit(folder / "copy.dcm", SOPInstanceUID="2.25.77")
    made = results_of(folder).objects()["brain.dcm"]
    assert len(made.pixel_array) == SHAPE[2]


def test_a_map_without_any_change_is_written_too(scan: Scan) -> None:
    nothing = case(maps={"together": np.zeros((20, 20, 20), np.float32)})
    made = results_of(scan.files[0].parent, case=nothing).objects()["map-together.dcm"]
    assert not np.frombuffer(made.FloatPixelData, np.float32).any()
    (window,) = made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert (
        float(window.WindowWidth) > 0 and window.WindowCenterWidthExplanation == "change of p_rice by hiding"
    )


def test_an_export_that_holds_results_is_read_as_before(scan: Scan, written: dict[str, Path]) -> None:
    folder = written["report.dcm"].parents[1]
    for file in scan.files:
        shutil.copy(file, folder)
    tree = read_tree(folder)
    assert not tree.unusable
    assert [series.slices for series in tree.series if series.kind == "MR"] == [SHAPE[2]]
    assert {series.kind for series in tree.series} == {"MR", "other"}


# --- what the report says ---


def test_the_report_says_what_predict_answers(written: dict[str, Path]) -> None:
    report = highdicom.sr.srread(written["report.dcm"])
    prediction, brain = report.content.get_image_measurement_groups(), None
    group = next(g for g in prediction if g.tracking_identifier == "RICE-NET prediction")
    numbers = {m.name.value: float(m.value) for m in group.get_measurements()}
    assert numbers == {
        "p_rice": 0.9912, "p_calibrated": 0.7312, "confidence": 0.7312, "least_confidence": 0.7904,
        "votes_rice": 5.0, "folds": 5.0,
    }  # fmt: skip
    assert group.finding_type.meaning == "Radiation-induced contrast enhancement"
    assert [e.value.meaning for e in group.get_qualitative_evaluations()][-1:] == ["Indeterminate"]
    (brain,) = report.content.get_volumetric_roi_measurement_groups()
    (volume,) = brain.get_measurements()
    # 7 x 7 x 7 and 5 x 4 x 7 voxels more, of 9 x 11 x 13 mm
    assert volume.value == pytest.approx(brain_mask().data.sum() * 1.287, abs=1e-3)
    assert (volume.unit.value, report.VerificationFlag, report.PreliminaryFlag) == (
        "ml",
        "UNVERIFIED",
        "PRELIMINARY",
    )


def test_the_report_of_a_model_without_evidence_leaves_out_what_is_not_known(scan: Scan) -> None:
    unknown = {"p_rice_calibrated": None, "confidence": None, "least_confidence": None, "three_way": "n/a"}
    text = str(results_of(scan.files[0].parent, answer=ANSWER | unknown).objects()["report.dcm"])
    assert "p_rice, mean of the folds" in text and "Unknown" in text
    assert "calibrated')" not in text and "Confidence" not in text


def test_the_report_says_the_set_of_labels_or_why_there_is_none(scan: Scan) -> None:
    def said(**changes: Any) -> list[str]:
        report = results_of(scan.files[0].parent, answer=ANSWER | changes).objects()["report.dcm"]
        named = [one for one in report.iterall() if one.keyword == "TextValue"]
        return [str(one.value) for one in named if "label" in str(one.value)]

    words = "recurrence or rice (such sets hold the true label of 90 % of each label's patients)"
    assert said() == [words]
    why = "fewer than 9 held-out subjects have rice as their label"
    assert said(label_set=None, label_set_why=why) == [f"not known: {why}"]


def test_a_recurrence_has_the_standards_code(scan: Scan) -> None:
    answer = ANSWER | {"label": "recurrence", "three_way": "recurrence"}
    text = str(results_of(scan.files[0].parent, answer=answer).objects()["report.dcm"])
    assert text.count("'25173007'") == 2


def test_private_codes_are_as_short_as_code_values_have_to_be(written: dict[str, Path]) -> None:
    report = pydicom.dcmread(written["report.dcm"])
    assert not [element for element in report.iterall() if element.keyword == "LongCodeValue"]
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert (scheme.CodingSchemeDesignator, scheme.CodingSchemeName) == ("99RICENET", "RICE-NET")
