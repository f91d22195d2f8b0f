"""Reading NIfTI files: versions 1 and 2, compressed or not, and never more than a head can hold.

What a file holds is told by its bytes, not by its name. Regular files alone are opened, and the header's
shape is held against the bounds below before anything is unpacked: a small file may unpack to gigabytes.
Source: NIfTI-1 (nifti1.h, Cox et al. 2004) and NIfTI-2 (nifti2.h, 2011).
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import open_regular

MOST_VOXELS = 2**28
"""As many as 512 x 512 x 1024: 1 GiB as float32."""

MOST_FILE_BYTES = 2**31
MOST_BEFORE_VOXELS = 2**24
"""Bytes of the header and its extensions."""

MOST_BEHIND_VOXELS = 2**20
"""Bytes after the last voxel, where nothing belongs."""

_CHUNK_BYTES = 2**20

_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 540
"""Of NIfTI-2, the longer one."""


@dataclass(frozen=True)
class NiftiFile:
    """A decoded file. header: nibabel's, as the file has it, nothing set right. extensions: how many.
    scaling: slope and intercept.

    affine: (4, 4) world from voxel as nibabel has it: sform, where its code is 0 qform. data: (X, Y, Z).
    """

    header: Any
    extensions: int
    affine: NDArray[np.float64]
    scaling: tuple[float, float]
    data: NDArray[np.float32]


def read_nifti_file(path: Path) -> NiftiFile:
    """Decode a file to its last byte and checksum; one frame of a time series counts as a volume.

    Raises OSError, EOFError, zlib.error: not there, no regular file, damaged, or cut. ValueError: no NIfTI
    file of real numbers in three dimensions, or larger than a head's. nibabel's own errors pass through.
    """
    with _unpacked(path) as stream:
        start = stream.read(_HEADER_BYTES)
        header, image_class = _header(start)
        size = _expected_bytes(header)
        content = start + stream.read(max(0, size - len(start)))
        # to its end, where the checksum of a compressed file is
        if len(stream.read(MOST_BEHIND_VOXELS + 1)) > MOST_BEHIND_VOXELS:
            raise ValueError(f"it goes on after the {size} bytes that its header announces")
    with np.errstate(over="ignore", invalid="ignore"):
        image = image_class.from_bytes(content)
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(header_shape(header))
    # the header's own fields are reset on loading; the proxy keeps what the file said
    scaling = float(image.dataobj.slope), float(image.dataobj.inter)
    extensions = len(image.header.extensions)
    return NiftiFile(header, extensions, np.asarray(image.affine, dtype=np.float64), scaling, data)


def read_nifti_affine(path: Path) -> NDArray[np.float64]:
    """The affine (4, 4) world from voxel, from the header alone. Raises as `read_nifti_file`."""
    with _unpacked(path) as stream:
        header, _ = _header(stream.read(_HEADER_BYTES))
    return np.asarray(header.get_best_affine(), dtype=np.float64)


def header_shape(header: Any) -> tuple[int, int, int]:
    """The shape without further dimensions of one element. Raises ValueError: more or fewer than three."""
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a shape of {shape}, expected three dimensions")
    return shape[0], shape[1], shape[2]


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[io.BufferedIOBase]:
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MOST_FILE_BYTES:
            raise ValueError(
                f"a file of {size / 2**30:.1f} GiB, at most {MOST_FILE_BYTES / 2**30:g} expected"
            )
        is_compressed = stream.read(2) == _GZIP
        stream.seek(0)
        if not is_compressed:
            yield stream
            return
        # gzip's own reader takes 8 KiB at a time, which costs as much again as unpacking does
        with io.BufferedReader(_Unpacked(stream), _CHUNK_BYTES) as unpacked:
            yield unpacked


class _Unpacked(io.RawIOBase):
    """What a gzip file holds, in chunks: its members one after the other, each checked at its end.

    Zeros behind the last member are no fault. Source: RFC 1952.
    """

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed, self._waiting = packed, b""
        self._member: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if not self._waiting:
                self._waiting = self._packed.read(_CHUNK_BYTES)
            if self._member is None:
                self._waiting = self._waiting.lstrip(b"\0")
                if self._waiting:
                    self._member = zlib.decompressobj(wbits=31)
                elif not self._packed.peek(1):
                    return 0
                else:
                    continue
            ended = not self._waiting
            found: bytes = self._member.decompress(self._waiting, len(buffer))
            self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if self._member.eof:
                self._member = None
            if found:
                buffer[: len(found)] = found
                return len(found)
            if ended and self._member is not None:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")


def _header(start: bytes) -> tuple[Any, Any]:
    """The header in a file's first bytes, and nibabel's image class for it."""
    import nibabel as nib

    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    kinds = {348: (nib.nifti1.Nifti1Header, b"n+1\0", 344, nib.nifti1.Nifti1Image)}
    kinds[540] = (nib.nifti2.Nifti2Header, b"n+2\0", 4, nib.nifti2.Nifti2Image)
    for size, (header_class, magic, at, image_class) in kinds.items():
        if size in sizes and start[at : at + 4] == magic and len(start) >= size:
            return header_class.from_fileobj(io.BytesIO(start[:size]), check=False), image_class
    raise ValueError("not NIfTI in one file (.nii or .nii.gz)")


def _expected_bytes(header: Any) -> int:
    voxels = math.prod(header_shape(header))
    if voxels > MOST_VOXELS:
        raise ValueError(f"{voxels} voxels, at most {MOST_VOXELS} expected")
    before = float(header["vox_offset"])
    if not 0 <= before <= MOST_BEFORE_VOXELS:
        raise ValueError(f"voxels from byte {before:g} on, expected at most {MOST_BEFORE_VOXELS}")
    try:
        kind = header.get_data_dtype()
    except KeyError:
        raise ValueError(f"voxels of a type {int(header['datatype'])}, which NIfTI does not know") from None
    if kind.kind not in "iuf":
        raise ValueError("colours or complex numbers, real ones expected")
    return math.ceil(before) + voxels * int(kind.itemsize)
