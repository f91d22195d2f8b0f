"""Series become volumes where SimpleITK sees them, or are refused for the reason."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    AXES,
    assert_same_places,
    change,
    numbered,
    only_series,
    sample,
    seen_by_simpleitk,
    setting,
    tilt,
    write_enhanced,
    write_series,
)
from dicom_trees import recompress
from pydicom import Dataset, dcmread

from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.tree import read_tree
from ricenet.volume import Volume

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_a_series_lies_where_it_was_written_and_where_simpleitk_sees_it(
    tmp_path: Path, axes: object, degrees: float
) -> None:
    written = numbered(axes=tilt(degrees) @ np.array(axes, dtype=float))
    files = write_series(tmp_path, written)
    read = read_image(only_series(tmp_path))
    assert read.grid.shape == (5, 4, 6) and read.data.dtype == np.float32
    assert_same_places(written, read)
    assert_same_places(seen_by_simpleitk(files), read)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_axes_follow_rows_columns_and_the_normal_whatever_the_order_of_slices(
    tmp_path: Path, axes: object
) -> None:
    written = numbered(axes=axes)
    write_series(tmp_path, written)
    affine = read_image(only_series(tmp_path)).grid.affine
    assert np.linalg.det(affine) > 0
    np.testing.assert_allclose(affine[:3, :2], written.grid.affine[:3, :2], atol=1e-9)
    np.testing.assert_allclose(np.abs(affine[:3, 2]), np.abs(written.grid.affine[:3, 2]), atol=1e-9)


def test_hand_computed_voxel_of_an_axial_series(tmp_path: Path) -> None:
    written = numbered()
    write_series(tmp_path, written)
    read = read_image(only_series(tmp_path))
    # 4 columns of 1.25 mm to the left, 3 rows of 0.75 mm back, 5 slices of 2.5 mm up
    np.testing.assert_allclose(read.grid.affine @ [4, 3, 5, 1], [11 - 5, -7 - 2.25, 23.5 + 12.5, 1])
    assert read.data[4, 3, 5] == written.data[4, 3, 5] == 119


def test_a_real_mri_agrees_with_simpleitk_in_every_voxel(tmp_path: Path) -> None:
    with tarfile.open(sample("mri_t1_dicom", "datalad_example-dicom-structural.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = read_tree(tmp_path)
    (series,) = tree.series
    read = read_image(series)
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "dicoms"))
    seen = seen_by_simpleitk([Path(name) for name in names])
    assert series.slices == 384 and read.grid.shape == (274, 384, 384)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in read.grid.shape], [1])).reshape(4, 8)
    np.testing.assert_allclose(read.grid.affine @ corners, seen.grid.affine @ corners, atol=1e-4)
    np.testing.assert_array_equal(read.data, seen.data)


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, DEFLATED, RLE])
def test_transfer_syntaxes_without_plugins_are_read(tmp_path: Path, syntax: str) -> None:
    if syntax == IMPLICIT:
        for path in write_series(tmp_path, numbered()):
            dataset = dcmread(path)
            dataset.file_meta.TransferSyntaxUID = IMPLICIT
            dataset.save_as(path, implicit_vr=True, little_endian=True)
    else:
        write_series(tmp_path, numbered(), transfer_syntax_uid=syntax)
    series = only_series(tmp_path)
    assert dcmread(series.first.path).file_meta.TransferSyntaxUID == syntax
    assert_same_places(numbered(), read_image(series))


@pytest.mark.parametrize(
    "compression", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"]
)
@pytest.mark.parametrize("lowest", [0, -60])
def test_files_that_gdcm_compressed_are_read(tmp_path: Path, compression: str, lowest: int) -> None:
    written = numbered((12, 10, 4))
    written = Volume(written.data + lowest, written.grid)
    for path in write_series(tmp_path, written):
        recompress(path, compression)
    series = only_series(tmp_path)
    assert dcmread(series.first.path).file_meta.TransferSyntaxUID.is_compressed
    assert_same_places(written, read_image(series))


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((2, 2, 3)))
    for k, path in enumerate(files):
        change(path, setting(RescaleSlope=str(0.5 + k), RescaleIntercept=str(-10 * k)))
    read = read_image(only_series(tmp_path))
    # stored 0..11 with the slice varying fastest
    assert read.data[0, 0].tolist() == [0.0, 1 * 1.5 - 10, 2 * 2.5 - 20]
    assert read.data[1, 1].tolist() == [9 * 0.5, 10 * 1.5 - 10, 11 * 2.5 - 20]


def test_ct_is_in_hounsfield_units(tmp_path: Path) -> None:
    written = Volume(numbered().data - 1024, numbered().grid)
    files = write_series(tmp_path, written, modality="CT", intercept=-1024.0)
    read = read_image(only_series(tmp_path))
    assert read.data.min() == -1024
    assert_same_places(seen_by_simpleitk(files), read)


def test_real_world_value_mapping_is_not_applied(tmp_path: Path) -> None:
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1000.0, 5.0
    for path in write_series(tmp_path, numbered()):
        change(path, setting(RealWorldValueMappingSequence=[mapping]))
    assert read_image(only_series(tmp_path)).data.max() == 119


@pytest.mark.parametrize(("signed", "expected"), [(0, 0x0FFF), (1, -1)])
def test_bits_above_those_stored_are_no_part_of_the_value(tmp_path: Path, signed: int, expected: int) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, lambda d: _overlay_in_high_bits(d, signed))
    assert read_image(only_series(tmp_path)).data.max() == expected


def _overlay_in_high_bits(dataset: Dataset, signed: int) -> None:
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, signed
    dataset.PixelData = np.full((4, 5), 0x5FFF, "<u2").tobytes()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_enhanced_mr_is_read_as_the_same_volume(tmp_path: Path, shared: bool, axes: object) -> None:
    written = numbered(axes=tilt() @ np.array(axes, dtype=float))
    path = write_enhanced(tmp_path, written, shared_orientation=shared)
    series = only_series(tmp_path)
    assert series.slices == 6
    read = read_image(series)
    assert_same_places(written, read)
    if np.linalg.det(written.grid.affine) > 0:
        # ITK 5.4 takes the direction of frames from their orientation alone
        assert_same_places(seen_by_simpleitk([path]), read)


def test_legacy_converted_enhanced_mr_is_read_alike(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path, numbered())
    change(path, setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.4.4"))
    assert_same_places(numbered(), read_image(only_series(tmp_path)))


def test_enhanced_frames_have_their_own_rescaling(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path, numbered((2, 2, 3)))

    def edit(dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            scaling = Dataset()
            scaling.RescaleSlope, scaling.RescaleIntercept = str(1 + k), str(k)
            frame.PixelValueTransformationSequence = [scaling]

    change(path, edit)
    assert read_image(only_series(tmp_path)).data[0, 1].tolist() == [3.0, 4 * 2 + 1, 5 * 3 + 2]


def test_frames_in_any_order_are_sorted_by_position(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path, numbered())

    def edit(dataset: Dataset) -> None:
        order = [3, 0, 5, 1, 4, 2]
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
        dataset.PixelData = dataset.pixel_array[order].tobytes()

    change(path, edit)
    assert_same_places(numbered(), read_image(only_series(tmp_path)))
