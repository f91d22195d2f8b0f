"""Scans without their skull are told from whole heads, defaced ones and padded fields of view."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.stripped import brain_of_stripped, looks_stripped
from ricenet.config.params import read_params
from ricenet.preprocessing.brain import extraction
from ricenet.preprocessing.brain.extraction import FoundBrain, find_brain
from ricenet.runtime.errors import ScanError
from ricenet.volume import Grid, Volume, dice, load_nifti, resample, save_nifti

BRAIN = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing.brain
GRID = Grid.cube(np.zeros(3), 2.0, 110)
AT_MM = GRID.world_mm(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(float))


def ellipsoid(x_mm: float, y_mm: float, z_mm: float) -> np.ndarray:
    """Semi-axes."""
    return np.linalg.norm(AT_MM / [x_mm, y_mm, z_mm], axis=-1) < 1


TISSUE = np.random.default_rng(4).uniform(200, 400, GRID.shape)
BRAIN_SHAPE, HEAD_SHAPE = ellipsoid(66, 85, 62), ellipsoid(80, 102, 95)
AIR = np.random.default_rng(5).uniform(1, 9, GRID.shape)


def scan(values: np.ndarray) -> Volume:
    return Volume(values.astype(np.float32), GRID)


def with_ventricles(values: np.ndarray) -> np.ndarray:
    return np.where(ellipsoid(8, 25, 12), 0, values)


def within(values: np.ndarray, *bounds: tuple[int, int]) -> np.ndarray:
    """Nothing but a box, the rest padded with zeros."""
    result = np.zeros_like(values)
    box = tuple(slice(*one) for one in bounds)
    result[box] = values[box]
    return result


def test_the_brain_of_a_stripped_scan_is_what_is_not_background() -> None:
    # 4/3 pi 66 x 85 x 62 mm: 1457 ml, its ventricles among it
    for background in (0.0, -0.7):
        values = with_ventricles(np.where(BRAIN_SHAPE, TISSUE, 0)) + background
        found = brain_of_stripped(scan(values))
        assert found is not None
        np.testing.assert_array_equal(found, BRAIN_SHAPE)
    specks = np.where(BRAIN_SHAPE, TISSUE, 0)
    specks[5, 5, 5] = specks[100, 7, 50] = 3
    assert np.array_equal(brain_of_stripped(scan(specks)), BRAIN_SHAPE)


# a skull-less scan has one value around a body of a brain's volume and shape
OTHERS = {
    "whole head": np.where(HEAD_SHAPE, TISSUE, AIR),
    "brain in noise": np.where(BRAIN_SHAPE, TISSUE, AIR),
    "air set to zero": np.where(HEAD_SHAPE, TISSUE, 0),
    "defaced": np.where(HEAD_SHAPE & ~((AT_MM[..., 1] > 40) & (AT_MM[..., 2] < -10)), TISSUE, AIR),
    "defaced, air set to zero": np.where(
        HEAD_SHAPE & ~((AT_MM[..., 1] > 40) & (AT_MM[..., 2] < -10)), TISSUE, 0
    ),
    "padded": within(np.where(HEAD_SHAPE, TISSUE, AIR), (10, 100), (2, 108), (5, 105)),
    "padded slab of a brain's volume": within(
        np.where(HEAD_SHAPE, TISSUE, AIR), (10, 100), (2, 108), (40, 62)
    ),
    "padded box of a brain's volume": within(np.where(HEAD_SHAPE, TISSUE, AIR), (25, 85), (25, 85), (20, 75)),
    "half a brain": np.where(BRAIN_SHAPE & (AT_MM[..., 0] > 0), TISSUE, 0),
    "two bodies": np.where(ellipsoid(66, 85, 62) & (np.abs(AT_MM[..., 2]) > 6), TISSUE, 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_scans_are_not_mistaken_for_stripped_ones(name: str) -> None:
    assert not looks_stripped(scan(OTHERS[name]))
    assert brain_of_stripped(scan(OTHERS[name])) is None


def test_a_real_template_without_its_skull_is_recognised() -> None:
    datasets = pytest.importorskip("nilearn.datasets")
    image = datasets.load_mni152_template(resolution=1)
    data = np.asarray(image.dataobj, dtype=np.float32)
    x, y, z = data.shape
    assert looks_stripped(Volume(data, Grid((x, y, z), np.asarray(image.affine, np.float64))))


# --- the step of preprocessing ---


@pytest.fixture
def raw(phantom_head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RawSubject:
    """A phantom whose post-op scan lost its skull; HD-BET may not be asked."""
    monkeypatch.setattr(extraction, "extract_brain", lambda *_, **__: pytest.fail("HD-BET was asked"))
    raw = RawSubject(Path(shutil.copytree(phantom_head, tmp_path / "raw")), "sub-001")
    mri = load_nifti(raw.scan("post_op"))
    inside = resample(true_brain(raw), mri.grid, order=0).data > 0.5
    save_nifti(Volume(np.where(inside, mri.data, 0).astype(np.float32), mri.grid), raw.scan("post_op"))
    return raw


def true_brain(raw: RawSubject) -> Volume:
    return load_nifti(raw.cohort / "ground_truth/sub-001/brain.nii.gz")


def test_a_stripped_scan_says_its_brain_itself_and_a_given_mask_comes_first(
    raw: RawSubject, tmp_path: Path
) -> None:
    found = find_brain(raw, BRAIN)
    truth = true_brain(raw)
    assert found.source == "stripped"
    assert (
        dice(resample(Volume(found.mask.data, found.mask.grid), truth.grid).data > 0.5, truth.data > 0.5)
        > 0.97
    )
    save_nifti(Volume(truth.data > 0.5, truth.grid), raw.brain_mask)
    given = find_brain(raw, BRAIN)
    assert given.source == "given"
    given.write(tmp_path / "kept")
    again = FoundBrain.read(tmp_path / "kept")
    assert again.source == "given" and np.array_equal(again.mask.data, given.mask.data)
    assert json.loads((tmp_path / "kept" / extraction.SOURCE_FILE).read_text()) == "given"


def test_a_mask_whose_content_is_missing_is_no_absent_mask(raw: RawSubject) -> None:
    raw.brain_mask.symlink_to("not-fetched")
    with pytest.raises(ScanError, match=r"sub-001: .*desc-brain_mask.nii.gz: file is missing: a link"):
        find_brain(raw, BRAIN)
