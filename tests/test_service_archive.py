"""Archives from strangers: bounds before anything is unpacked, and no name of theirs on the disk."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ricenet.runtime.errors import SourceError
from ricenet.service import archive
from ricenet.service.archive import unpack


def write_zip(
    path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", how) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def of_kind(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def test_files_are_numbered_whatever_they_are_called(tmp_path: Path) -> None:
    made = write_zip(
        tmp_path / "a.zip", ("Sibylle/IM1", b"one"), ("Sibylle/", b""), ("Sibylle/more/IM1", b"two")
    )
    unpack(made, tmp_path / "out")
    assert {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*")
    } == {
        "00000": b"one",
        "00001": b"two",
    }


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "..\\out", "C:\\out", "C:out"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    made = write_zip(tmp_path / "a.zip", ("fine", b"x"), (name, b"x"))
    with pytest.raises(SourceError, match="leads out of its folder") as error:
        unpack(made, tmp_path / "out")
    assert "out" not in str(error.value).replace("leads out of", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    made = write_zip(tmp_path / "a.zip", ("fine", b"x"), (of_kind("link", kind | 0o777), b"/etc/passwd"))
    with pytest.raises(SourceError, match="a link or a device"):
        unpack(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_ordinary_files_mode_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    made = write_zip(tmp_path / "a.zip", (of_kind("IM1", stat.S_IFREG | 0o777), b"x"))
    unpack(made, tmp_path / "out")
    assert not (tmp_path / "out/00000").stat().st_mode & 0o111


def test_more_bytes_than_are_taken_are_refused_before_unpacking(tmp_path: Path) -> None:
    made = write_zip(tmp_path / "a.zip", ("a", bytes(600_000)), ("b", bytes(600_000)))
    with pytest.raises(SourceError, match="1 MB unpacked, at most 1 are taken"):
        unpack(made, tmp_path / "out", most_bytes=2**20)
    assert not (tmp_path / "out").exists()
    unpack(made, tmp_path / "out", most_bytes=1_200_000)


def test_an_archive_that_grows_too_much_is_refused(tmp_path: Path) -> None:
    # zeros deflate to a thousandth
    made = write_zip(tmp_path / "a.zip", ("a", bytes(2**21)), how=zipfile.ZIP_DEFLATED)
    with pytest.raises(SourceError, match="grows more than 100 times"):
        unpack(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_zip(tmp_path / "a.zip", *((str(n), b"") for n in range(6)))
    monkeypatch.setattr(archive, "MOST_MEMBERS", 5)
    with pytest.raises(SourceError, match="more than 5 files"):
        unpack(made, tmp_path / "out")


def test_a_directory_that_is_too_long_is_not_even_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_zip(tmp_path / "a.zip", ("a", b""), ("b", b""))
    monkeypatch.setattr(archive, "_MOST_DIRECTORY_BYTES", 90)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(SourceError, match="more than"):
        unpack(made, tmp_path / "out")


def longer_than_it_says(content: bytes) -> bytes:
    """The member's length is set to 1 in both of its headers, its CRC to that of its first byte."""
    import zlib

    crc = struct.pack("<I", zlib.crc32(b"x"))
    local, central = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    made = bytearray(content)
    made[local + 14 : local + 18], made[central + 16 : central + 20] = crc, crc
    made[local + 22 : local + 26], made[central + 24 : central + 28] = (
        struct.pack("<I", 1),
        struct.pack("<I", 1),
    )
    return bytes(made)


def encrypted(content: bytes) -> bytes:
    made = bytearray(content)
    made[content.index(b"PK\x03\x04") + 6] |= 1
    made[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(made)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: b"PK\x03\x04" + bytes(100), "damaged"),
        (lambda content: content.replace(b"xxxx", b"xyxx", 1), "damaged"),
        (encrypted, "encrypted"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, spoil: Callable[[bytes], bytes], message: str
) -> None:
    made = write_zip(tmp_path / "a.zip", ("Sibylle", b"x" * 1000))
    made.write_bytes(spoil(made.read_bytes()))
    with pytest.raises(SourceError, match=message) as error:
        unpack(made, tmp_path / "out")
    assert "Sibylle" not in str(error.value) and error.value.__cause__ is None


def test_a_member_longer_than_it_says_is_not_written_beyond_that(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"x" * 5000)
    (tmp_path / "a.zip").write_bytes(longer_than_it_says(content.getvalue()))
    with contextlib.suppress(SourceError):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    written = [p.stat().st_size for p in (tmp_path / "out").iterdir()] if (tmp_path / "out").exists() else []
    assert all(size <= 1 for size in written)


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="without files"):
        unpack(write_zip(tmp_path / "a.zip", ("folder/", b"")), tmp_path / "out")


def test_an_unusual_compression_is_refused(tmp_path: Path) -> None:
    made = write_zip(tmp_path / "a.zip", ("a", b"x" * 100), how=zipfile.ZIP_LZMA)
    with pytest.raises(SourceError, match="unusual compression"):
        unpack(made, tmp_path / "out")
