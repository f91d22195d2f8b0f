"""Images of several echoes, components, time points or b-values are no volume, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import change, numbered, only_series, setting, write_enhanced, write_series
from pydicom import Dataset

from ricenet.importing.dicom.images import read_image
from ricenet.phantom.dicom.objects import sequence_item, uid
from ricenet.runtime.errors import SourceError
from ricenet.volume import Grid, Volume

ONE_SERIES = r" in one series\. Split the series, or choose one that holds a single volume"
PHASE = ["ORIGINAL", "PRIMARY", "P", "NORM"]


def half_a_slice_up(volume: Volume) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] / 2
    return Volume(volume.data, Grid(volume.grid.shape, affine))


def interleaved(folder: Path, **elements: object) -> None:
    """Two volumes in one series, the slices of one midway between those of the other, which differs."""
    write_series(folder / "a", numbered())
    for k, path in enumerate(write_series(folder / "b", half_a_slice_up(numbered()))):
        change(path, setting(SOPInstanceUID=uid("second", k), **elements))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        read_image(only_series(folder))


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"EchoTime": "90"}, "12 slices of 2 echo times"),
        ({"EchoTime": "3.6"}, "12 slices of 2 echo times"),
        ({"ImageType": PHASE}, r"12 slices of 2 image types \(magnitude, phase and the like\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, r"12 slices of 2 image types \(.*\)"),
        (
            {"EchoTime": "90", "ImageType": PHASE},
            r"12 slices of 2 echo times and 2 image types \(magnitude, phase and the like\)",
        ),
    ],
)
def test_interleaved_images_of_two_kinds_are_refused(
    tmp_path: Path, elements: dict[str, object], match: str
) -> None:
    interleaved(tmp_path, **elements)
    refused(tmp_path, match + ONE_SERIES)


@pytest.mark.parametrize(
    ("keyword", "values", "match"),
    [
        ("TemporalPositionIdentifier", (1, 2), "12 slices of 2 time points"),
        ("DiffusionBValue", (0.0, 1000.0), "12 slices of 2 b-values"),
        (
            "ComplexImageComponent",
            ("MAGNITUDE", "PHASE"),
            r"12 slices of 2 image components \(magnitude, phase and the like\)",
        ),
    ],
)
def test_what_only_some_scanners_state_tells_images_apart_too(
    tmp_path: Path, keyword: str, values: tuple[object, object], match: str
) -> None:
    interleaved(tmp_path, **{keyword: values[1]})
    # what the others do not state does not contradict
    assert read_image(only_series(tmp_path)).grid.shape == (5, 4, 12)
    for path in (tmp_path / "a").iterdir():
        change(path, setting(**{keyword: values[0]}))
    refused(tmp_path, match + ONE_SERIES)


@pytest.mark.parametrize(
    "elements",
    [
        {"AcquisitionNumber": 2},
        {"EchoTime": "3.50001"},
        {"EchoTime": "3.53"},
        {"EchoTime": ""},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]},
    ],
)
def test_a_volume_taken_in_parts_is_one_volume(tmp_path: Path, elements: dict[str, object]) -> None:
    interleaved(tmp_path, **elements)
    assert read_image(only_series(tmp_path)).grid.spacing_mm[2] == pytest.approx(1.25)


def test_echo_times_that_are_no_numbers_are_compared_as_words(tmp_path: Path) -> None:
    interleaved(tmp_path)
    for echo, folder in enumerate(("a", "b")):
        for path in (tmp_path / folder).iterdir():
            content = path.read_bytes()
            assert content.count(b"DS\x04\x003.5 ") == 1
            path.write_bytes(content.replace(b"DS\x04\x003.5 ", b"DS\x04\x00nan%d" % echo))
    refused(tmp_path, "12 slices of 2 echo times" + ONE_SERIES)


def in_every_other_frame(edit: Callable[[Dataset, int], None]) -> Callable[[Dataset], None]:
    def edit_all(dataset: Dataset) -> None:
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            edit(frame, k % 2)

    return edit_all


def echo(frame: Dataset, odd: int) -> None:
    frame.MREchoSequence = [sequence_item(EffectiveEchoTime=(3.5, 90.0)[odd])]


def component(frame: Dataset, odd: int) -> None:
    frame.MRImageFrameTypeSequence = [
        sequence_item(
            FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
            ComplexImageComponent=("MAGNITUDE", "PHASE")[odd],
        )
    ]


def time_point(frame: Dataset, odd: int) -> None:
    frame.FrameContentSequence[0].TemporalPositionIndex = odd + 1


def diffusion(frame: Dataset, odd: int) -> None:
    frame.MRDiffusionSequence = [sequence_item(DiffusionBValue=(0.0, 1000.0)[odd])]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (echo, "2 echo times"),
        (component, "2 image components"),
        (time_point, "2 time points"),
        (diffusion, "2 b-values"),
    ],
)
def test_frames_of_one_file_are_told_apart_too(
    tmp_path: Path, edit: Callable[[Dataset, int], None], match: str
) -> None:
    change(write_enhanced(tmp_path, numbered()), in_every_other_frame(edit))
    refused(tmp_path, "6 slices of " + match)


def test_a_nominal_and_an_effective_echo_time_are_not_two_echoes(tmp_path: Path) -> None:
    """Turbo spin echoes converted to enhanced files state both."""

    def both(frame: Dataset, odd: int) -> None:
        frame.EchoTime = "10"
        frame.MREchoSequence = [sequence_item(EffectiveEchoTime=80.0)]

    change(write_enhanced(tmp_path, numbered()), in_every_other_frame(both))
    np.testing.assert_array_equal(read_image(only_series(tmp_path)).data, numbered().data)
