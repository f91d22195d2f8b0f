"""Slices and planes that an export tore apart are put together, copies dropped, localizers left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    SERIES,
    assert_same_places,
    change,
    numbered,
    only_instance,
    only_series,
    setting,
    write_dose,
    write_series,
)
from pydicom import dcmread

from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.images import ReadImage, read_image, read_series
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume

NUMBERED = replace(SERIES, number=4, description="T1 KM")


def refusal(series: Series) -> str:
    with pytest.raises(SourceError) as refused:
        read_image(series)
    return str(refused.value)


# every slice a series of its own


def torn(folder: Path) -> list[Path]:
    """A series of six slices, each with its own SeriesInstanceUID."""
    paths = write_series(folder, numbered(), NUMBERED)
    for k, path in enumerate(paths):
        change(path, setting(SeriesInstanceUID=uid("torn", k)))
    return paths


def test_slices_with_series_of_their_own_are_one_series_with_a_note(tmp_path: Path) -> None:
    torn(tmp_path)
    series = only_series(tmp_path)
    assert series.slices == 6 and series.uid == min(uid("torn", k) for k in range(6))
    assert series.notes == (
        "6 series of one slice each joined (same study, number, description, frame of reference and size)",
    )
    assert_same_places(read_image(series), numbered())


@pytest.mark.parametrize(
    "difference",
    [
        {"StudyInstanceUID": "2.25.1"}, {"SeriesNumber": 5}, {"SeriesDescription": "T2"},
        {"FrameOfReferenceUID": "2.25.2"}, {"StudyDate": "20200302"},
    ],
    ids=lambda elements: next(iter(elements)),
)  # fmt: skip
def test_slices_that_differ_in_what_they_say_of_their_volume_stay_apart(
    tmp_path: Path, difference: dict[str, object]
) -> None:
    for path in torn(tmp_path)[3:]:
        change(path, setting(**difference))
    assert sorted(one.slices for one in read_tree(tmp_path).series) == [3, 3]


def test_slices_that_say_nothing_of_their_volume_stay_apart(tmp_path: Path) -> None:
    for path in torn(tmp_path):
        change(path, setting(FrameOfReferenceUID=None))
    assert len(read_tree(tmp_path).series) == 6


def test_a_slice_that_cannot_be_used_is_missed_in_the_joined_series(tmp_path: Path) -> None:
    last = torn(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-20])
    (series,) = read_tree(tmp_path).series
    assert "1 of 6 files of the series cannot be used: pixel data are cut short" in refusal(series)


# one RTDOSE a plane


def gray() -> Volume:
    volume = numbered()
    return Volume((volume.data * 0.5).astype(np.float32), volume.grid)


def planes(folder: Path) -> list[Path]:
    """Each plane of a dose as an RTDOSE of its own, scaled by its own maximum."""
    dose, paths = gray(), []
    for k in range(dose.grid.shape[2]):
        path = write_dose(folder, f"1.2.{k}", dose)
        dataset = dcmread(path)
        stored = dataset.pixel_array[k].astype(np.float64) * float(dataset.DoseGridScaling)
        dataset.DoseGridScaling = f"{stored.max() / 60000:.8e}"
        dataset.PixelData = np.rint(stored / float(dataset.DoseGridScaling)).astype("<u4").tobytes()
        normal_mm = float(dataset.GridFrameOffsetVector[k])
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [f"{x}", f"{y}", f"{z + normal_mm}"]
        dataset.NumberOfFrames, dataset.GridFrameOffsetVector = 1, ["0"]
        dataset.SeriesInstanceUID = "1.2.99"
        dataset.save_as(path)
        paths.append(path)
    return paths


def test_one_rtdose_a_plane_is_stacked_where_the_planes_form_a_regular_grid(tmp_path: Path) -> None:
    planes(tmp_path)
    instance = only_instance(tmp_path)
    assert (instance.frames, instance.sop_instance_uid) == (6, "1.2.0")
    assert instance.notes == ("6 RTDOSE of one plane each, stacked",)
    found = read_dose(instance)
    assert found.decisions == ("6 RTDOSE of one plane each are stacked.",)
    np.testing.assert_allclose(found.values.grid.affine, gray().grid.affine, atol=1e-6)
    np.testing.assert_allclose(found.values.data, gray().data, atol=1e-3)


@pytest.mark.parametrize("in_series_of_their_own", [True, False])
def test_planes_may_lie_in_one_series_or_in_many(tmp_path: Path, in_series_of_their_own: bool) -> None:
    for k, path in enumerate(planes(tmp_path)):
        change(path, setting(SeriesInstanceUID=f"1.3.{k}" if in_series_of_their_own else "1.3"))
    assert only_instance(tmp_path).frames == 6


def missing(paths: list[Path]) -> None:
    paths[2].unlink()


def cut_short(paths: list[Path]) -> None:
    paths[-1].write_bytes(paths[-1].read_bytes()[:-8])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(missing, "1 dose plane is missing"), (cut_short, "files of the dose cannot be used")],
)
def test_planes_that_form_no_regular_grid_are_named_as_planes(
    tmp_path: Path, spoil: Callable[[list[Path]], None], why: str
) -> None:
    spoil(planes(tmp_path))
    found = [one for series in read_tree(tmp_path).series for one in series.instances]
    assert [one.frames for one in found] == [1] * 5
    for one in found:
        assert one.notes[0].startswith("one of 5 RTDOSE of a single plane each, which form no regular grid: ")
        assert why in one.notes[0]
    with pytest.raises(SourceError, match="single plane"):
        read_dose(found[0])


def test_planes_of_two_doses_are_not_mixed(tmp_path: Path) -> None:
    for path in planes(tmp_path)[3:]:
        change(path, setting(DoseSummationType="BEAM"))
    found = [one for series in read_tree(tmp_path).series for one in series.instances]
    assert [one.frames for one in found] == [3, 3]


# copies


def copied(paths: list[Path], *indices: int, **differing: object) -> None:
    for k in indices:
        copy = paths[k].with_name(f"copy{k}.dcm")
        shutil.copy(paths[k], copy)
        change(copy, setting(SOPInstanceUID=uid("copy", k), InstanceNumber=100 + k, **differing))


@pytest.mark.parametrize("indices", [(1, 3, 4), range(6)], ids=["three", "all"])
def test_equal_copies_of_slices_are_dropped_with_a_note(tmp_path: Path, indices: tuple[int, ...]) -> None:
    copied(write_series(tmp_path, numbered()), *indices)
    found = read_series(only_series(tmp_path))
    assert_same_places(found.volume, numbered())
    n = len(indices)
    assert found.decisions == (
        f"{n} of {6 + n} slices are copies of others, with the same pixels, and dropped.",
    )


@pytest.mark.parametrize(
    "differing",
    [{"RescaleSlope": "2", "RescaleIntercept": "0"}, {"AcquisitionNumber": 9}, {"PixelData": bytes(40)}],
)
def test_slices_in_one_place_that_differ_are_still_refused(
    tmp_path: Path, differing: dict[str, object]
) -> None:
    paths = write_series(tmp_path, numbered())
    copied(paths, 2, **differing)
    assert "7 slices lie at 6 positions" in refusal(only_series(tmp_path))


# localizers

LOCALIZER = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
SIDEWAYS = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}


def with_localizer(folder: Path, **elements: object) -> Series:
    """A CT of 11 slices of which the last is another image."""
    paths = write_series(folder, numbered((5, 4, 11)), modality="CT", intercept=-1024.0)
    change(paths[-1], setting(**elements))
    return only_series(folder)


def test_a_localizer_among_the_slices_is_named_with_the_way_to_leave_it_out(tmp_path: Path) -> None:
    said = refusal(with_localizer(tmp_path, **LOCALIZER, **SIDEWAYS))
    assert "1 of 11 images of the series are localizers (ImageType LOCALIZER)" in said
    assert "write localizer as leave_out into its row of the map" in said


@pytest.mark.parametrize("elements", [LOCALIZER | SIDEWAYS, SIDEWAYS], ids=["by its tag", "by its direction"])
def test_a_localizer_is_left_out_where_the_user_says_so(tmp_path: Path, elements: dict[str, object]) -> None:
    series = replace(with_localizer(tmp_path, **elements), leaves_out_localizers=True)
    found = read_series(series)
    assert found.decisions == ("1 localizer(s) of the series are left out, as stated by the user.",)
    whole = numbered((5, 4, 11))
    expected = Volume(whole.data[:, :, :10], replace(whole.grid, shape=(5, 4, 10)))
    assert_same_places(found.volume, expected)


def test_images_of_many_directions_are_no_volume_with_localizers(tmp_path: Path) -> None:
    paths = write_series(tmp_path, numbered())
    for path in paths[3:]:
        change(path, setting(**SIDEWAYS))
    series = replace(only_series(tmp_path), leaves_out_localizers=True)
    assert "slices of 2 orientations" in refusal(series)


# variable spacing

HEIGHTS = {
    "a fine middle": [0, 3, 6, 9, 12, 13, 14, 15, 16, 19, 22, 25],
    "a gap in between": [0, 3, 6, 9, 11, 12, 13, 14, 15],
}


def at_heights(folder: Path, heights: list[float]) -> Series:
    """A CT whose value is 10 HU a millimetre of height; float heights along the patient's axis, mm."""
    volume = numbered((3, 3, len(heights)))
    volume.data[:] = 10 * np.array(heights)
    paths = write_series(folder, volume, modality="CT", intercept=-1024.0)
    base = [float(value) for value in dcmread(paths[0]).ImagePositionPatient]
    for path, height in zip(paths, heights, strict=True):
        change(path, setting(ImagePositionPatient=[base[0], base[1], base[2] + height]))
    return only_series(folder)


