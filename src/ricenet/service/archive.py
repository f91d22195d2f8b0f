"""Unpacking a ZIP archive from somebody else: bounds first, then files under names of our own.

Nothing of the archive decides where a file lies, and no name of it, which may be a patient's, is kept. Names
that would leave the folder, links and the like are refused all the same: an honest export has none.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ricenet.runtime.errors import SourceError

MOST_MEMBERS = 20_000
MOST_BYTES = 2**32
"""Of all members together, unpacked."""

MOST_RATIO = 100
"""Unpacked to packed bytes, of the whole archive; images deflate to a half, an empty dose to a hundredth."""

SMALL_BYTES = 2**20
"""Below, a ratio means nothing."""

_MOST_DIRECTORY_BYTES = MOST_MEMBERS * 512
_END = b"PK\x05\x06"
_END_BYTES = 22
_MOST_COMMENT_BYTES = 2**16
_CHUNK_BYTES = 2**20
_REPACK = "Pack the folder again, with an ordinary program"


def unpack(archive: Path, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Unpack the files of an archive into an empty folder, numbered in their order.

    most_bytes: of all files together. Raises SourceError: no archive, a damaged, encrypted or nested one, one
    beyond the bounds, or one with a name that leads out of its folder, a link or a device.
    """
    _require_small_directory(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _require_bounded(members, archive.stat().st_size, most_bytes)
            for member in members:
                _require_ordinary(member)
            files = [member for member in members if not member.is_dir()]
            if not files:
                raise SourceError("an archive without files", _REPACK)
            folder.mkdir()
            for number, member in enumerate(files):
                _write(opened, member, folder / f"{number:05d}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError):
        # its messages hold names of the archive
        raise SourceError("a damaged archive", _REPACK) from None


def _require_small_directory(archive: Path) -> None:
    """Hold the directory's length against its bound, before all of it is read into memory.

    Source: APPNOTE.TXT 4.3.16, end of central directory record.
    """
    with archive.open("rb") as stream:
        size = archive.stat().st_size
        stream.seek(max(0, size - _END_BYTES - _MOST_COMMENT_BYTES))
        tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise SourceError("a damaged archive", _REPACK)
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _MOST_DIRECTORY_BYTES:
        raise SourceError(f"an archive of more than {MOST_MEMBERS} files", "Pack this volume's files alone")


def _require_bounded(members: list[zipfile.ZipInfo], packed: int, most_bytes: int) -> None:
    if len(members) > MOST_MEMBERS:
        raise SourceError(f"an archive of more than {MOST_MEMBERS} files", "Pack this volume's files alone")
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise SourceError(
            f"an archive of {total / 2**20:.0f} MB unpacked, at most {most_bytes / 2**20:.0f} are taken",
            "Pack this volume's files alone",
        )
    if total > SMALL_BYTES and total > MOST_RATIO * packed:
        raise SourceError(f"an archive that grows more than {MOST_RATIO} times as it is unpacked", _REPACK)


def _require_ordinary(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or "\0" in member.orig_filename:
        raise SourceError("an archive with a name that leads out of its folder", _REPACK)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise SourceError("an archive with a link or a device in it", _REPACK)
    if member.flag_bits & 1:
        raise SourceError("an encrypted archive", "Pack the folder without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError("an archive of an unusual compression", "Pack it by deflate, as is usual")


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member; never more than its entry announced, whatever its bytes inflate to."""
    left = member.file_size
    with opened.open(member) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise SourceError("an archive whose files are longer than it says", _REPACK)
            target.write(chunk)
