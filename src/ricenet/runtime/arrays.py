"""Arrays as numpy's own files (.npy).

Given a path, numpy 2.3 writes by C's buffers: of a disk that fills up midway it raises an OSError without a
number, which names neither the file nor the reason. So files are written as all others are.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import write_bytes


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array atomically, its type and shape as they are. Raises OSError: of a full disk, with what is
    needed.
    """
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    write_bytes(path, stream.getvalue())
