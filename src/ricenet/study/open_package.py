"""Opening a study package from somebody else: bounds and names first, then every digest, then its content.

Only the members that a package has are read, under names of our own, so that no name of the archive decides
where a file lies. They are not compressed, so that nothing grows as it is unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from ricenet.inference.predict_subject import Predictor
from ricenet.inference.three_way import DecisionThreshold
from ricenet.runtime.errors import RegistryError, StudyError
from ricenet.runtime.files import open_regular
from ricenet.runtime.strict_json import JsonError, parse_json
from ricenet.study.package_record import (
    DECISION,
    ENSEMBLE,
    HOME,
    PLAN,
    RANGES,
    README,
    STUDY,
    HomeResults,
    PackageRecord,
    SealedRanges,
    member_names,
)
from ricenet.study.plan import AnalysisPlan
from ricenet.training.ensemble_record import EnsembleRecord, intact_record

MOST_MEMBERS = 128
MOST_TEXT_BYTES, MOST_WEIGHTS_BYTES = 2**26, 2**32
"""Of one member: JSON or text; weights."""

_END, _END_BYTES = b"PK\x05\x06", 22
_CHUNK_BYTES = 2**20
_AGAIN = "Have it sent again, or sealed again (`ricenet export study`)"


@dataclass(frozen=True)
class StudyPackage:
    """A package whose seal and members are intact. files: a folder that `Ensemble.load` takes, while it is
    open.
    """

    record: PackageRecord
    plan: AnalysisPlan
    home: HomeResults | None
    decision: DecisionThreshold | None
    ranges: SealedRanges
    ensemble: EnsembleRecord
    files: Path

    @property
    def predictor(self) -> Predictor:
        """What predicts subjects as at home."""
        return Predictor(self.files, self.record.seed, self.ranges.ranges(), self.decision)


@contextlib.contextmanager
def opened_package(path: Path) -> Iterator[StudyPackage]:
    """A package, for as long as the block lasts.

    Raises StudyError: no package, or one that is not as it was sealed. FormatError: of another version of
    ricenet. RegistryError: preprocessing that this version does not know. OSError: no such file.
    """
    with open_regular(path) as stream, tempfile.TemporaryDirectory(prefix="ricenet-study-") as name:
        _require_archive(stream, path.name)
        try:
            with zipfile.ZipFile(stream) as archive:
                record = _unpack(archive, Path(name), path.name, os.fstat(stream.fileno()).st_size)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeError):
            # its messages hold names of the archive
            raise StudyError(f"{path.name} is a damaged archive. {_AGAIN}") from None
        yield _read(Path(name), record, path.name)


def _require_archive(stream: BinaryIO, file: str) -> None:
    """Look at the archive's end before a directory of any length is read; a package has no comment.

    Source: APPNOTE.TXT 4.3.16, end of central directory record.
    """
    begin = stream.read(1)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read()
    if len(end) < _END_BYTES or not end.startswith(_END):
        hint = "A result goes to `ricenet validation add`" if begin == b"{" else "Name such a file"
        raise StudyError(f"{file} is no study package: expected what `ricenet export study` writes. {hint}")
    (members,) = struct.unpack("<H", end[10:12])
    if members > MOST_MEMBERS:
        raise StudyError(
            f"{file} is no study package: it has {members} members, at most {MOST_MEMBERS}. {_AGAIN}"
        )
    stream.seek(0)


def _unpack(archive: zipfile.ZipFile, folder: Path, file: str, size: int) -> PackageRecord:
    """Write all members into a folder once they are those that were sealed."""
    members = archive.infolist()
    named = {member.filename: member for member in members}
    if STUDY not in named or len(named) < len(members):
        raise StudyError(f"{file} is no study package: it lacks {STUDY}, or has a name twice. {_AGAIN}")
    for member in members:
        _require_bounded(member, file)
    if sum(member.file_size for member in members) > size:
        raise StudyError(f"{file} is a damaged archive: its members overlap. {_AGAIN}")
    record = _record(archive.read(named[STUDY]), file)
    if unlike := set(named) ^ set(member_names(record.folds)):
        # counted: names of an archive from elsewhere may be anything
        raise StudyError(f"{file}: {len(unlike)} member(s) are missing, or none of a study package. {_AGAIN}")
    (folder / ENSEMBLE).mkdir()
    for name in member_names(record.folds):
        if name in (STUDY, README):
            continue
        if _copied(archive, named[name], folder / name) != record.files.get(name):
            raise StudyError(f"{file}: {name} is not what was sealed (its digest differs). {_AGAIN}")
    return record


def _require_bounded(member: zipfile.ZipInfo, file: str) -> None:
    weights = member.filename.endswith(".safetensors")
    most = MOST_WEIGHTS_BYTES if weights else MOST_TEXT_BYTES
    if member.file_size > most:
        raise StudyError(
            f"{file}: a member of {member.file_size / 2**20:.0f} MB, at most {most / 2**20:.0f} are taken. "
            f"{_AGAIN}"
        )
    if (
        member.compress_type != zipfile.ZIP_STORED
        or member.flag_bits & 1
        or member.file_size != member.compress_size
    ):
        raise StudyError(f"{file} was packed again: a member is compressed or encrypted. {_AGAIN}")


def _record(content: bytes, file: str) -> PackageRecord:
    try:
        record = PackageRecord.parse(content, f"{file} ({STUDY})", "Have it sealed again with this version")
    except (JsonError, ValidationError):
        raise StudyError(f"{file}: {STUDY} does not describe a study package. {_AGAIN}") from None
    if not record.is_intact:
        raise StudyError(f"{file}: {STUDY} is not what was sealed (the seal does not fit). {_AGAIN}")
    return record


def _copied(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    """Write a member; returns its SHA-256."""
    digest = hashlib.sha256()
    with archive.open(member) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _read(folder: Path, record: PackageRecord, file: str) -> StudyPackage:
    try:
        plan = AnalysisPlan.parse((folder / PLAN).read_bytes(), PLAN, _AGAIN)
        decision = TypeAdapter(DecisionThreshold | None).validate_python(_json(folder / DECISION))
        home = TypeAdapter(HomeResults | None).validate_json((folder / HOME).read_bytes())
        ranges = SealedRanges.model_validate_json((folder / RANGES).read_bytes())
        ensemble, _ = intact_record(folder / ENSEMBLE)
    except (JsonError, ValidationError):
        raise StudyError(f"{file} was sealed by another version of ricenet. {_AGAIN}") from None
    except RegistryError:
        raise StudyError(f"{file}: its ensemble is damaged. {_AGAIN}") from None
    if (plan.digest, ensemble.digest, ensemble.modality_set) != (
        record.plan,
        record.ensemble,
        record.modality_set,
    ):
        raise StudyError(f"{file}: plan or ensemble are not those that {STUDY} names. {_AGAIN}")
    ensemble.known_preprocessing()
    return StudyPackage(record, plan, home, decision, ranges, ensemble, folder / ENSEMBLE)


def _json(path: Path) -> object:
    return parse_json(path.read_bytes())
