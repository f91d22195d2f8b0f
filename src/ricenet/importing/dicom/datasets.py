"""Opening DICOM files and taking values from them, so that whatever is wrong becomes a SourceError.

pydicom's own messages carry values and paths; none of them is passed on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ricenet.importing.dicom.instances import MEDIA_DIRECTORY
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset
    from pydicom.uid import UID

EXPORT_AGAIN = "Export it again from the system that it comes from"

MOST_INFLATED_BYTES = 2**31
"""Of a deflated file: a small one may inflate to any size."""

"""In these the file meta names the transfer syntax."""

_REPLACED = ("\ufffd", "\u00ef\u00bf\u00bd")
"""What stands for an undecodable character; the second is the first in UTF-8, taken for Latin-1."""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's remarks off stderr and logs: they quote values and paths. Usable as a decorator."""
    remarks = logging.getLogger("pydicom")
    before = remarks.disabled
    remarks.disabled = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            remarks.disabled = before


@contextlib.contextmanager
def faults_as(found: str, remedy: str = EXPORT_AGAIN) -> Iterator[None]:
    """Turn what pydicom raises on faulty files into a SourceError; for calls of pydicom alone."""
    try:
        yield
    except _faults():
        raise SourceError(found, remedy) from None


@lru_cache
def _faults() -> tuple[type[Exception], ...]:
    """What pydicom raises on bytes that are no DICOM, or not what they say."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    of_python = (EOFError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
    of_parsing = (NotImplementedError, RecursionError, struct.error, zlib.error)
    return (*of_python, *of_parsing, BytesLengthException, InvalidDicomError)


@dataclass(frozen=True)
class Elements:
    """The elements of a file or of a sequence's item, by DICOM's keywords. Absent texts are empty."""

    dataset: Dataset

    def has(self, keyword: str) -> bool:
        """Whether an element is there and not empty."""
        with faults_as(f"{keyword} is malformed"):
            value = self.dataset.get(keyword)
            return value is not None and not (hasattr(value, "__len__") and len(value) == 0)

    def text(self, keyword: str) -> str:
        """A text or UID, several joined by backslashes."""
        with faults_as(f"{keyword} is malformed"):
            value = self.dataset.get(keyword)
            if value is None:
                return ""
            parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
            return "\\".join(str(part).strip(" \0") for part in parts)

    def code(self, keyword: str) -> str:
        """A code string, in upper case."""
        return self.text(keyword).upper()

    def whole_number(self, keyword: str) -> int | None:
        """An integer, also where it is written as a decimal (76.0); None where absent or not one."""
        try:
            number = float(self.text(keyword))
        except (ValueError, SourceError):
            return None
        return int(number) if number.is_integer() else None

    def number(self, keyword: str) -> float | None:
        """A finite number; None where absent.

        Raises SourceError: several values, or one that is no finite number.
        """
        return self.numbers(keyword, 1)[0] if self.has(keyword) else None

    def numbers(self, keyword: str, count: int | None = None) -> tuple[float, ...]:
        """Finite numbers, `count` of them if given.

        Raises SourceError: absent, too few or many, or not finite numbers.
        """
        if not self.has(keyword):
            raise SourceError(f"{keyword} is missing", EXPORT_AGAIN)
        with faults_as(f"{keyword} is malformed"):
            values = tuple(float(part) for part in self.text(keyword).split("\\"))
        if not all(math.isfinite(value) for value in values):
            raise SourceError(f"{keyword} is malformed", EXPORT_AGAIN)
        if count is not None and len(values) != count:
            raise SourceError(f"{keyword} has {len(values)} values instead of {count}", EXPORT_AGAIN)
        return values

    def day(self, keyword: str) -> date | None:
        """A date; None where absent or not one. Takes ACR-NEMA's points (2006.03.02) too."""
        try:
            return datetime.strptime(self.text(keyword).replace(".", ""), "%Y%m%d").date()
        except (ValueError, SourceError):
            return None

    def items(self, *keywords: str) -> list[Elements]:
        """Items of a sequence, or of a sequence within each item of another, and so on."""
        found = [self.dataset]
        for keyword in keywords:
            with faults_as(f"{keyword} is malformed"):
                found = [item for outer in found for item in (outer.get(keyword) or [])]
                if not all(hasattr(item, "get_item") for item in found):
                    raise ValueError
        return [Elements(item) for item in found]

    def references(self, keyword: str) -> tuple[str, ...]:
        """SOP instance UIDs of the objects that a sequence refers to, each once."""
        return texts(self.items(keyword), "ReferencedSOPInstanceUID")


