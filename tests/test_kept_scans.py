"""A scan is decoded once, until its file changes; what is too large is never kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ricenet.cohort import kept_scans, scan_checks
from ricenet.cohort.scan_checks import load_scan
from ricenet.runtime.errors import ScanError
from ricenet.volume import Grid, Volume, save_nifti

GRID = Grid((12, 12, 12), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded, in order."""
    kept_scans._kept.clear()
    paths: list[Path] = []
    real = scan_checks.read_scan
    monkeypatch.setattr(scan_checks, "read_scan", lambda path: (paths.append(path), real(path))[1])
    return paths


def written(path: Path, value: float) -> Path:
    data = np.full(GRID.shape, value, np.float32)
    data[0, 0, 0] = 0
    save_nifti(Volume(data, GRID), path)
    return path


def test_a_file_is_decoded_once_and_again_when_it_is_replaced(tmp_path: Path, decoded: list[Path]) -> None:
    path = written(tmp_path / "scan.nii.gz", 3.0)
    for _ in range(3):
        assert load_scan(path, "sub-001", "scan").data.max() == 3.0
    assert decoded == [path]
    written(path, 5.0)
    assert load_scan(path, "sub-001", "scan").data.max() == 5.0 and len(decoded) == 2
    path.unlink()
    with pytest.raises(ScanError, match="file is missing"):
        load_scan(path, "sub-001", "scan")


def test_voxels_that_others_may_ask_for_cannot_be_changed(tmp_path: Path, decoded: list[Path]) -> None:
    scan = load_scan(written(tmp_path / "scan.nii.gz", 3.0), "sub-001", "scan")
    with pytest.raises(ValueError, match="read-only"):
        scan.data[0, 0, 0] = 1


def test_the_least_recently_used_scan_goes_first(
    tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_scans, "MOST_BYTES", 2 * 4 * 12**3)
    one, two, three = (written(tmp_path / f"{n}.nii.gz", n) for n in (1.0, 2.0, 3.0))
    for path in (one, two, one, three, one, two):
        load_scan(path, "sub-001", "scan")
    assert decoded == [one, two, three, two]
    monkeypatch.setattr(kept_scans, "MOST_BYTES", 4 * 12**3 - 1)
    written(three, 4.0)
    for _ in range(2):
        load_scan(three, "sub-001", "scan")
    assert decoded[4:] == [three, three]
