"""Whether a file holds all the pixel data that it announces, without reading them."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, whole_number
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_END = (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF

SIZE_KEYWORDS = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
"""What `expected_bytes` needs to have been read."""


def expected_bytes(dataset: Dataset) -> int:
    """Length of uncompressed pixel data by the header; 0 where the header does not say.

    Source: DICOM PS3.5, 8.1.1.
    """
    rows, columns, bits = (whole_number(dataset, k) or 0 for k in ("Rows", "Columns", "BitsAllocated"))
    samples, frames = (whole_number(dataset, k) or 1 for k in ("SamplesPerPixel", "NumberOfFrames"))
    return (rows * columns * bits * samples * frames + 7) // 8


def check_extent(stream: BinaryIO, dataset: FileDataset) -> None:
    """Compare the pixel data's announced length with the rest of the file.

    stream: at the pixel data, where the header ends.
    Raises SourceError: there are none, or fewer bytes than announced.
    """
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    size = os.fstat(stream.fileno()).st_size
    header = stream.read(8 if implicit else 12)
    if len(header) < (8 if implicit else 12) or struct.unpack(order + "HH", header[:4]) != _PIXEL_DATA:
        raise SourceError("an image file ends before its pixel data", EXPORT_AGAIN)
    (length,) = struct.unpack(order + "L", header[-4:])
    if length == _UNDEFINED:
        _check_fragments(stream, size)
        return
    needed = max(length, expected_bytes(dataset))
    present = min(length, size - stream.tell())
    if present < needed:
        raise SourceError(f"pixel data are cut short: {present} of {needed} bytes are there", EXPORT_AGAIN)


def _check_fragments(stream: BinaryIO, size: int) -> None:
    """Walk along compressed data, which are always little endian, to their end mark (PS3.5, A.4)."""
    while stream.tell() <= size and len(header := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", header)
        if (group, element) == _SEQUENCE_END:
            return
        if (group, element) != _ITEM:
            break
        stream.seek(length, os.SEEK_CUR)
    raise SourceError("compressed pixel data are cut short: their end mark is missing", EXPORT_AGAIN)
