"""Series that are no regular stack of measured values of one kind are refused for the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import (
    AXES,
    SERIES,
    change,
    header,
    numbered,
    only_series,
    setting,
    tilt,
    write_enhanced,
    write_series,
)
from dicom_trees import recompress
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames

from ricenet.importing.dicom.geometry import Plane, stack
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import RLE_LOSSLESS, write_secondary_capture
from ricenet.phantom.dicom.objects import elements, uid
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

Edit = Callable[[Dataset], object]
Spoil = Callable[[Path], object]

DEFLATED = "1.2.840.10008.1.2.1.99"
PHASE = ["ORIGINAL", "PRIMARY", "P", "NORM"]
ONE_VOLUME = "in one series. Split the series, or choose one that holds a single volume"


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as refused:
        read_image(read_tree(folder).series[0])
    return str(refused.value)


def series(
    edit: Edit = lambda d: None,
    only: slice = slice(None),
    shape: tuple[int, int, int] = (5, 4, 6),
    **options: Any,
) -> Spoil:
    """A series of which some files are changed."""

    def write(folder: Path) -> None:
        for path in write_series(folder, numbered(shape), **options)[only]:
            change(path, edit)

    return write


def without(shape: tuple[int, int, int], *slices: int) -> Spoil:
    """A series whose slices are missing."""

    def write(folder: Path) -> None:
        paths = write_series(folder, numbered(shape))
        for k in slices:
            paths[k].unlink()

    return write


def joined(*volumes: Volume, **of_all_but_first: object) -> Spoil:
    """Several volumes in one series."""

    def write(folder: Path) -> None:
        for n, volume in enumerate(volumes):
            for k, path in enumerate(write_series(folder / f"{n}", volume)):
                changed = of_all_but_first if n else {}
                change(path, setting(SOPInstanceUID=uid("joined", n, k), **changed))

    return write


def half_a_slice_up(volume: Volume) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] / 2
    return Volume(volume.data, Grid(volume.grid.shape, affine))


def interleaved(**of_second: object) -> Spoil:
    """Two volumes in one series, the slices of one midway between those of the other, which differs."""
    return joined(numbered(), half_a_slice_up(numbered()), **of_second)


def moved(x: float, y: float, z: float) -> Edit:
    def edit(dataset: Dataset) -> None:
        position = np.array(dataset.ImagePositionPatient, dtype=float) + np.array([x, y, z])
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]

    return edit


def tilted_gantry(folder: Path) -> None:
    for k, path in enumerate(write_series(folder, numbered())):
        change(path, moved(0, 2.5 * k * np.tan(np.deg2rad(15.0)), 0))


def in_colour(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PixelData = 3, dataset.PixelData * 3


def with_word(before: bytes, after: bytes, **elements: object) -> Spoil:
    """Files in which the writer's own check is gone round."""

    def write(folder: Path) -> None:
        for path in write_series(folder, numbered()):
            change(path, setting(**elements))
            content = path.read_bytes()
            assert content.count(before) == 1
            path.write_bytes(content.replace(before, after))

    return write


def echo_times_of_words(folder: Path) -> None:
    interleaved()(folder)
    for n in (0, 1):
        for path in (folder / f"{n}").iterdir():
            content = path.read_bytes()
            assert content.count(b"DS\x04\x003.5 ") == 1
            path.write_bytes(content.replace(b"DS\x04\x003.5 ", b"DS\x04\x00nan%d" % n))


def capture(folder: Path) -> None:
    write_secondary_capture(np.zeros((4, 4, 3), np.uint8), folder / "shot", header(uid("shot")))


def compressed_as(syntax: str) -> Spoil:
    """Nonsense in a transfer syntax."""

    def write(folder: Path) -> None:
        for path in write_series(folder, numbered(), transfer_syntax_uid=RLE_LOSSLESS):
            dataset = dcmread(path)
            dataset.PixelData = encapsulate([b"\x01\x02\x03\x04" * 10])
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path, implicit_vr=False, little_endian=True)

    return write


