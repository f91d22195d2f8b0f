"""A series of which files cannot be used is not a shorter volume: it knows of them and is not read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

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
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.errors import CohortError, SourceError

RLE = "1.2.840.10008.1.2.5"


def cut(path: Path, keep: float = 0.99) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def image_series(folder: Path) -> Series:
    (series,) = (one for one in read_tree(folder).series if one.kind == "MR")
    return series


def refused(folder: Path, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        read_image(image_series(folder))


def test_damaged_slices_at_the_end_do_not_shorten_the_volume(tmp_path: Path) -> None:
    for path in write_series(tmp_path, numbered((5, 4, 12)))[9:]:
        cut(path)
    series = image_series(tmp_path)
    assert (len(series.instances), series.unusable) == (9, 3)
    refused(
        tmp_path, "3 of 12 files of the series cannot be used: pixel data are cut short: .*Export the comp"
    )


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


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (missing_pixels, "an image file ends before its pixel data"),
        (within_the_header, "a DICOM file cannot be read: it is damaged or cut short"),
        (at_the_very_start, "a DICOM file cannot be read: it is damaged or cut short"),
        (empty, "an empty file"),
        (gone, "a broken link, or neither a file nor a folder"),
        (without_series, "a DICOM file without SeriesInstanceUID"),
    ],
)
def test_the_last_slice_is_missed_whatever_became_of_its_file(
    tmp_path: Path, damage: Callable[[Path], None], found: str
) -> None:
    damage(write_series(tmp_path, numbered())[5])
    refused(tmp_path, f"1 of 6 files of the series cannot be used: {found}")


@pytest.mark.parametrize("damage", [missing_pixels, within_the_header])
def test_a_damaged_file_still_says_what_it_was_part_of(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """So it is missed wherever it lies, among files of other series too."""
    files = write_series(tmp_path, numbered())
    write_plan(tmp_path, "1.2.1")
    damage(files[5])
    (lost,) = read_tree(tmp_path).unusable
    assert (lost.patient_id, lost.series_uid) == ("ANON-1", uid("edits", "series"))
    refused(tmp_path, "1 of 6 files")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE])
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
    write_plan(tmp_path / "mixed", "1.2.1")
    write_dose(tmp_path / "mixed", "1.2.2")
    tree = read_tree(tmp_path)
    assert len(tree.unusable) == 2
    assert [(file.patient_id, file.series_uid) for file in tree.unusable] == [("", "")] * 2
    assert [series.unusable for series in tree.series] == [0, 0, 0]


def test_notes_and_archives_are_no_part_of_a_series(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    (tmp_path / "README.txt").write_text("hello" * 100)
    (tmp_path / "all.zip").write_bytes(b"PK\x03\x04" + bytes(300))
    assert len(read_tree(tmp_path).unusable) == 2
    assert image_series(tmp_path).unusable == 0
    read_image(image_series(tmp_path))


def test_a_damaged_file_of_which_there_is_a_whole_copy_is_not_missed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    shutil.copy(files[5], tmp_path / "again")
    cut(files[5])
    assert len(read_tree(tmp_path).unusable) == 1
    assert read_image(image_series(tmp_path)).grid.shape == (5, 4, 6)


def test_two_damaged_copies_of_a_slice_are_one_slice_lost(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    cut(files[5])
    shutil.copy(files[5], tmp_path / "again")
    refused(tmp_path, "1 of 6 files")


def test_a_slice_with_two_contents_is_missed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered())
    change(Path(shutil.copy(files[5], tmp_path / "other")), lambda d: setattr(d, "PixelData", bytes(40)))
    assert {file.series_uid for file in read_tree(tmp_path).unusable} == {uid("edits", "series")}
    refused(
        tmp_path, "1 of 6 files of the series cannot be used: one SOP instance UID for 2 files with differ"
    )


def test_the_series_beside_a_damaged_one_is_read(tmp_path: Path) -> None:
    cut(write_series(tmp_path / "a", numbered(), header(uid("damaged")))[5])
    write_series(tmp_path / "b", numbered())
    unusable = {series.uid: series.unusable for series in read_tree(tmp_path).series}
    assert unusable == {uid("damaged"): 1, uid("edits", "series"): 0}


def test_many_reasons_are_not_all_listed(tmp_path: Path) -> None:
    files = write_series(tmp_path, numbered((5, 4, 8)))
    for path, damage in zip(files, (cut, empty, missing_pixels, gone), strict=False):
        damage(path)
    refused(tmp_path, "4 of 8 files of the series cannot be used: .*; .*; and for other reasons")


# ---- what may not be opened


@pytest.fixture
def closed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The last of six files, in a folder that root too may only list."""
    path = write_series(tmp_path, numbered())[5]
    stat = Path.stat

    def guarded(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == path:
            raise PermissionError(13, "denied", str(self))
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", guarded)
    return path


def test_a_file_in_a_folder_that_may_not_be_entered_is_listed_and_missed(
    closed_file: Path, tmp_path: Path
) -> None:
    assert reasons(read_tree(tmp_path)) == {closed_file.name: "a file cannot be opened"}
    refused(tmp_path, "1 of 6 files of the series cannot be used: a file cannot be opened")


def test_a_file_that_may_not_be_read_is_listed_and_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_series(tmp_path, numbered())[5]
    usual = Path.open

    def guarded(self: Path, *arguments: str) -> object:
        if self == path:
            raise PermissionError(13, "denied", str(self))
        return usual(self, *arguments)

    monkeypatch.setattr(Path, "open", guarded)
    assert reasons(read_tree(tmp_path)) == {path.name: "a file cannot be opened"}
    refused(tmp_path, "1 of 6 files of the series cannot be used: a file cannot be opened")


def test_a_folder_that_vanishes_or_closes_while_it_is_walked_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "open", numbered())
    (tmp_path / "closed").mkdir()
    stat = Path.stat

    def guarded(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == "closed":
            raise PermissionError(13, "denied", str(self))
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", guarded)
    assert reasons(read_tree(tmp_path)) == {"closed": "a folder cannot be opened"}


def test_a_root_in_a_folder_that_may_not_be_entered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(self: Path) -> bool:
        raise PermissionError(13, "denied", str(self))

    monkeypatch.setattr(Path, "is_dir", guarded)
    with pytest.raises(CohortError, match="the source folder cannot be opened"):
        read_tree(tmp_path)


def test_copies_that_cannot_be_compared_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filecmp

    def denied(*_: object, **__: object) -> bool:
        raise PermissionError(13, "denied")

    files = write_series(tmp_path, numbered())
    shutil.copy(files[5], tmp_path / "again")
    monkeypatch.setattr(filecmp, "cmp", denied)
    refused(tmp_path, "1 of 6 files of the series cannot be used: one SOP instance UID for 2 files")


def test_a_whole_series_has_lost_nothing(tmp_path: Path) -> None:
    write_series(tmp_path, numbered())
    assert (only_series(tmp_path).unusable, only_series(tmp_path).reasons) == (0, ())
