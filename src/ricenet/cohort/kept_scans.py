"""Scans that a process has decoded and may ask for again: the last ones, as far as they are small.

Registration, brain, cube and crops of one subject all read the same files. Scans of usual size are decoded
once for all of them; finer ones, two of which may not fit into memory together, every time.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Volume

MOST_BYTES = 2**28
"""Of all that is kept: four MRIs of 256 voxels cubed, as float32."""

_Key = tuple[str, int, int, int]
_kept: OrderedDict[_Key, Volume] = OrderedDict()


def key_of(path: Path) -> _Key:
    """What tells a file's content from an earlier one under the same name. Raises OSError."""
    status = path.stat()
    return os.fspath(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns


def kept_scan(key: _Key) -> Volume | None:
    """The scan of this key, if it is kept."""
    if key in _kept:
        _kept.move_to_end(key)
    return _kept.get(key)


def keep_scan(key: _Key, scan: Volume) -> None:
    """Keep a scan, whose voxels nobody may change; those least recently used go."""
    voxels: NDArray[np.generic] = scan.data
    if voxels.nbytes > MOST_BYTES:
        return
    voxels.flags.writeable = False
    _kept[key] = scan
    while sum(other.data.nbytes for other in _kept.values()) > MOST_BYTES:
        _kept.popitem(last=False)