@dataclass(frozen=True)
class DicomFile(Elements):
    """The elements of a whole file."""

    dataset: FileDataset

    @property
    def media_class(self) -> str:
        """The SOP class that the file meta names."""
        return Elements(self.dataset.file_meta).text("MediaStorageSOPClassUID")

    @property
    def transfer_syntax(self) -> UID:
        """How the file is encoded. Files without file meta are uncompressed, and pydicom saw how."""
        from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

        if stated := Elements(self.dataset.file_meta).text("TransferSyntaxUID"):
            return UID(stated)
        implicit, little = self.dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        return ImplicitVRLittleEndian if implicit else explicit


def read_file(path: Path, keywords: Sequence[str] = (), pixels: bool = False) -> DicomFile:
    """The elements of a file: those named, with all that their sequences hold, or every one.

    Raises SourceError: the file is unreadable or ends within an element.
    """
    with (
        faults_as("a file cannot be opened", "Check that it exists and may be read"),
        path.open("rb") as stream,
    ):
        return parse(stream, keywords, pixels)


def parse(stream: BinaryIO, keywords: Sequence[str] = (), pixels: bool = False) -> DicomFile:
    """As `read_file`; leaves `stream` at the pixel data, unless they are read or deflated."""
    from pydicom import dcmread

    with faults_as("a DICOM file cannot be read: it is damaged or cut short"):
        _require_bounded(stream)
        file = DicomFile(
            dcmread(stream, stop_before_pixels=not pixels, force=True, specific_tags=_tags(tuple(keywords)))
        )
        if is_cut_short(file, stream):
            raise EOFError
        # what decodes the pixels asks for it
        file.dataset.file_meta.TransferSyntaxUID = file.transfer_syntax
    return file


def _require_bounded(stream: BinaryIO) -> None:
    """Inflate a deflated dataset piece by piece first: pydicom does so at once, whatever comes of it.

    Raises SourceError: it is larger than any export. zlib.error: damaged.
    """
    # pydicom's own reading of the file meta (never deflated, PS3.10, 7.1), with a preamble or without
    from pydicom.filereader import _read_file_meta_info, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    begin = stream.tell()
    read_preamble(stream, True)
    if _read_file_meta_info(stream).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := inflate.unconsumed_tail or stream.read(2**20):
            size += len(inflate.decompress(piece, 2**24))
            if size > MOST_INFLATED_BYTES:
                found = f"a deflated file of more than {MOST_INFLATED_BYTES / 2**30:g} GiB"
                raise SourceError(found, EXPORT_AGAIN)
            if inflate.eof:
                break
    stream.seek(begin)


@lru_cache
def _tags(keywords: tuple[str, ...]) -> list[int] | None:
    from pydicom.datadict import tag_for_keyword

    tags = (tag_for_keyword(keyword) for keyword in keywords)
    return [tag for tag in tags if tag is not None] or None


def is_cut_short(file: DicomFile, stream: BinaryIO) -> bool:
    """Whether a file ends within an element.

    pydicom skips and reads beyond the end of a file, or forgets all of it, without a word.
    """
    from pydicom.dataelem import RawDataElement

    if stream.tell() > os.fstat(stream.fileno()).st_size:
        return True
    if not len(file.dataset):
        # but an index has none of the elements that are asked for
        return file.media_class != MEDIA_DIRECTORY
    last = file.dataset.get_item(max(file.dataset.keys()))
    if not isinstance(last, RawDataElement) or last.length == 0xFFFFFFFF:
        return False
    return len(last.value or b"") < last.length


def texts(items: Iterable[Elements], keyword: str) -> tuple[str, ...]:
    """The items' texts, each different one once, in their order."""
    return tuple(dict.fromkeys(value for item in items if (value := item.text(keyword))))


def is_decoded(value: str) -> bool:
    """Whether a text is without characters that stand for undecodable ones, here or where it was written."""
    return not any(character in value for character in _REPLACED)
