"""The network's input as files: one float16 array a volume, which maps into memory as it lies on disk.

NumPy's own format: (X, Y, Z), C order, `<volume>.npy` of the whole head, `<volume>.crop.npy` of a crop.
float16 keeps 11 bits, 0.05 % of a z-score or a dose, at half the size of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import InputGrid
from ricenet.runtime.arrays import write_array
from ricenet.runtime.errors import ScanError

Voxels = NDArray[np.float16]

ALL_IN_ONE_FILE = "volumes.npy"
"""What earlier versions wrote."""

_BEYOND_SIGN, _INFINITY = np.uint16(0x7FFF), 0x7C00
_REMEDY = "Run `dvc repro preprocess`; if it stays, delete the subject's folder under work/preprocessed first"


def volume_file(name: str, suffix: str = "") -> str:
    """The name of a volume's file in a subject's folder. suffix: that of its grid."""
    return f"{name}{suffix}.npy"


def write_volume(
    values: NDArray[np.float32], folder: Path, subject: str, name: str, suffix: str = ""
) -> None:
    """Write one volume (X, Y, Z) atomically. suffix: that of its grid.

    Raises ScanError: a value that is not finite, or that float16 cannot hold.
    """
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    require_finite(halves, subject, volume_file(name, suffix))
    write_array(folder / volume_file(name, suffix), halves)


def map_volume(folder: Path, subject: str, name: str, grid: InputGrid) -> Voxels:
    """One volume (X, Y, Z) as far as the grid sees it, mapped: what is not used is not read. folder: the
    subject's.

    Raises ScanError: a missing, unreadable or misshapen file.
    """
    path = folder / volume_file(name, grid.suffix)
    if not path.is_file():
        earlier = (folder / ALL_IN_ONE_FILE).is_file()
        found = "made by an earlier version, all volumes in one file" if earlier else f"not found in {folder}"
        raise ScanError(subject, path.name, found, _REMEDY)
    try:
        volume: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ScanError(subject, path.name, f"cannot be read ({error})", _REMEDY) from None
    expected = (grid.voxels,) * 3
    if volume.shape != expected or volume.dtype != np.float16:
        found = f"shape {volume.shape} of {volume.dtype}, expected {expected} of float16"
        raise ScanError(subject, path.name, found, _REMEDY)
    return volume[grid.part]


def read_volumes(folder: Path, subject: str, names: Sequence[str], grid: InputGrid) -> Voxels:
    """Volumes of one subject in memory: (C, X, Y, Z) float16, in the order of `names`.

    Raises ScanError: as `map_volume`, or values that are not finite.
    """
    volumes: Voxels = np.empty((len(names), *grid.shape), np.float16)
    for values, name in zip(volumes, names, strict=True):
        values[...] = map_volume(folder, subject, name, grid)
        require_finite(values, subject, volume_file(name, grid.suffix))
    return volumes


def require_finite(values: Voxels, subject: str, file: str) -> None:
    """Refuse infinities and what is no number. Raises ScanError."""
    # the bits of every number that is not finite are above those of all others; quicker than isfinite
    magnitude = np.bitwise_and(values.view(np.uint16), _BEYOND_SIGN)
    if magnitude.max(initial=0) >= _INFINITY:
        count = int((magnitude >= _INFINITY).sum())
        raise ScanError(subject, file, f"{count} voxel(s) are not finite", _REMEDY)
