"""Pixel data to stored values, compressed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.importing.dicom.datasets import EXPORT_AGAIN, code, has, whole_number
from ricenet.importing.dicom.pixel_extent import SIZE_KEYWORDS, expected_bytes
from ricenet.runtime.errors import SourceError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.uid import UID

PIXEL_KEYWORDS = (
    *SIZE_KEYWORDS,
    "PhotometricInterpretation",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
"""What `stored_values` needs to have been read."""

_NATIVE = frozenset(f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
"""Transfer syntaxes of uncompressed pixel data."""

_JPEG = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8", "1.2.840.10008.1.2.4.9")
"""How the UIDs of JPEG, JPEG-LS and JPEG 2000 start."""

_PADDING = 64
"""Bytes that may follow a codestream's end mark."""

_UNCOMPRESSED = "or export it again uncompressed (Explicit VR Little Endian)"


def check_grey(dataset: FileDataset) -> None:
    """Raises SourceError: colour, inverted (MONOCHROME1), or not stored as integers."""
    samples, meaning = whole_number(dataset, "SamplesPerPixel"), code(dataset, "PhotometricInterpretation")
    if samples != 1:
        raise SourceError(
            f"colour images ({samples} samples per pixel), not measured values",
            "Choose the series that the scanner measured, not a capture or a map of it",
        )
    if meaning != "MONOCHROME2":
        raise SourceError(
            f"PhotometricInterpretation is {_known(meaning)} instead of MONOCHROME2",
            "Choose the series that the scanner measured, not a capture or a map of it",
        )


def _known(meaning: str) -> str:
    known = ("MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422")
    return meaning if meaning in known else "missing" if not meaning else "an unknown word"


def stored_values(dataset: FileDataset) -> NDArray[Any]:
    """Stored integers (frames, rows, columns), before any rescaling.

    Raises SourceError: no or too few pixel data, or a compression that cannot be decoded.
    """
    check_grey(dataset)
    bits = _check_bits(dataset)
    _check_present(dataset)
    values = _decoded(dataset)
    values = values.reshape(-1, *values.shape[-2:])
    return _without_unused_bits(values, bits)


def _check_present(dataset: FileDataset) -> None:
    if not has(dataset, "PixelData"):
        raise SourceError("an image file ends before its pixel data", EXPORT_AGAIN)
    expected, present = expected_bytes(dataset), len(dataset.PixelData)
    if dataset.file_meta.TransferSyntaxUID in _NATIVE and present < expected:
        raise SourceError(f"pixel data are cut short: {present} of {expected} bytes are there", EXPORT_AGAIN)


def _decoded(dataset: FileDataset) -> NDArray[Any]:
    _silence_gdcm()
    syntax: UID = dataset.file_meta.TransferSyntaxUID
    try:
        if syntax.startswith(_JPEG):
            _check_codestreams(dataset)
        return np.asarray(dataset.pixel_array)
    except (ValueError, AttributeError, TypeError, LookupError, EOFError, OSError, RuntimeError):
        # NotImplementedError, of compressions without any decoder, is a RuntimeError
        raise _undecodable(syntax) from None


def _check_codestreams(dataset: FileDataset) -> None:
    """Decoders fill up what is missing of a JPEG; it is whole if it has its end mark (EOI, EOC)."""
    from pydicom.encaps import generate_frames

    frames = whole_number(dataset, "NumberOfFrames") or 1
    for codestream in generate_frames(dataset.PixelData, number_of_frames=frames):
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
        return SourceError(
            "pixel data in an unknown (private) transfer syntax", f"Convert it, {_UNCOMPRESSED}"
        )
    if _has_decoder(syntax):
        return SourceError(f"pixel data ({syntax.name}) are damaged", EXPORT_AGAIN)
    plugins = "pylibjpeg and pylibjpeg-openjpeg" if "2000" in syntax.name else "python-gdcm"
    found = f"pixel data compressed as {syntax.name} cannot be decoded"
    if "JPEG" not in syntax.name:
        return SourceError(found, f"Convert it, {_UNCOMPRESSED}")
    return SourceError(found, f"Install {plugins}, {_UNCOMPRESSED}")


def _has_decoder(syntax: UID) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    if syntax in _NATIVE:
        return True
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _check_bits(dataset: FileDataset) -> int:
    """BitsStored, which lie at the low end."""
    allocated, stored, high = (whole_number(dataset, k) for k in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16, 32) or stored is None or not 1 <= stored <= allocated:
        raise SourceError("pixel data whose number of bits is not stated plausibly", EXPORT_AGAIN)
    if high is not None and high != stored - 1:
        raise SourceError(f"pixel data of {stored} bits whose highest is bit {high}", EXPORT_AGAIN)
    return stored


def _without_unused_bits(values: NDArray[Any], stored: int) -> NDArray[Any]:
    """Drop what lies above the stored bits (overlays, by old standards), keeping the sign if there is one."""
    unused = values.dtype.itemsize * 8 - stored
    return values if unused == 0 else np.right_shift(np.left_shift(values, unused), unused)