@pytest.mark.parametrize("name", HEIGHTS)
def test_variable_spacing_is_named_and_resampled_where_an_image_only_serves_the_registration(
    tmp_path: Path, name: str
) -> None:
    heights = [float(height) for height in HEIGHTS[name]]
    series = at_heights(tmp_path, heights)
    said = refusal(series)
    assert said.startswith("variable spacing: slices are 1.00 mm and 3.00 mm apart")
    found: ReadImage = read_series(series, varying=True)
    assert found.decisions == ("Slices 1.00 to 3.00 mm apart are resampled linearly to 1.00 mm.",)
    # a ramp is resampled without error
    expected = 10 * np.arange(heights[-1] + 1)
    np.testing.assert_allclose(found.volume.data[1, 1], expected, atol=1e-3)
    assert found.volume.grid.spacing_mm[2] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("heights", "said"),
    [
        ([0, 1, 2, 3, 4, 6, 7, 8, 9, 10], "1 slice is missing"),
        ([0, 1, 2, 3, 4, 8, 9, 10, 11], "3 slices are missing"),
        ([0, 1, 2, 3, 23, 43, 63], "variable spacing"),
        ([0, 1, 2.5, 3, 4, 5.7, 6], "unevenly spaced"),
    ],
    ids=["one missing", "three missing", "too coarse", "uneven"],
)
def test_what_is_no_run_of_spacings_is_refused_for_a_registration_too(
    tmp_path: Path, heights: list[float], said: str
) -> None:
    series = at_heights(tmp_path, [float(height) for height in heights])
    with pytest.raises(SourceError, match=said):
        read_series(series, varying=True)
