"""Guards of images: the same under two names, nearly the same, normalised by others."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from guarded_cohorts import (
    BRAIN,
    guards_of,
    head,
    overwrite_channel,
    plan_gy,
    standardised,
    write_guarded_project,
    write_volumes,
)
from scipy.ndimage import shift

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.raw_fingerprint import voxel_digest
from ricenet.screening.guards.input_fingerprint import block_means
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import PAPER_VOLUMES, Modality

SUBJECTS = 12


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("clean")
    write_guarded_project(project, SUBJECTS)
    return project


@pytest.fixture
def project(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "project"))


def scan(project: Path, subject: str, modality: Modality) -> Path:
    return RawSubject(project / "data", subject).scan(modality)


def compressed_again(source: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), compresslevel=9, mtime=5))


def with_another_header(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    copy = nib.nifti1.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([1.5, 1.5, 3.0, 1.0]))
    copy.header["descrip"] = b"exported anew"
    copy.to_filename(target)


def flipped_as_double(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    data = image.get_fdata(dtype=np.float64)[::-1].transpose(1, 0, 2)
    nib.nifti1.Nifti1Image(data, image.affine).to_filename(target)


def padded(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    data = np.pad(image.get_fdata(dtype=np.float32), 2)
    nib.nifti1.Nifti1Image(data, image.affine).to_filename(target)


@pytest.mark.parametrize("copy", [compressed_again, with_another_header, flipped_as_double, padded])
def test_a_scan_under_another_subject_is_found_however_it_was_saved(project: Path, copy: object) -> None:
    copy(scan(project, "sub-003", "event"), scan(project, "sub-008", "event"))  # type: ignore[operator]
    result = guards_of(project)["same_image"]
    assert (result.outcome, result.subjects) == ("failed", ("sub-003", "sub-008"))
    assert "sub-003 event = sub-008 event" in result.found
    assert "exclude.tsv" in result.remedy


def test_one_scan_at_both_times_is_found(project: Path) -> None:
    compressed_again(scan(project, "sub-005", "post_op"), scan(project, "sub-005", "event"))
    result = guards_of(project)["same_image"]
    assert (result.outcome, result.subjects) == ("failed", ("sub-005",))
    assert "sub-005 post_op = sub-005 event" in result.found


def test_another_subject_s_dose_is_found(project: Path) -> None:
    compressed_again(scan(project, "sub-001", "dose"), scan(project, "sub-009", "dose"))
    assert guards_of(project)["same_image"].subjects == ("sub-001", "sub-009")


def test_one_voxel_makes_another_image() -> None:
    values = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    other = values.copy()
    other[1, 1, 1] += 0.5
    assert voxel_digest(values) == voxel_digest(np.pad(values[::-1], 1))
    assert voxel_digest(values) != voxel_digest(other)


def similar(project: Path) -> GuardResult:
    return guards_of(project)["similar_image"]


def exported_again(image: np.ndarray) -> np.ndarray:
    """Other contrast, noise, and 1.2 mm further along each axis."""
    moved = shift(image, (0.15, -0.15, 0.15), order=1)
    noise = np.random.default_rng(4).normal(0, 0.2, image.shape)
    return standardised((np.sign(moved) * np.abs(moved) ** 0.8 + noise).astype(np.float32))


def test_heads_resemble_one_another_and_still_pass(project: Path) -> None:
    one, other = (head(subject, "post_op")[BRAIN] for subject in ("sub-001", "sub-002"))
    assert np.corrcoef(one, other)[0, 1] > 0.7
    result = similar(project)
    assert result.outcome == "passed"
    assert float(result.found.rpartition("highest ")[2].rstrip(")")) < 0.5


def test_a_patient_who_was_exported_twice_is_found(project: Path) -> None:
    write_volumes(project, "sub-007", post_op=exported_again(head("sub-002", "post_op")))
    result = similar(project)
    assert (result.outcome, result.subjects) == ("warning", ("sub-002", "sub-007"))
    assert "sub-002 post_op and sub-007 post_op 0." in result.found
    assert "side by side" in result.remedy


def test_one_patient_s_scan_at_another_time_of_another_subject_is_found(project: Path) -> None:
    write_volumes(project, "sub-007", event=exported_again(head("sub-010", "post_op")))
    assert similar(project).subjects == ("sub-007", "sub-010")


def test_another_patient_s_plan_is_found(project: Path) -> None:
    write_volumes(project, "sub-004", dose_gy=np.float32(1.02) * plan_gy("sub-011"))
    result = similar(project)
    assert "sub-004 dose and sub-011 dose" in result.found or "sub-011 dose and sub-004 dose" in result.found
    assert result.outcome == "warning"


def test_two_subjects_are_too_few_to_know_what_heads_share(tmp_path: Path) -> None:
    from ricenet.screening.guards.image_guards import similar_image

    def nobody(subject: str) -> None:
        raise AssertionError(subject)

    result = similar_image(["sub-001", "sub-002"], nobody, PAPER_VOLUMES, 0.7)  # type: ignore[arg-type]
    assert result.outcome == "not applicable"


def test_blocks_are_averaged_and_what_is_left_over_is_dropped() -> None:
    volume = np.zeros((5, 4, 4), np.float16)
    volume[0, 0, 0], volume[4] = 8, 99
    means = block_means(volume, 2)
    assert means.shape == (2, 2, 2)
    assert means[0, 0, 0] == 1
    assert means.sum() == 1


def normalisation(project: Path) -> GuardResult:
    return guards_of(project)["foreign_normalisation"]


def test_a_scan_that_was_standardised_by_the_cohort_is_found(project: Path) -> None:
    # mean and SD of the cohort instead of the subject's: off by a twentieth of an SD
    overwrite_channel(project, "sub-006", 1, np.where(BRAIN, head("sub-006", "event") + 0.05, 0))
    result = normalisation(project)
    assert (result.outcome, result.subjects) == ("failed", ("sub-006",))
    assert "event has mean 0.050 and SD 1.000" in result.found


def test_a_scan_with_another_spread_is_found(project: Path) -> None:
    overwrite_channel(project, "sub-006", 0, 0.97 * head("sub-006", "post_op"))
    assert "post_op has mean 0.000 and SD 0.970" in normalisation(project).found.replace("-0.000", "0.000")


def test_an_mri_that_is_standardised_outside_the_brain_too_is_found(project: Path) -> None:
    image = head("sub-006", "post_op")
    image[0, 0, 0] = 0.5
    overwrite_channel(project, "sub-006", 0, image)
    assert "post_op of up to 0.500 outside the brain" in normalisation(project).found


def test_a_dose_in_another_unit_is_found(project: Path) -> None:
    dose = plan_gy("sub-012")
    overwrite_channel(project, "sub-012", 2, dose / dose.max())
    result = normalisation(project)
    assert result.subjects == ("sub-012",)
    assert "dose differs by up to" in result.found
