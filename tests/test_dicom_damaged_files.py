"""Files that are damaged, cut short or oddly written are read if they can be, else listed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    change,
    header,
    numbered,
    only_series,
    reasons,
    write_dose,
    write_enhanced,
    write_plan,
    write_series,
)
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ricenet.importing.dicom.datasets import quietly
from ricenet.importing.dicom.dose import read_dose
from ricenet.importing.dicom.headers import read_header
from ricenet.importing.dicom.images import read_image
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.plan import read_plan, read_structures
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.errors import SourceError

DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("with_meta", [True, False])
def test_files_without_preamble_are_read(tmp_path: Path, implicit: bool, with_meta: bool) -> None:
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    for path in write_series(tmp_path, numbered()):
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        meta_length = 12 + dcmread(path).file_meta.FileMetaInformationGroupLength
        path.write_bytes(path.read_bytes()[132 + (0 if with_meta else meta_length) :])
    series = only_series(tmp_path)
    assert series.slices == 6
    np.testing.assert_array_equal(read_image(series).data, numbered().data)


def test_a_text_that_starts_like_a_dataset_is_no_dicom(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    (tmp_path / "odd").write_bytes(b"\x08\x00" + b"not quite DICOM after all " * 20)
    (found,) = reasons(read_tree(tmp_path)).values()
    assert found.startswith(("no DICOM file", "a DICOM file cannot be read"))


def _cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE, DEFLATED])
def test_a_file_cut_short_anywhere_is_unusable(tmp_path: Path, syntax: str) -> None:
    whole = write_series(tmp_path / "whole", numbered(), transfer_syntax_uid=syntax)[0].read_bytes()
    (tmp_path / "cut").mkdir()
    # a deflated file may end with a byte of padding
    lengths = range(1, len(whole) - (1 if syntax == DEFLATED else 0))
    for length in lengths:
        (tmp_path / "cut" / f"{length:05d}").write_bytes(whole[:length])
    tree = read_tree(tmp_path)
    assert len(tree.unusable) == len(lengths)
    assert tree.series[0].slices == 6


def test_pixel_data_shorter_than_the_header_says_are_noticed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(files[0], lambda d: setattr(d, "PixelData", d.PixelData[:-8]))
    _cut(files[1], 0.99)
    change(files[2], lambda d: delattr(d, "PixelData"))
    tree = read_tree(tmp_path)
    found = reasons(tree)
    assert found[files[0].name] == "pixel data are cut short: 32 of 40 bytes are there"
    assert found[files[1].name].startswith("pixel data are cut short")
    assert found[files[2].name] == "an image file ends before its pixel data"
    assert tree.series[0].slices == 3


def test_compressed_pixel_data_without_their_end_are_noticed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered(), transfer_syntax_uid=RLE)
    _cut(files[0], 0.98)
    assert list(reasons(read_tree(tmp_path)).values()) == [
        "compressed pixel data are cut short: their end mark is missing"
    ]


def test_a_plan_or_structure_set_cut_short_is_unusable(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    plan = write_plan(tmp_path, "1.2.1")
    _cut(plan, 0.7)
    assert reasons(read_tree(tmp_path)) == {
        "1.2.1": "a DICOM file cannot be read: it is damaged or cut short"
    }


def test_a_dose_without_a_grid_is_still_a_dose(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        for keyword in ("PixelData", "Rows", "Columns", "NumberOfFrames"):
            delattr(dataset, keyword)

    change(write_dose(tmp_path, "1.2.2"), edit)
    assert only_series(tmp_path).kind == "RTDOSE"


def _noisy_copies(path: Path, folder: Path, count: int, changed_bytes: int) -> None:
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(5)
    folder.mkdir()
    for index in range(count):
        noisy = whole.copy()
        places = generator.integers(132, len(noisy), changed_bytes)
        noisy[places] = generator.integers(0, 256, changed_bytes)
        (folder / f"{index}").write_bytes(noisy.tobytes())


def _read_anything(path: Path, beside: list[Path]) -> None:
    instances = [one for one in map(read_header, (path, *beside)) if one]
    readers = {"RTDOSE": read_dose, "RTPLAN": read_plan, "RTSTRUCT": read_structures}
    if instances[0].kind in readers:
        readers[instances[0].kind](instances[0])
    else:
        read_image(Series(tuple(instances)))


@pytest.mark.parametrize("changed_bytes", [2, 30])
@pytest.mark.parametrize("of", ["image", "rle", "enhanced", "plan", "dose"])
def test_noise_is_never_more_than_unusable(tmp_path: Path, of: str, changed_bytes: int) -> None:
    """Whatever bytes are changed: no other error than one that a user can read, and no harm to others."""
    other = header(uid("noisy"))
    writers: dict[str, Callable[[], list[Path]]] = {
        "image": lambda: write_series(tmp_path / "w", numbered(), other),
        "rle": lambda: write_series(tmp_path / "w", numbered(), other, transfer_syntax_uid=RLE),
        "enhanced": lambda: [write_enhanced(tmp_path / "w", numbered())],
        "plan": lambda: [write_plan(tmp_path, "1.2.1")],
        "dose": lambda: [write_dose(tmp_path, "1.2.2")],
    }
    path, *beside = writers[of]()
    _noisy_copies(path, tmp_path / "noisy", 150, changed_bytes)
    write_series(tmp_path / "whole", numbered())
    for noisy in sorted((tmp_path / "noisy").iterdir()):
        with contextlib.suppress(SourceError), quietly():
            _read_anything(noisy, beside)
    tree = read_tree(tmp_path)
    assert [one.slices for one in tree.series if one.uid == uid("edits", "series")] == [6]


def test_a_real_mri_cut_short_by_its_maker_is_noticed(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    shutil.copy(str(get_testdata_file("MR_truncated.dcm", download=False)), tmp_path / "x")
    (found,) = reasons(read_tree(tmp_path)).values()
    assert found.startswith("pixel data are cut short: 8130 of 8192")


def test_a_file_cut_short_within_an_element_of_unknown_length_is_said_to_be(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    content = files[0].read_bytes()
    start = content.index(b"\x20\x00\x0d\x00UI")  # StudyInstanceUID
    private = b"\x09\x00\x10\x10OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\x10\0\0\0" + bytes(16)
    files[0].write_bytes(content[:start] + private + content[start:])
    assert list(reasons(read_tree(tmp_path)).values()) == [
        "a DICOM file cannot be read: it is damaged or cut short"
    ]
