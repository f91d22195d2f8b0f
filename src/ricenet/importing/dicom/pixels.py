"""Pixel data: whether a file holds all that it announces, and the stored values, compressed or not."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, DicomFile
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.uid import UID

SIZE_KEYWORDS = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
"""What `check_extent` needs to have been read."""

PIXEL_KEYWORDS = (
    *SIZE_KEYWORDS,
    *("PhotometricInterpretation", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
"""What `stored_values` needs to have been read."""

_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF

_NATIVE = frozenset(f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
"""Transfer syntaxes of uncompressed pixel data."""

_JPEG = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8", "1.2.840.10008.1.2.4.9")
"""How the UIDs of JPEG, JPEG-LS and JPEG 2000 start."""

MOST_PIXEL_BYTES = 2**31
"""Of one file once they are decoded: a small one may announce any number."""

_PADDING = 64
"""Bytes that may follow a codestream's end mark."""

_COLOUR_WORDS = ("MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422")
_MEASURED = "Choose the series that the scanner measured, not a capture or a map of it"
_UNCOMPRESSED = "or export it again uncompressed (Explicit VR Little Endian)"
_NO_PIXELS = ("an image file ends before its pixel data", EXPORT_AGAIN)


def check_extent(stream: BinaryIO, file: DicomFile) -> None:
    """Compare the pixel data's announced length with the rest of the file, without reading them.

    stream: at the pixel data, where the header ends.
    Raises SourceError: there are none, or fewer bytes than announced.
    """
    implicit, little = file.dataset.original_encoding
    order = "<" if little else ">"
    size = os.fstat(stream.fileno()).st_size
    header = stream.read(8 if implicit else 12)
    if len(header) < (8 if implicit else 12) or struct.unpack(order + "HH", header[:4]) != _PIXEL_DATA:
        raise SourceError(*_NO_PIXELS)
    (length,) = struct.unpack(order + "L", header[-4:])
    if length == _UNDEFINED:
        _check_fragments(stream, size)
    else:
        _require_bytes(min(length, size - stream.tell()), max(length, _expected_bytes(file)))


def check_grey(file: DicomFile) -> None:
    """Raises SourceError: colour, inverted (MONOCHROME1), or not stored as integers."""
    samples, meaning = file.whole_number("SamplesPerPixel"), file.code("PhotometricInterpretation")
    if samples != 1:
        found = f"colour images ({samples} samples per pixel), not measured values"
        raise SourceError(found, _MEASURED)
    if meaning != "MONOCHROME2":
        known = meaning if meaning in _COLOUR_WORDS else "an unknown word" if meaning else "missing"
        raise SourceError(f"PhotometricInterpretation is {known} instead of MONOCHROME2", _MEASURED)


def stored_values(file: DicomFile) -> NDArray[Any]:
    """Stored integers (frames, rows, columns), before any rescaling.

    Raises SourceError: no or too few pixel data, or a compression that cannot be decoded.
    """
    check_grey(file)
    bits = _check_bits(file)
    if not file.has("PixelData"):
        raise SourceError(*_NO_PIXELS)
    if (announced := _expected_bytes(file)) > MOST_PIXEL_BYTES:
        found = f"pixel data of {announced / 2**30:.0f} GiB by the header"
        raise SourceError(f"{found}, at most {MOST_PIXEL_BYTES / 2**30:g} expected", EXPORT_AGAIN)
    if file.transfer_syntax in _NATIVE:
        _require_bytes(len(file.dataset.PixelData), _expected_bytes(file))
    values = _decoded(file)
    # above the stored bits lie overlays, by old standards
    unused = values.dtype.itemsize * 8 - bits
    values = values.reshape(-1, *values.shape[-2:])
    return values if unused == 0 else np.right_shift(np.left_shift(values, unused), unused)


def _expected_bytes(file: DicomFile) -> int:
    """Length of uncompressed pixel data by the header; 0 where the header does not say.

    Source: DICOM PS3.5, 8.1.1.
    """
    rows, columns, bits = (file.whole_number(k) or 0 for k in ("Rows", "Columns", "BitsAllocated"))
    samples, frames = (file.whole_number(k) or 1 for k in ("SamplesPerPixel", "NumberOfFrames"))
    return (rows * columns * bits * samples * frames + 7) // 8


def _require_bytes(present: int, needed: int) -> None:
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


def _check_bits(file: DicomFile) -> int:
    """BitsStored, which lie at the low end."""
    allocated, stored, high = (file.whole_number(k) for k in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16, 32) or stored is None or not 1 <= stored <= allocated:
        raise SourceError("pixel data whose number of bits is not stated plausibly", EXPORT_AGAIN)
    if high is not None and high != stored - 1:
        raise SourceError(f"pixel data of {stored} bits whose highest is bit {high}", EXPORT_AGAIN)
    return stored


def _decoded(file: DicomFile) -> NDArray[Any]:
    _silence_gdcm()
    syntax = file.transfer_syntax
    try:
        if syntax.startswith(_JPEG):
            _check_codestreams(file)
        return np.asarray(file.dataset.pixel_array)
    except (ValueError, AttributeError, TypeError, LookupError, EOFError, OSError, RuntimeError):
        # NotImplementedError, of compressions without any decoder, is a RuntimeError
        raise _undecodable(syntax) from None


def _check_codestreams(file: DicomFile) -> None:
    """Decoders fill up what is missing of a JPEG; it is whole if it has its end mark (EOI, EOC)."""
    from pydicom.encaps import generate_frames

    frames = file.whole_number("NumberOfFrames") or 1
    for codestream in generate_frames(file.dataset.PixelData, number_of_frames=frames):
        if b"\xff\xd9" not in codestream[-_PADDING:]:
            raise ValueError


def _silence_gdcm() -> None:
    """GDCM writes what it thinks of a file straight to stderr."""
    try:
        import gdcm
    except ImportError:
        return
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()


def _undecodable(syntax: UID) -> SourceError:
    if not syntax.is_transfer_syntax:
        found = "pixel data in an unknown (private) transfer syntax"
        return SourceError(found, f"Convert it, {_UNCOMPRESSED}")
    if _has_decoder(syntax):
        return SourceError(f"pixel data ({syntax.name}) are damaged", EXPORT_AGAIN)
    plugins = "pylibjpeg and pylibjpeg-openjpeg" if "2000" in syntax.name else "python-gdcm"
    remedy = f"Install {plugins}" if "JPEG" in syntax.name else "Convert it"
    return SourceError(
        f"pixel data compressed as {syntax.name} cannot be decoded", f"{remedy}, {_UNCOMPRESSED}"
    )


def _has_decoder(syntax: UID) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return syntax in _NATIVE or bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
