"""Dose grids lie where the standard's two kinds of offsets put them, in the units they state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    AXES,
    FRAME,
    assert_same_places,
    change,
    numbered,
    only_instance,
    sample,
    seen_by_simpleitk,
    setting,
    tilt,
    write_dose,
)
from pydicom import Dataset
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.dose import DoseObject, read_dose, read_dose_header
from ricenet.importing.dicom.headers import read_header
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume


def read(folder: Path) -> DoseObject:
    return read_dose(only_instance(folder))


def gray(axes: object = AXES["axial"]) -> Volume:
    """Whole numbers of half a gray, 0 to 59.5 Gy."""
    volume = numbered(axes=axes)
    return Volume(volume.data / np.float32(2), volume.grid)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_relative_offsets_follow_the_normal_of_any_orientation(
    tmp_path: Path, axes: object, bits: int
) -> None:
    # the left-handed grids among these are written with descending offsets
    written = gray(tilt() @ np.array(axes, dtype=float))
    path = write_dose(tmp_path, dose=written, bits=bits)
    dose = read(tmp_path).values
    assert dose.data.dtype == np.float32
    rounded = Volume(np.rint(dose.data * 2) / np.float32(2), dose.grid)
    assert np.abs(rounded.data - dose.data).max() < (1e-3 if bits == 16 else 1e-5)
    assert_same_places(written, rounded)
    if np.linalg.det(written.grid.affine) > 0:
        seen = seen_by_simpleitk([path])
        np.testing.assert_allclose(seen.grid.affine, dose.grid.affine, atol=1e-4)


@pytest.mark.parametrize("orientation", [[1, 1], [-1, -1], [1, -1], [-1, 1]])
@pytest.mark.parametrize("upwards", [True, False])
def test_absolute_offsets_are_the_planes_z(tmp_path: Path, orientation: list[int], upwards: bool) -> None:
    axes = np.diag([*orientation, 1 if upwards else -1])
    written = gray(axes)
    write_dose(tmp_path, dose=written, offsets="absolute")
    dose = read(tmp_path).values
    assert_same_places(written, Volume(np.rint(dose.data * 2) / np.float32(2), dose.grid))


def test_offsets_of_a_grid_whose_normal_points_down(tmp_path: Path) -> None:
    path = write_dose(tmp_path, dose=gray())
    turned = ["1", "0", "0", "0", "-1", "0"]
    change(path, setting(ImageOrientationPatient=turned, ImagePositionPatient=["0", "0", "40"]))
    # relative: away from 40 along the normal, which is -z
    assert _z_of_frames(read(tmp_path)) == pytest.approx([40, 37.5, 35, 32.5, 30, 27.5])
    change(path, setting(GridFrameOffsetVector=[str(40 + 2.5 * k) for k in range(6)]))
    # absolute: the z coordinates themselves
    assert _z_of_frames(read(tmp_path)) == pytest.approx([40, 42.5, 45, 47.5, 50, 52.5])


def _z_of_frames(dose: DoseObject) -> list[float]:
    """Height of frame k, whose first voxel holds k * 0.5 Gy."""
    frames = np.rint(dose.values.data[0, 0] * 2).astype(int)
    heights = dose.values.grid.affine[2, 2] * np.arange(6) + dose.values.grid.affine[2, 3]
    return [float(heights[frames.tolist().index(k)]) for k in range(6)]


@pytest.mark.parametrize("z_mm", ["0", "0.01", "-0.005"])
def test_offsets_from_zero_at_z_zero_say_nothing_of_the_direction_if_the_normal_points_down(
    tmp_path: Path, z_mm: str
) -> None:
    """Relative ones would count down from there, absolute ones up."""
    path = write_dose(tmp_path, dose=gray())
    change(path, setting(ImagePositionPatient=["0", "0", z_mm]))
    assert _z_of_frames(read(tmp_path)) == pytest.approx([float(z_mm) + 2.5 * k for k in range(6)])
    change(path, setting(ImageOrientationPatient=["1", "0", "0", "0", "-1", "0"]))
    with pytest.raises(SourceError, match="may count upwards or downwards: the dose grid starts at z = 0 mm"):
        read(tmp_path)
    # in an oblique grid they can only be relative
    change(path, setting(ImageOrientationPatient=["1", "0", "0", "0", "-0.8", "0.6"]))
    assert _z_of_frames(read(tmp_path)) == pytest.approx([float(z_mm) - 2 * k for k in range(6)])


def test_32_bit_integers_are_scaled_before_they_are_rounded_to_float32(tmp_path: Path) -> None:
    path = write_dose(tmp_path, dose=gray())

    def edit(dataset: Dataset) -> None:
        stored = np.full((6, 4, 5), 2**32 - 1, "<u4")
        stored[0, 0, 0] = 2**24 + 1
        dataset.PixelData, dataset.DoseGridScaling = stored.tobytes(), "1e-8"

    change(path, edit)
    values = read(tmp_path).values.data
    assert values[0, 0, 0] == np.float32((2**24 + 1) * 1e-8)
    assert values[1, 0, 0] == np.float32(42.94967295)


def test_signed_dose_of_an_error_map_keeps_its_sign(tmp_path: Path) -> None:
    path = write_dose(tmp_path, dose=gray(), dose_type="ERROR", bits=16)
    change(
        path,
        setting(
            PixelRepresentation=1, DoseGridScaling="0.01", PixelData=np.full((6, 4, 5), -250, "<i2").tobytes()
        ),
    )
    dose = read(tmp_path)
    assert dose.dose_type == "ERROR" and dose.values.data.max() == np.float32(-2.5)


def test_what_the_object_states_is_passed_on(tmp_path: Path) -> None:
    write_dose(tmp_path, dose=gray(), plan_uids=["1.2.3", "1.2.4"], units="RELATIVE", dose_type="EFFECTIVE",
        summation_type="BEAM", beam_number=7, structure_set_uid="1.2.5",
    )  # fmt: skip
    dose = read(tmp_path)
    assert (dose.units, dose.dose_type, dose.summation_type) == ("RELATIVE", "EFFECTIVE", "BEAM")
    assert dose.frame_of_reference_uid == FRAME
    assert dose.plan_uids == ("1.2.3", "1.2.4")
    assert dose.beam_numbers == (7,)
    assert dose.structure_set_uids == ("1.2.5",)
    header = read_dose_header(only_instance(tmp_path))
    assert header.has_grid and vars(header).items() <= vars(dose).items()
    write_dose(tmp_path, dose=gray())
    dose = read(tmp_path)
    assert (dose.plan_uids, dose.beam_numbers, dose.structure_set_uids) == ((), (), ())


def test_a_real_dose_has_its_known_grid_and_maximum() -> None:
    path = sample("rt_dicom", "rtdose.dcm")
    instance = read_header(path)
    assert instance is not None
    dose = read_dose(instance)
    assert dose.values.grid.shape == (194, 129, 98)
    np.testing.assert_allclose(dose.values.grid.spacing_mm, (2.5, 2.5, 3.0))
    np.testing.assert_allclose(dose.values.grid.affine[:3, 3], (228.6541915, 419.2444776, -122.4407))
    assert dose.values.data.max() == pytest.approx(14.68, abs=0.005)
    assert (dose.units, dose.dose_type, dose.summation_type) == ("GY", "PHYSICAL", "PLAN")
    seen = seen_by_simpleitk([path])
    np.testing.assert_allclose(seen.grid.affine, dose.values.grid.affine, atol=1e-4)
    # SimpleITK gives integers, or applies the scaling; either is proportional
    factor = float(dose.values.data.max() / seen.data.max())
    np.testing.assert_allclose(seen.data * factor, dose.values.data, rtol=1e-5, atol=1e-6)


def test_pydicoms_own_dose_is_read_in_its_relative_units() -> None:
    path = Path(str(get_testdata_file("rtdose.dcm", download=False)))
    instance = read_header(path)
    assert instance is not None
    assert read_dose(instance).units == "RELATIVE"


@pytest.mark.filterwarnings("ignore:.*VR (of )?IS")
def test_a_number_of_frames_written_as_a_decimal_is_that_number(tmp_path: Path) -> None:
    change(write_dose(tmp_path, dose=gray()), setting(NumberOfFrames="6.0"))
    assert_same_places(read(tmp_path).values, gray())
    assert only_instance(tmp_path).frames == 6


def test_without_a_number_of_frames_there_are_as_many_as_offsets_and_planes_of_pixels(tmp_path: Path) -> None:
    change(write_dose(tmp_path, dose=gray()), setting(NumberOfFrames=None))
    found = read(tmp_path)
    assert_same_places(found.values, gray())
    assert found.decisions == ("NumberOfFrames is not stated: 6, as many as offsets and planes of pixels.",)


# ---- refusals


def one_frame(dataset: Dataset) -> None:
    dataset.NumberOfFrames, dataset.PixelData = 1, dataset.PixelData[:80]


def no_grid(dataset: Dataset) -> None:
    for keyword in ("PixelData", "Rows", "Columns", "NumberOfFrames"):
        delattr(dataset, keyword)


def offsets(*values: float) -> Callable[[Dataset], None]:
    return setting(GridFrameOffsetVector=[str(value) for value in values])


def five_offsets_alone(dataset: Dataset) -> None:
    offsets(0, 2.5, 5, 7.5, 10)(dataset)
    del dataset.NumberOfFrames


def heights_of_an_oblique_grid(dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "-0.8", "0.6"]
    z = float(dataset.ImagePositionPatient[2])
    dataset.GridFrameOffsetVector = [f"{z + 2.5 * k:.6f}" for k in range(6)]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        *(
            (setting(**{keyword: value}), f"{keyword} is missing in an RTDOSE")
            for keyword in ("DoseUnits", "DoseType", "DoseSummationType", "DoseGridScaling")
            for value in (None, "")
        ),
        (no_grid, "an RTDOSE without a dose grid"),
        (one_frame, "an RTDOSE of a single plane"),
        (setting(GridFrameOffsetVector=None), "GridFrameOffsetVector is missing"),
        (offsets(0, 2.5, 5), "3 frame offsets for 6 dose planes"),
        (five_offsets_alone, "NumberOfFrames is missing: 5 frame offsets, 6 planes"),
        (offsets(0, 2.5, 5, 7.5, 10, 13.5), "dose planes are unevenly spaced"),
        (offsets(0, 2.5, 5, 7.5, 10, 20), "3 dose planes are missing: 3 between the dose planes 5 and 6"),
        (offsets(0, 2.5, 5, 2.5, 0, 2.5), "offsets neither rise nor fall"),
        (offsets(0, 0, 0, 0, 0, 0), "offsets neither rise nor fall"),
        (offsets(7, 9.5, 12, 14.5, 17, 19.5), "starts at 7.00 mm, neither 0 nor the first plane's z"),
        (setting(DoseGridScaling="0"), "DoseGridScaling is not positive"),
        (setting(PixelSpacing=["1", "-1"]), "PixelSpacing is not positive"),
        (setting(ImagePositionPatient=None), "ImagePositionPatient is missing"),
        (heights_of_an_oblique_grid, "holds z coordinates, but the dose planes are not axial"),
    ],
)
def test_a_dose_that_does_not_say_what_or_where_it_is_is_refused(
    tmp_path: Path, edit: Callable[[Dataset], object], words: str
) -> None:
    change(write_dose(tmp_path, dose=gray()), edit)
    with pytest.raises(SourceError) as refused:
        read(tmp_path)
    assert words in str(refused.value)