def cut_codestream(compression: str) -> Spoil:
    """A decoder would fill up what is missing."""

    def write(folder: Path) -> None:
        paths = write_series(folder, numbered((40, 30, 2)))
        for path in paths:
            recompress(path, compression)

        def edit(dataset: Dataset) -> None:
            (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
            dataset.PixelData = encapsulate([codestream[: len(codestream) // 2 * 2 - 20]])

        change(paths[1], edit)

    return write


def enhanced(edit: Edit) -> Spoil:
    return lambda folder: change(write_enhanced(folder, numbered()), edit)


def of_frames(edit: Callable[[Dataset, int], None]) -> Spoil:
    """An enhanced file of which every frame is changed, by its number."""

    def edit_all(dataset: Dataset) -> None:
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            edit(frame, k)

    return enhanced(edit_all)


def second_stack(frame: Dataset, k: int) -> None:
    frame.FrameContentSequence[0].StackID = "1" if k < 3 else "2"


def without_position(frame: Dataset, k: int) -> None:
    del frame.PlanePositionSequence


def echo(frame: Dataset, k: int) -> None:
    frame.MREchoSequence = [elements(EffectiveEchoTime=(3.5, 90.0)[k % 2])]


def component(frame: Dataset, k: int) -> None:
    kind = ("MAGNITUDE", "PHASE")[k % 2]
    frame_type = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    frame.MRImageFrameTypeSequence = [elements(FrameType=frame_type, ComplexImageComponent=kind)]


def time_point(frame: Dataset, k: int) -> None:
    frame.FrameContentSequence[0].TemporalPositionIndex = k % 2 + 1


def diffusion(frame: Dataset, k: int) -> None:
    frame.MRDiffusionSequence = [elements(DiffusionBValue=(0.0, 1000.0)[k % 2])]


def doubled(dataset: Dataset) -> None:
    """Every frame twice, as two time points."""
    groups = [copy.deepcopy(g) for g in dataset.PerFrameFunctionalGroupsSequence for _ in range(2)]
    for i, group in enumerate(groups):
        group.FrameContentSequence[0].TemporalPositionIndex = i % 2 + 1
    dataset.PixelData = np.repeat(dataset.pixel_array, 2, axis=0).tobytes()
    dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = groups, len(groups)


def two_enhanced(folder: Path) -> None:
    write_enhanced(folder / "a", numbered())
    change(write_enhanced(folder / "b", numbered()), setting(SOPInstanceUID=uid("second")))


def second_image(dataset: Dataset) -> None:
    (image,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([image, image])


IMAGES_OF = r"12 slices of 2 "
ORIENTATION = "ImageOrientationPatient"
FAULTS: dict[str, tuple[Spoil, str]] = {
    "a single slice": (series(shape=(5, 4, 1)), "a single slice is no volume"),
    "missing slices": (
        without((3, 3, 12), 4, 5, 9),
        "3 slices are missing: 2 between the slices 4 and 5 (7.5 and 15.0 mm from the first), "
        "1 between the slices 7 and 8 (20.0 and 25.0 mm",
    ),
    "one missing among many": (
        without((2, 2, 60), 58), "1 slice is missing: 1 between the slices 58 and 59"
    ),
    "many gaps": (without((2, 2, 30), 3, 8, 13, 18, 23), "further ones"),
    "repeats": (
        joined(numbered(), numbered(), AcquisitionNumber=2),
        "12 slices lie at 6 positions (2 acquisitions): several echoes",
    ),
    "uneven": (series(moved(0, 0, 0.7), slice(3, 4)), "unevenly spaced: 1.80 to 3.20 mm"),
    "uneven by 0.07 mm": (series(moved(0, 0, 0.07), slice(3, 4)), "unevenly spaced"),
    "beside the line": (
        series(moved(4.0, 0, 0), slice(2, 3)), "do not lie on one line: up to 4.00 mm beside it"
    ),
    "gantry tilt": (tilted_gantry, "gantry tilt: slices follow each other at 15.0 degrees"),
    "localiser": (
        joined(*(numbered((4, 4, 2), axes=AXES[name]) for name in ("axial", "sagittal", "coronal"))),
        "slices of 3 orientations, as with a localizer",
    ),
    "sizes": (joined(numbered(), numbered((6, 4, 6))), "slices of 2 sizes (5 x 4, 6 x 4)"),
    "pixel spacings": (
        series(setting(PixelSpacing=["0.8", "1.25"]), slice(1, 2)), "differing pixel spacing (0.75 to 1.25"
    ),
    "frames of reference": (
        series(setting(FrameOfReferenceUID=uid("another")), slice(1, 2)), "slices in 2 frames of reference"
    ),
    **{
        f"no {keyword}": (series(setting(**{keyword: None}), slice(1, 2)), f"{keyword} is missing")
        for keyword in ("PixelSpacing", "ImagePositionPatient", ORIENTATION)
    },
    "not perpendicular": (
        series(setting(**{ORIENTATION: ["1", "0", "0", "0.1", "1", "0"]})), "unit vectors (off by 0.1)"
    ),
    "no directions": (series(setting(**{ORIENTATION: ["0"] * 6})), "two perpendicular unit vectors"),
    "three values": (
        series(setting(**{ORIENTATION: ["1", "0", "0"]})), f"{ORIENTATION} has 3 values instead of 6"
    ),
    "no spacing": (series(setting(PixelSpacing=["0", "1"])), "PixelSpacing is not positive"),
    "not a number": (with_word(b"1.125\\1.125", b"nan  \\1.125", PixelSpacing=["1.125"] * 2), "malformed"),
    "infinite": (with_word(b"1.125\\1.125", b"1e999\\1.125", PixelSpacing=["1.125"] * 2), "malformed"),
    "a word": (with_word(b"1.125\\1.125", b"three\\1.125", PixelSpacing=["1.125"] * 2), "malformed"),
    "no intercept": (
        series(setting(RescaleSlope="2", RescaleIntercept="")), "RescaleSlope or RescaleIntercept is missing"
    ),
    "slope 0": (series(setting(RescaleSlope="0", RescaleIntercept="1")), "RescaleSlope is 0"),
    "CT without its unit": (
        series(setting(RescaleSlope=None, RescaleIntercept=None), modality="CT"),
        "RescaleSlope or RescaleIntercept is missing",
    ),
    "inverted": (
        series(setting(PhotometricInterpretation="MONOCHROME1")), "PhotometricInterpretation is MONOCHROME1"
    ),
    "a name": (series(setting(PhotometricInterpretation="SMITH_JOHN")), "is an unknown word"),
    "no meaning": (series(setting(PhotometricInterpretation="")), "PhotometricInterpretation is missing"),
    "colour": (series(in_colour), "colour images"),
    "table": (series(setting(ModalityLUTSequence=[Dataset()])), "scaled by a table"),
    "17 of 16 bits": (series(setting(BitsStored=17)), "number of bits is not stated plausibly"),
    "high bit": (series(setting(HighBit=12)), "16 bits whose highest is bit 12"),
    "capture": (capture, "neither MR nor CT"),
    "HTJ2K": (compressed_as("1.2.840.10008.1.2.4.201"), "cannot be decoded. Install pylibjpeg"),
    "MPEG2": (compressed_as("1.2.840.10008.1.2.4.100"), "cannot be decoded. Convert it"),
    "private": (compressed_as("1.2.3.4.5"), "unknown (private) transfer syntax"),
    "JPEG": (compressed_as("1.2.840.10008.1.2.4.70"), "are damaged"),
    "RLE": (compressed_as(RLE_LOSSLESS), "RLE Lossless) are damaged"),
    **{
        f"cut {name}": (cut_codestream(name), "are damaged")
        for name in ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless")
    },
    "deflated, too few": (
        series(
            lambda d: setattr(d, "PixelData", d.PixelData[:-10]),
            slice(2, 3), transfer_syntax_uid=DEFLATED,
        ),
        "pixel data are cut short: 30 of 40 bytes",
    ),
    "more images than described": (
        series(second_image, slice(0, 1), transfer_syntax_uid=RLE_LOSSLESS),
        "2 images are stored, 1 are described",
    ),
    "two multi-frame files": (two_enhanced, "2 files in one series, 2 of them multi-frame"),
    "two stacks": (of_frames(second_stack), "2 stacks in one series"),
    "doubled frames": (enhanced(doubled), "12 slices of 2 time points in one series"),
    "frames without position": (of_frames(without_position), "ImagePositionPatient is missing"),
    "frames not described": (
        enhanced(lambda d: d.PerFrameFunctionalGroupsSequence.pop()), "5 frames are described, 6 are stated"
    ),
    "frames anywhere": (
        enhanced(setting(PerFrameFunctionalGroupsSequence=None)), "does not say where its frames lie"
    ),
    "two echoes": (interleaved(EchoTime="90"), f"{IMAGES_OF}echo times {ONE_VOLUME}"),
    "two close echoes": (interleaved(EchoTime="3.6"), f"{IMAGES_OF}echo times"),
    "echoes of words": (echo_times_of_words, f"{IMAGES_OF}echo times {ONE_VOLUME}"),
    "phase": (interleaved(ImageType=PHASE), f"{IMAGES_OF}image types (magnitude, phase and the like)"),
    "normalised": (
        interleaved(ImageType=["ORIGINAL", "PRIMARY", "M", "ND"]), f"{IMAGES_OF}image types"
    ),
    "echo and phase": (
        interleaved(EchoTime="90", ImageType=PHASE), f"{IMAGES_OF}echo times and 2 image types"
    ),
    "echoes of frames": (of_frames(echo), "6 slices of 2 echo times"),
    "components of frames": (of_frames(component), "6 slices of 2 image components"),
    "times of frames": (of_frames(time_point), "6 slices of 2 time points"),
    "b-values of frames": (of_frames(diffusion), "6 slices of 2 b-values"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_volume_is_refused_for_the_reason(tmp_path: Path, spoil: Spoil, words: str) -> None:
    spoil(tmp_path)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "values", "noun"),
    [
        ("TemporalPositionIdentifier", (1, 2), "time points"),
        ("DiffusionBValue", (0.0, 1000.0), "b-values"),
        ("ComplexImageComponent", ("MAGNITUDE", "PHASE"), "image components (magnitude, phase and the like)"),
    ],
)
def test_what_only_some_scanners_state_tells_images_apart_too(
    tmp_path: Path, keyword: str, values: tuple[object, object], noun: str
) -> None:
    interleaved(**{keyword: values[1]})(tmp_path)
    # what the others do not state does not contradict
    assert read_image(only_series(tmp_path)).grid.shape == (5, 4, 12)
    for path in (tmp_path / "0").iterdir():
        change(path, setting(**{keyword: values[0]}))
    assert f"{IMAGES_OF}{noun} {ONE_VOLUME}" in refusal(tmp_path)


@pytest.mark.parametrize(
    "of_second",
    [
        {"AcquisitionNumber": 2},
        {"EchoTime": "3.50001"},
        {"EchoTime": "3.53"},
        {"EchoTime": ""},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]},
    ],
)
def test_a_volume_taken_in_parts_is_one_volume(tmp_path: Path, of_second: dict[str, object]) -> None:
    interleaved(**of_second)(tmp_path)
    assert read_image(only_series(tmp_path)).grid.spacing_mm[2] == pytest.approx(1.25)


def test_a_nominal_and_an_effective_echo_time_are_not_two_echoes(tmp_path: Path) -> None:
    """Turbo spin echoes converted to enhanced files state both."""

    def both(frame: Dataset, k: int) -> None:
        frame.EchoTime, frame.MREchoSequence = "10", [elements(EffectiveEchoTime=80.0)]

    of_frames(both)(tmp_path)
    np.testing.assert_array_equal(read_image(only_series(tmp_path)).data, numbered().data)


def test_a_slice_may_be_off_by_a_twentieth_of_a_millimetre(tmp_path: Path) -> None:
    # with a spacing of 2.5 mm, 2 % of it are 0.05 mm too
    series(moved(0, 0, 0.04), slice(3, 4))(tmp_path)
    assert read_image(only_series(tmp_path)).grid.spacing_mm[2] == pytest.approx(2.5)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE_LOSSLESS])
def test_a_file_that_changes_after_the_tree_was_read_is_refused(tmp_path: Path, syntax: str) -> None:
    paths = write_series(tmp_path, numbered(), SERIES, transfer_syntax_uid=syntax)
    found = only_series(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-10])
    with pytest.raises(SourceError, match="damaged or cut short"):
        read_image(found)
    paths[2].unlink()
    with pytest.raises(SourceError, match="a file cannot be opened"):
        read_image(found)


def test_an_orientation_of_four_decimals_is_made_exact() -> None:
    turned = np.round(tilt()[:, :2].T.ravel(), 4)
    normal = np.cross(turned[:3], turned[3:])
    planes = [Plane(tuple(3.0 * k * normal), tuple(turned), (1.0, 1.0), (4, 4)) for k in range(5)]
    _, grid = stack(planes)
    directions = grid.affine[:3, :3] / grid.spacing_mm
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=2e-4)
