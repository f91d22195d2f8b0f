"""A series of which files cannot be used is not a shorter volume: it knows of them and is not read."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from ricenet.importing.dicom.instances import Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.image_writers import RLE_LOSSLESS
from ricenet.phantom.dicom.objects import EXPLICIT_LITTLE_ENDIAN, uid
from ricenet.runtime.errors import CohortError, SourceError

Damage = Callable[[Path], object]
OF_SIX = "1 of 6 files of the series cannot be used: "


def image_series(folder: Path) -> Series:
    (series,) = (one for one in read_tree(folder).series if one.kind == "MR")
    return series


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as refused:
        read_image(image_series(folder))
    return str(refused.value)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.99)])


def missing_pixels(path: Path) -> None:
    change(path, setting(PixelData=None))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def within_the_header(path: Path) -> None:
    content = path.read_bytes()
    # behind SeriesInstanceUID
    path.write_bytes(content[: content.index(b"\x20\x00\x52\x00UI") + 20])


def at_the_very_start(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:150])


def gone(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def without_series(path: Path) -> None:
    change(path, setting(SeriesInstanceUID=None))


def twice_damaged(path: Path) -> None:
    cut(path)
    shutil.copy(path, path.with_name("again"))


def with_two_contents(path: Path) -> None:
    other = Path(shutil.copy(path, path.with_name("other")))
    change(other, lambda d: setattr(d, "PixelData", bytes(40)))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (cut, "pixel data are cut short: "),
        (missing_pixels, "an image file ends before its pixel data"),
        (within_the_header, "a DICOM file cannot be read: it is damaged or cut short"),
        (at_the_very_start, "a DICOM file cannot be read: it is damaged or cut short"),
        (empty, "an empty file"),
        (gone, "a broken link, or neither a file nor a folder"),
        (without_series, "a DICOM file without SeriesInstanceUID"),
        (twice_damaged, "pixel data are cut short"),
        (with_two_contents, "one SOP instance UID for 2 files with differing content"),
    ],
)
def test_the_last_slice_is_missed_whatever_became_of_its_file(
    tmp_path: Path, damage: Damage, found: str
) -> None:
    damage(write_series(tmp_path, numbered())[5])
    message = refusal(tmp_path)
    assert OF_SIX + found in message and "Export the complete series again" in message


def test_lost_slices_are_counted_with_some_of_the_reasons(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((5, 4, 8)))
    for path, damage in zip(files, (cut, empty, missing_pixels, gone), strict=False):
        damage(path)
    series = image_series(tmp_path)
    assert (len(series.instances), series.unusable) == (4, 4)
    message = refusal(tmp_path)
    assert "4 of 8 files of the series cannot be used: " in message
    assert message.count("; ") == 2 and "; and for other reasons" in message


@pytest.mark.parametrize("damage", [missing_pixels, within_the_header])
def test_a_damaged_file_still_says_what_it_was_part_of(tmp_path: Path, damage: Damage) -> None:
    """So it is missed wherever it lies, among files of other series too."""
    files = write_series(tmp_path, numbered())
    write_plan(tmp_path)
    damage(files[5])
    (lost,) = read_tree(tmp_path).unusable
    assert (lost.patient_id, lost.series_uid) == ("ANON-1", uid("edits", "series"))
    assert OF_SIX in refusal(tmp_path)


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE_ENDIAN, RLE_LOSSLESS])
def test_wherever_a_file_is_cut_its_series_is_missed_one(tmp_path: Path, syntax: str) -> None:
    path = write_series(tmp_path, numbered(), transfer_syntax_uid=syntax)[5]
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        if path.read_bytes()[128:132] == b"DICM" or not length:
            assert image_series(tmp_path).unusable == 1, length


def test_without_a_series_of_its_own_a_folder_says_nothing_of_its_faulty_files(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", numbered())
    (tmp_path / "empty").touch()
    shutil.copy(files[0], tmp_path / "stray copy")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "empty").touch()
    write_plan(tmp_path / "mixed")
    write_dose(tmp_path / "mixed")
    tree = read_tree(tmp_path)
    assert [(file.patient_id, file.series_uid) for file in tree.unusable] == [("", "")] * 2
    assert [series.unusable for series in tree.series] == [0, 0, 0]


def test_notes_and_damaged_files_with_a_whole_copy_are_not_missed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    (tmp_path / "README.txt").write_text("hello" * 100)
    (tmp_path / "all.zip").write_bytes(b"PK\x03\x04" + bytes(300))
    shutil.copy(files[5], tmp_path / "again")
    cut(files[5])
    assert len(read_tree(tmp_path).unusable) == 3
    series = image_series(tmp_path)
    assert (series.unusable, series.reasons) == (0, ())
    assert read_image(series).grid.shape == (5, 4, 6)


def test_the_series_beside_a_damaged_one_is_read(tmp_path: Path) -> None:
    cut(write_series(tmp_path / "a", numbered(), header(uid("damaged")))[5])
    write_series(tmp_path / "b", numbered())
    unusable = {series.uid: series.unusable for series in read_tree(tmp_path).series}
    assert unusable == {uid("damaged"): 1, uid("edits", "series"): 0}


# ---- what may not be opened; root may open everything, so the refusal is planted


def deny(monkeypatch: pytest.MonkeyPatch, where: Any, method: str, refused: Callable[[Path], bool]) -> None:
    usual = getattr(where, method)

    def guarded(path: Path, *arguments: Any, **options: Any) -> Any:
        if refused(Path(path)):
            raise PermissionError(13, "denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(where, method, guarded)


@pytest.mark.parametrize("method", ["stat", "open"])
def test_a_file_that_may_not_be_read_or_lies_in_a_closed_folder_is_listed_and_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = write_series(tmp_path, numbered())[5]
    deny(monkeypatch, Path, method, lambda one: one == path)
    assert reasons(read_tree(tmp_path)) == {path.name: "a file cannot be opened"}
    assert OF_SIX + "a file cannot be opened" in refusal(tmp_path)


@pytest.mark.parametrize(("where", "method"), [(Path, "stat"), (os, "scandir")])
def test_a_folder_that_closes_while_it_is_walked_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, method: str
) -> None:
    write_series(tmp_path / "open", numbered())
    (tmp_path / "closed").mkdir()
    deny(monkeypatch, where, method, lambda one: one.name == "closed")
    assert reasons(read_tree(tmp_path)) == {"closed": "a folder cannot be opened"}


def test_a_root_that_may_not_be_read_or_lies_in_a_closed_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(CohortError, match="source folder cannot be opened"):
        patched.setattr(os, "access", lambda path, mode: False)
        read_tree(tmp_path)
    deny(monkeypatch, Path, "is_dir", lambda one: True)
    with pytest.raises(CohortError, match="the source folder cannot be opened"):
        read_tree(tmp_path)


def test_copies_that_cannot_be_compared_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path, numbered())
    shutil.copy(files[5], tmp_path / "again")
    deny(monkeypatch, filecmp, "cmp", lambda one: True)
    assert OF_SIX + "one SOP instance UID for 2 files" in refusal(tmp_path)


def test_a_whole_series_has_lost_nothing(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    assert (only_series(tmp_path).unusable, only_series(tmp_path).reasons) == (0, ())
