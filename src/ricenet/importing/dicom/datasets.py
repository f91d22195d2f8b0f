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
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ricenet.importing.dicom.sop_classes import MEDIA_DIRECTORY
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

EXPORT_AGAIN = "Export it again from the system that it comes from"

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


def read_dataset(path: Path, keywords: Sequence[str] = (), pixels: bool = False) -> FileDataset:
    """The elements of a file: those named, with all that their sequences hold, or every one.

    Raises SourceError: the file is unreadable or ends within an element.
    """
    with (
        faults_as("a file cannot be opened", "Check that it exists and may be read"),
        path.open("rb") as stream,
    ):
        return parse(stream, keywords, pixels)


def parse(stream: BinaryIO, keywords: Sequence[str] = (), pixels: bool = False) -> FileDataset:
    """As `read_dataset`; leaves `stream` at the pixel data, unless they are read or deflated."""
    from pydicom import dcmread

    tags = list(_tags(tuple(keywords))) or None
    with faults_as("a DICOM file cannot be read: it is damaged or cut short"):
        dataset = dcmread(stream, stop_before_pixels=not pixels, force=True, specific_tags=tags)
        if is_cut_short(dataset, stream):
            raise EOFError
    _name_transfer_syntax(dataset)
    return dataset


@lru_cache
def _tags(keywords: tuple[str, ...]) -> tuple[int, ...]:
    from pydicom.datadict import tag_for_keyword

    tags = [tag_for_keyword(keyword) for keyword in keywords]
    return tuple(tag for tag in tags if tag is not None)


def is_cut_short(dataset: FileDataset, stream: BinaryIO) -> bool:
    """Whether a file ends within an element.

    pydicom skips and reads beyond the end of a file, or forgets all of it, without a word.
    """
    from pydicom.dataelem import RawDataElement

    if stream.tell() > os.fstat(stream.fileno()).st_size:
        return True
    if not len(dataset):
        # but an index has none of the elements that are asked for
        return text(dataset.file_meta, "MediaStorageSOPClassUID") != MEDIA_DIRECTORY
    last = dataset.get_item(max(dataset.keys()))
    if not isinstance(last, RawDataElement) or last.length == 0xFFFFFFFF:
        return False
    return len(last.value or b"") < last.length


def _name_transfer_syntax(dataset: FileDataset) -> None:
    """Files without file meta have no transfer syntax; they are uncompressed, and pydicom saw how."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def has(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty."""
    with faults_as(f"{keyword} is malformed"):
        value = dataset.get(keyword)
        return value is not None and not (hasattr(value, "__len__") and len(value) == 0)


def text(dataset: Dataset, keyword: str) -> str:
    """A text or UID, several joined by backslashes; empty where absent."""
    with faults_as(f"{keyword} is malformed"):
        value = dataset.get(keyword)
        if value is None:
            return ""
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
        return "\\".join(str(part).strip(" \0") for part in parts)


def is_decoded(value: str) -> bool:
    """Whether a text is without characters that stand for undecodable ones, here or where it was written."""
    return not any(character in value for character in _REPLACED)


def code(dataset: Dataset, keyword: str) -> str:
    """A code string, in upper case; empty where absent."""
    return text(dataset, keyword).upper()


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """An integer; None where absent or not one."""
    try:
        return int(text(dataset, keyword))
    except (ValueError, SourceError):
        return None


def number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number; None where absent.

    Raises SourceError: several values, or one that is no finite number.
    """
    if not has(dataset, keyword):
        return None
    (value,) = numbers(dataset, keyword, 1)
    return value


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers, `count` of them if given.

    Raises SourceError: absent, too few or many, or not finite numbers.
    """
    if not has(dataset, keyword):
        raise SourceError(f"{keyword} is missing", EXPORT_AGAIN)
    with faults_as(f"{keyword} is malformed"):
        values = tuple(float(part) for part in text(dataset, keyword).split("\\"))
    if not all(math.isfinite(value) for value in values):
        raise SourceError(f"{keyword} is malformed", EXPORT_AGAIN)
    if count is not None and len(values) != count:
        raise SourceError(f"{keyword} has {len(values)} values instead of {count}", EXPORT_AGAIN)
    return values


def items(dataset: Dataset, *keywords: str) -> list[Dataset]:
    """Items of a sequence, or of a sequence within each item of another, and so on."""
    found = [dataset]
    for keyword in keywords:
        with faults_as(f"{keyword} is malformed"):
            found = [item for outer in found for item in (outer.get(keyword) or [])]
            if not all(hasattr(item, "get_item") for item in found):
                raise ValueError
    return found


def texts(datasets: Sequence[Dataset], keyword: str) -> tuple[str, ...]:
    """What items say, each different text once, in their order; absent ones left out."""
    return tuple(dict.fromkeys(value for item in datasets if (value := text(item, keyword))))


def day(dataset: Dataset, keyword: str) -> date | None:
    """A date; None where absent or not one. Takes ACR-NEMA's points (2006.03.02) too."""
    try:
        return datetime.strptime(text(dataset, keyword).replace(".", ""), "%Y%m%d").date()
    except (ValueError, SourceError):
        return None
