"""Brain extraction by HD-BET on a head whose brain is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heads import write_head

from ricenet.cohort.layout import RawSubject
from ricenet.errors import ScanError
from ricenet.preprocessing.brain import extract_brain, use_bfloat16
from ricenet.volume import Grid, Volume, load_nifti, resample


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_mask_is_the_brain_whatever_the_scans_orientation(tmp_path: Path) -> None:
    head = write_head(tmp_path)
    scan = load_nifti(RawSubject(head, "sub-001").scan("post_op"))
    assert not np.allclose(scan.grid.affine[:3, :3], np.diag(scan.grid.spacing_mm))
    mask = extract_brain(scan, "sub-001", mode="fast", mirroring=False, precision="auto")
    truth = resample(load_nifti(head / "ground_truth/sub-001/brain.nii.gz"), mask.grid).data > 0.5
    assert dice(mask.data.astype(bool), truth) > 0.95


def test_a_scan_without_a_head_is_refused_by_name() -> None:
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    scan = Volume(noise, Grid.cube(np.zeros(3), 3.0, 40))
    with pytest.raises(
        ScanError, match=r"sub-5: post_op T1ce: (no head in the image|HD-BET found a brain of)"
    ):
        extract_brain(scan, "sub-5", mode="fast", mirroring=False, precision="float32")


def test_precision_is_as_told() -> None:
    assert use_bfloat16("bfloat16")
    assert not use_bfloat16("float32")
