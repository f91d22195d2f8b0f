"""An array's file says so where the disk is full, also where that happens midway."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ricenet.runtime.arrays import write_array


def test_an_array_comes_back_as_numpy_writes_it(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    write_array(tmp_path / "a.npy", values)
    np.save(tmp_path / "numpys.npy", values)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_a_disk_that_fills_up_midway_is_told_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"the disk is full: a\.npy needs 8\.0 MB") as refused:
        write_array(tmp_path / "a.npy", np.zeros(10**6))
    assert refused.value.errno == errno.ENOSPC


LIMITED = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from ricenet.runtime.arrays import write_array
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_array(Path(sys.argv[1]), np.zeros(10**5))
except OSError as error:
    print(error.errno)
"""


def test_what_stops_a_file_midway_keeps_its_number(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(errno.EFBIG)
    assert list(tmp_path.iterdir()) == []
