"""A cohort of scans without their skull brings its own brain masks, checked like every other file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohorts import refusal, write_tiny_cohort

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.volume import Volume, load_nifti, save_nifti


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
        (None, "desc-brain_mask.nii.gz: cannot be read"),
    ],
    ids=["empty", "no mask", "unreadable"],
)
def test_a_faulty_mask_is_a_problem_of_its_subject(
    tmp_path: Path, values: np.ndarray | None, found: str
) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny")
    raw = RawSubject(cohort, "sub-002")
    if values is None:
        raw.brain_mask.write_bytes(b"no volume")
    else:
        save_nifti(Volume(values, load_nifti(raw.scan("post_op")).grid), raw.brain_mask)
    message = refusal(cohort)
    assert found in message and "sub-002_ses-postop_desc-brain_mask.nii.gz" in message
