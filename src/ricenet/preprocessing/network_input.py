"""The network's input as a file: one float16 array a subject, which maps into memory as it lies on disk.

NumPy's own format: (channels, X, Y, Z), C order, channels in the order of MODALITIES. float16 keeps 11 bits,
0.05 % of a z-score or a dose, at half the size of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import atomic_path
from ricenet.vocabulary import MODALITIES

VOLUMES_FILE = "volumes.npy"
Channels = NDArray[np.float16]

_BEYOND_SIGN, _INFINITY = np.uint16(0x7FFF), 0x7C00
_REMEDY = "Run `dvc repro preprocess`; if it stays, delete the subject's folder under work/preprocessed first"


def write_network_input(channels: list[NDArray[np.float32]], folder: Path, subject: str) -> None:
    """Write a subject's volumes, each (X, Y, Z), atomically.

    Raises ScanError: a value that is not finite, or that float16 cannot hold.
    """
    with np.errstate(over="ignore"):
        stacked = np.stack(channels).astype(np.float16)
    require_finite(stacked, range(len(channels)), subject)
    with atomic_path(folder / VOLUMES_FILE) as path:
        np.save(path, stacked, allow_pickle=False)


def map_network_input(folder: Path, subject: str, cube_voxels: int) -> Channels:
    """A subject's volumes (channels, X, Y, Z), mapped: what is not looked at is not read.

    Raises ScanError: a missing, unreadable or misshapen file.
    """
    path = folder / VOLUMES_FILE
    if not path.is_file():
        raise ScanError(subject, VOLUMES_FILE, f"not found in {path.parent}", _REMEDY)
    try:
        volumes: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ScanError(subject, VOLUMES_FILE, f"cannot be read ({error})", _REMEDY) from None
    expected = (len(MODALITIES), *(cube_voxels,) * 3)
    if volumes.shape != expected or volumes.dtype != np.float16:
        found = f"shape {volumes.shape} of {volumes.dtype}, expected {expected} of float16"
        raise ScanError(subject, VOLUMES_FILE, found, _REMEDY)
    return volumes


def read_network_input(folder: Path, subject: str, indices: list[int], cube_voxels: int) -> Channels:
    """Some channels of a subject, in memory: (C, X, Y, Z) float16.

    Raises ScanError: as `map_network_input`, or values that are not finite.
    """
    chosen: Channels = np.ascontiguousarray(map_network_input(folder, subject, cube_voxels)[indices])
    require_finite(chosen, indices, subject)
    return chosen


def map_volume(folder: Path, subject: str, name: str, cube_voxels: int) -> Channels:
    """One volume (X, Y, Z) float16 by its name, mapped. Raises ScanError: as `map_network_input`."""
    mapped: Channels = map_network_input(folder, subject, cube_voxels)[MODALITIES.index(name)]
    return mapped


def read_volumes(folder: Path, subject: str, names: Sequence[str], cube_voxels: int) -> Channels:
    """Some volumes in memory, (C, X, Y, Z) float16 in the order of their names.

    Raises ScanError: as `map_network_input`, or values that are not finite.
    """
    return read_network_input(folder, subject, [MODALITIES.index(name) for name in names], cube_voxels)


def require_finite(channels: Channels, indices: range | list[int], subject: str) -> None:
    """Refuse infinities and what is no number. indices: of the channels among MODALITIES.

    Raises ScanError.
    """
    for index, values in zip(indices, channels, strict=True):
        # the bits of every number that is not finite are above those of all others; quicker than isfinite
        magnitude = np.bitwise_and(values.view(np.uint16), _BEYOND_SIGN)
        if magnitude.max(initial=0) >= _INFINITY:
            count = int((magnitude >= _INFINITY).sum())
            found = f"{count} voxel(s) of {MODALITIES[index]} are not finite"
            raise ScanError(subject, VOLUMES_FILE, found, _REMEDY)
