"""A cohort of scans without their skull brings its own brain masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohorts import refusal, write_tiny_cohort

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.preprocessing import pipeline
from ricenet.preprocessing.brain import mask as brain_mask
from ricenet.preprocessing.brain.given_mask import read_given_mask
from ricenet.runtime.errors import ScanError
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

PARAMS = read_params(Path(__file__).parents[1] / "params.yaml").preprocessing


def box(side_mm: float, voxels: int = 60, spacing_mm: float = 3.0) -> Volume:
    """A cube of ones in the middle of a larger grid."""
    grid = Grid.cube(np.zeros(3), spacing_mm, voxels)
    inside = np.abs(np.arange(voxels) - (voxels - 1) / 2) * spacing_mm < side_mm / 2
    return Volume(np.einsum("i,j,k->ijk", inside, inside, inside).astype(np.bool_), grid)


def test_a_mask_is_read_as_it_is(tmp_path: Path) -> None:
    save_nifti(box(102.0), tmp_path / "mask.nii.gz")
    mask = read_given_mask(tmp_path / "mask.nii.gz", "sub-001")
    # 34 voxels of 3 mm an axis: 1061 ml
    assert mask.data.dtype == np.bool_ and mask.data.sum() == 34**3


@pytest.mark.parametrize(("side_mm", "volume_ml"), [(60.0, 216), (150.0, 3375)])
def test_a_mask_that_no_brain_can_have_is_refused(tmp_path: Path, side_mm: float, volume_ml: int) -> None:
    save_nifti(box(side_mm), tmp_path / "mask.nii.gz")
    with pytest.raises(ScanError, match=rf"sub-009: mask.nii.gz: .* {volume_ml} ml, expected 600 to 2400"):
        read_given_mask(tmp_path / "mask.nii.gz", "sub-009")


def test_preprocessing_takes_the_given_mask_and_leaves_hd_bet_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> Volume:
        raise AssertionError("HD-BET was asked")

    monkeypatch.setattr(brain_mask, "extract_brain", never)
    raw = RawSubject(tmp_path, "sub-001")
    rng = np.random.default_rng(3)
    mask = box(108.0)
    blurred = rng.normal(200, 60, (6, 6, 6)).repeat(10, 0).repeat(10, 1).repeat(10, 2)
    stripped = Volume((blurred * mask.data).astype(np.float32), mask.grid)
    for modality in ("post_op", "event"):
        save_nifti(stripped, raw.scan(modality))
    save_nifti(Volume(np.full(mask.grid.shape, 30.0, np.float32), mask.grid), raw.scan("dose"))
    raw.dose_sidecar.write_text('{"DoseUnits": "GY", "DoseSummationType": "PLAN"}')
    save_nifti(mask, raw.brain_mask)
    result = pipeline.preprocess(raw, PARAMS, seed=7)
    # 108 mm at 6 mm a voxel: 18 an axis
    assert result.brain.data.sum() == 18**3
    assert float(result.dose.data.max()) == pytest.approx(30.0)


def test_a_mask_is_part_of_the_cohorts_content(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny")
    before = admit(check_cohort(cohort), exclude_faulty=False)
    assert "brain_mask" not in before.subjects[0].scans
    raw = RawSubject(cohort, "sub-001")
    image = load_nifti(raw.scan("post_op"))
    save_nifti(Volume(image.data > 20, image.grid), raw.brain_mask)
    after = admit(check_cohort(cohort), exclude_faulty=False)
    assert before.digest != after.digest
    assert before.subjects[1] == after.subjects[1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((12, 12, 12), np.float32), "every voxel is 0"),
        (np.linspace(0, 2, 12**3, dtype=np.float32).reshape(12, 12, 12), "values other than 0 and 1"),
    ],
    ids=["empty", "no mask"],
)
def test_a_faulty_mask_is_a_problem_of_its_subject(tmp_path: Path, values: np.ndarray, found: str) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny")
    raw = RawSubject(cohort, "sub-002")
    save_nifti(Volume(values, load_nifti(raw.scan("post_op")).grid), raw.brain_mask)
    message = refusal(cohort)
    assert found in message and "sub-002_ses-postop_desc-brain_mask.nii.gz" in message


def test_an_unreadable_mask_is_a_problem_of_its_subject(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny")
    RawSubject(cohort, "sub-002").brain_mask.write_bytes(b"no volume")
    assert "desc-brain_mask.nii.gz: cannot be read" in refusal(cohort)
