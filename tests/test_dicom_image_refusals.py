"""Series that are no regular stack of measured values are refused for the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    AXES,
    STUDY,
    change,
    compress_with_gdcm,
    numbered,
    only_series,
    setting,
    tilt,
    write_enhanced,
    write_series,
)
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames

from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import write_secondary_capture
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.errors import SourceError

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"


def refused(folder: Path, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        read_image(read_tree(folder).series[0])


def test_a_single_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, numbered((5, 4, 1)))
    refused(tmp_path, "a single slice is no volume")


def test_missing_slices_are_counted_and_placed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((3, 3, 12)))
    for k in (4, 5, 9):
        files[k].unlink()
    refused(
        tmp_path,
        r"3 slices are missing: 2 between the slices 4 and 5 \(7\.5 and 15\.0 mm from the first\), "
        r"1 between the slices 7 and 8 \(20\.0 and 25\.0 mm",
    )


def test_one_missing_slice_among_many_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((2, 2, 60)))
    files[58].unlink()
    refused(tmp_path, r"1 slice is missing: 1 between the slices 58 and 59")


def test_many_gaps_are_not_all_listed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((2, 2, 30)))
    for k in (3, 8, 13, 18, 23):
        files[k].unlink()
    refused(tmp_path, "5 slices are missing: .*further ones")


def test_repeated_positions_are_counted_with_what_differs(tmp_path: Path) -> None:
    for number in (1, 2):
        files = write_series(tmp_path / f"{number}", numbered())
        for k, path in enumerate(files):
            change(path, setting(AcquisitionNumber=number, SOPInstanceUID=uid("repeat", number, k)))
    refused(tmp_path, r"12 slices lie at 6 positions \(2 acquisitions\): several echoes")


def test_unevenly_spaced_slices_are_refused_with_the_range(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(files[3], _moved(0, 0, 0.7))
    refused(tmp_path, r"unevenly spaced: 1\.80 to 3\.20 mm")


@pytest.mark.parametrize(("off_mm", "fits"), [(0.04, True), (0.07, False)])
def test_a_slice_may_be_off_by_a_twentieth_of_a_millimetre(tmp_path: Path, off_mm: float, fits: bool) -> None:
    # with a spacing of 2.5 mm, 2 % of it are 0.05 mm too
    change(write_series(tmp_path, numbered())[3], _moved(0, 0, off_mm))
    if fits:
        assert read_image(only_series(tmp_path)).grid.spacing_mm[2] == pytest.approx(2.5)
    else:
        refused(tmp_path, "unevenly spaced")


def _moved(x: float, y: float, z: float) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        position = np.array(dataset.ImagePositionPatient, dtype=float) + np.array([x, y, z])
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]

    return edit


def test_a_slice_beside_the_line_is_refused(tmp_path: Path) -> None:
    change(write_series(tmp_path, numbered())[2], _moved(4.0, 0, 0))
    refused(tmp_path, r"do not lie on one line: up to 4\.00 mm beside it")


def test_gantry_tilt_is_refused_by_name_and_angle(tmp_path: Path) -> None:
    for k, path in enumerate(write_series(tmp_path, numbered())):
        change(path, _moved(0, 2.5 * k * np.tan(np.deg2rad(15.0)), 0))
    refused(tmp_path, r"gantry tilt: slices follow each other at 15\.0 degrees to their normal")


def test_a_localiser_is_refused(tmp_path: Path) -> None:
    for name in ("axial", "sagittal", "coronal"):
        for k, path in enumerate(write_series(tmp_path / name, numbered((4, 4, 2), axes=AXES[name]))):
            change(path, setting(SOPInstanceUID=uid(name, k)))
    refused(tmp_path, "slices of 3 orientations, as in a localiser")


def test_slices_of_differing_size_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a", numbered())
    for k, path in enumerate(write_series(tmp_path / "b", numbered((6, 4, 6)))):
        change(path, setting(SOPInstanceUID=uid("other", k)))
    refused(tmp_path, r"slices of 2 sizes \(5 x 4, 6 x 4\)")


def test_slices_of_differing_pixel_spacing_are_refused(tmp_path: Path) -> None:
    change(write_series(tmp_path, numbered())[1], setting(PixelSpacing=["0.8", "1.25"]))
    refused(tmp_path, r"differing pixel spacing \(0\.75 to 1\.25 mm\)")


def test_slices_in_two_frames_of_reference_are_refused(tmp_path: Path) -> None:
    change(write_series(tmp_path, numbered())[1], setting(FrameOfReferenceUID=uid("another")))
    refused(tmp_path, "slices in 2 frames of reference")


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_a_missing_plane_is_refused_by_its_tag(tmp_path: Path, keyword: str) -> None:
    change(write_series(tmp_path, numbered())[1], setting(**{keyword: None}))
    refused(tmp_path, f"{keyword} is missing")


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"ImageOrientationPatient": ["1", "0", "0", "0.1", "1", "0"]}, r"unit vectors \(off by 0\.1\)"),
        ({"ImageOrientationPatient": ["0"] * 6}, "two perpendicular unit vectors"),
        ({"ImageOrientationPatient": ["1", "0", "0"]}, "ImageOrientationPatient has 3 values instead of 6"),
        ({"PixelSpacing": ["0", "1"]}, "Rows, Columns or PixelSpacing is not positive"),
        ({"RescaleSlope": "2", "RescaleIntercept": ""}, "RescaleSlope or RescaleIntercept is missing"),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "RescaleSlope is 0"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation is MONOCHROME1"),
        ({"PhotometricInterpretation": "SMITH_JOHN"}, "PhotometricInterpretation is an unknown word"),
        ({"PhotometricInterpretation": ""}, "PhotometricInterpretation is missing"),
        ({"SamplesPerPixel": 3}, "colour images"),
        ({"ModalityLUTSequence": [Dataset()]}, "scaled by a table"),
        ({"BitsStored": 17}, "number of bits is not stated plausibly"),
        ({"HighBit": 12}, "16 bits whose highest is bit 12"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_values_is_refused(
    tmp_path: Path, elements: dict[str, object], match: str
) -> None:
    for path in write_series(tmp_path, numbered()):
        change(path, setting(**elements))
    if "SamplesPerPixel" in elements:
        for path in tmp_path.iterdir():
            change(path, lambda d: setattr(d, "PixelData", bytes(3) * len(d.PixelData)))
    refused(tmp_path, match)


@pytest.mark.parametrize("value", [b"nan  ", b"1e999", b"three"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: bytes) -> None:
    paths = write_series(tmp_path, numbered())
    change(paths[0], setting(SliceLocation=None, PixelSpacing=["1.125", "1.125"]))
    content = paths[0].read_bytes()
    assert content.count(b"1.125\\1.125") == 1
    paths[0].write_bytes(content.replace(b"1.125\\", value + b"\\"))
    refused(tmp_path, "PixelSpacing is malformed")


def test_ct_without_rescaling_is_not_in_hounsfield_units(tmp_path: Path) -> None:
    for path in write_series(tmp_path, numbered(), modality="CT"):
        change(path, setting(RescaleSlope=None, RescaleIntercept=None))
    refused(tmp_path, "RescaleSlope or RescaleIntercept is missing")


def test_series_of_other_kinds_are_refused(tmp_path: Path) -> None:
    write_secondary_capture(np.zeros((4, 4, 3), np.uint8), tmp_path / "shot", STUDY, series_uid=uid("shot"))
    refused(tmp_path, "neither MR nor CT")


@pytest.mark.parametrize(
    ("syntax", "match"),
    [
        ("1.2.840.10008.1.2.4.201", r"High-Throughput JPEG 2000 .*cannot be decoded.*Install pylibjpeg"),
        ("1.2.840.10008.1.2.4.100", r"MPEG2 .*cannot be decoded.*Convert it"),
        ("1.2.3.4.5", r"unknown \(private\) transfer syntax"),
        ("1.2.840.10008.1.2.4.70", r"JPEG Lossless.*are damaged"),
        ("1.2.840.10008.1.2.5", r"RLE Lossless\) are damaged"),
    ],
)
def test_compression_that_cannot_be_decoded_is_named(tmp_path: Path, syntax: str, match: str) -> None:
    for path in write_series(tmp_path, numbered(), transfer_syntax_uid=RLE):
        dataset = dcmread(path)
        dataset.PixelData = encapsulate([b"\x01\x02\x03\x04" * 10])
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    refused(tmp_path, match)


@pytest.mark.parametrize("compression", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_a_codestream_cut_short_is_not_filled_up(tmp_path: Path, compression: str) -> None:
    paths = write_series(tmp_path, numbered((40, 30, 2)))
    for path in paths:
        compress_with_gdcm(path, compression)

    def edit(dataset: Dataset) -> None:
        (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([codestream[: len(codestream) // 2 * 2 - 20]])

    change(paths[1], edit)
    refused(tmp_path, r"pixel data \(.*JPEG.*\) are damaged")


def test_deflated_pixel_data_that_are_too_few_are_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, numbered(), transfer_syntax_uid=DEFLATED)
    change(paths[2], lambda d: setattr(d, "PixelData", d.PixelData[:-10]))
    refused(tmp_path, "pixel data are cut short: 30 of 40 bytes")


def test_a_file_cut_short_after_the_tree_was_read_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, numbered())
    series = only_series(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-10])
    with pytest.raises(SourceError, match="damaged or cut short"):
        read_image(series)
    with pytest.raises(SourceError, match="a file cannot be opened"):
        paths[2].unlink()
        read_image(series)


def test_a_compressed_file_cut_short_after_the_tree_was_read_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, numbered(), transfer_syntax_uid=RLE)
    series = only_series(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-10])
    with pytest.raises(SourceError, match="damaged or cut short"):
        read_image(series)


def test_several_multi_frame_files_are_refused(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a", numbered())
    change(write_enhanced(tmp_path / "b", numbered()), setting(SOPInstanceUID=uid("second")))
    refused(tmp_path, "2 files in one series, 2 of them multi-frame")


def _in_each_frame(edit: Callable[[Dataset, int], None]) -> Callable[[Dataset], None]:
    def edit_all(dataset: Dataset) -> None:
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            edit(frame, k)

    return edit_all


def _doubled(dataset: Dataset) -> None:
    """Every frame twice, as two time points."""
    import copy

    groups = [copy.deepcopy(g) for g in dataset.PerFrameFunctionalGroupsSequence for _ in range(2)]
    for i, group in enumerate(groups):
        group.FrameContentSequence[0].TemporalPositionIndex = i % 2 + 1
    dataset.PixelData = np.repeat(dataset.pixel_array, 2, axis=0).tobytes()
    dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = groups, len(groups)


def _second_stack(frame: Dataset, k: int) -> None:
    frame.FrameContentSequence[0].StackID = "1" if k < 3 else "2"


def _without_position(frame: Dataset, k: int) -> None:
    del frame.PlanePositionSequence


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (_in_each_frame(_second_stack), "2 stacks in one series"),
        (_doubled, "12 slices of 2 time points in one series"),
        (_in_each_frame(_without_position), "ImagePositionPatient is missing"),
        (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "5 frames are described, 6 are stated"),
        (setting(PerFrameFunctionalGroupsSequence=None), "does not say where its frames lie"),
    ],
)
def test_multi_frame_files_that_are_not_one_volume_are_refused(
    tmp_path: Path, edit: Callable[[Dataset], object], match: str
) -> None:
    change(write_enhanced(tmp_path, numbered()), edit)
    refused(tmp_path, match)


def test_an_orientation_of_four_decimals_is_made_exact() -> None:
    turned = np.round(tilt()[:, :2].T.ravel(), 4)
    normal = np.cross(turned[:3], turned[3:])
    planes = [Plane(tuple(3.0 * k * normal), tuple(turned), (1.0, 1.0), (4, 4)) for k in range(5)]
    _, grid = stack(planes)
    directions = grid.affine[:3, :3] / grid.spacing_mm
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=2e-4)
