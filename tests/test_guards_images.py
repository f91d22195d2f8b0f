"""Guards of images: the same under two names, nearly the same, normalised by others."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from guarded_cohorts import BRAIN, guards_of, head, overwrite_channel, plan_gy, standardised, write_volumes
from scipy.ndimage import shift

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.scan_fingerprint import voxel_digest
from ricenet.screening.guards.image_guards import similar_image
from ricenet.screening.guards.input_fingerprint import InputFingerprint, block_means, foreign_normalisation
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import PAPER_VOLUMES, Volumes, VolumeSpec


@pytest.fixture
def project(guarded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(guarded, tmp_path / "project"))


def scan(project: Path, subject: str, name: str) -> Path:
    return RawSubject(project / "data", subject).scan(name)


# --- the same image ---


def compressed_again(source: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), compresslevel=9, mtime=5))


def with_another_header(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    copy = nib.nifti1.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([10.5, 10.5, 13.0, 1.0]))
    copy.header["descrip"] = b"exported anew"
    copy.to_filename(target)


def flipped_as_double(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    data = image.get_fdata(dtype=np.float64)[::-1].transpose(1, 0, 2)
    nib.nifti1.Nifti1Image(data, image.affine).to_filename(target)


def padded(source: Path, target: Path) -> None:
    image = nib.nifti1.load(source)
    nib.nifti1.Nifti1Image(np.pad(image.get_fdata(dtype=np.float32), 2), image.affine).to_filename(target)


@pytest.mark.parametrize(
    ("one", "other", "copy"),
    [
        ("sub-003 event", "sub-008 event", compressed_again),
        ("sub-003 event", "sub-008 event", with_another_header),
        ("sub-003 event", "sub-008 event", flipped_as_double),
        ("sub-003 event", "sub-008 event", padded),
        ("sub-001 dose", "sub-009 dose", compressed_again),
    ],
)
def test_a_scan_under_another_name_is_found_however_it_was_saved(
    project: Path, one: str, other: str, copy: Callable[[Path, Path], None]
) -> None:
    copy(scan(project, *one.split()), scan(project, *other.split()))
    result = guards_of(project)["same_image"]
    assert (result.outcome, result.subjects) == (
        "failed",
        tuple(sorted({one.split(maxsplit=1)[0], other.split(maxsplit=1)[0]})),
    )
    assert f"{one} = {other}" in result.found
    assert "exclude.tsv" in result.remedy


def test_one_voxel_makes_another_image() -> None:
    values = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    other = values.copy()
    other[1, 1, 1] += 0.5
    assert voxel_digest(values) == voxel_digest(np.pad(values[::-1], 1))
    assert voxel_digest(values) != voxel_digest(other)


# --- similar images ---


def similar(project: Path) -> GuardResult:
    return guards_of(project)["similar_image"]


def exported_again(image: np.ndarray) -> np.ndarray:
    """Other contrast, noise, and 1.2 mm further along each axis."""
    moved = shift(image, (0.15, -0.15, 0.15), order=1)
    noise = np.random.default_rng(4).normal(0, 0.2, image.shape)
    return standardised((np.sign(moved) * np.abs(moved) ** 0.8 + noise).astype(np.float32))


def test_heads_resemble_one_another_and_still_pass(guarded: Path) -> None:
    one, other = (head(subject, "post_op")[BRAIN] for subject in ("sub-001", "sub-002"))
    assert np.corrcoef(one, other)[0, 1] > 0.7
    result = similar(guarded)
    assert result.outcome == "passed"
    assert float(result.found.rpartition("highest ")[2].rstrip(")")) < 0.5


@pytest.mark.parametrize(
    ("volume", "copied", "images"),
    [
        ("post_op", ("sub-002", "post_op"), ("sub-002 post_op", "sub-007 post_op")),
        ("event", ("sub-010", "post_op"), ("sub-007 event", "sub-010 post_op")),
        ("dose_gy", ("sub-011",), ("sub-007 dose", "sub-011 dose")),
    ],
)
def test_a_patient_who_was_exported_twice_is_found(
    project: Path, volume: str, copied: tuple[str, ...], images: tuple[str, str]
) -> None:
    is_dose = volume == "dose_gy"
    image = np.float32(1.02) * plan_gy(*copied) if is_dose else exported_again(head(*copied))
    write_volumes(project, "sub-007", **{volume: image})
    result = similar(project)
    assert (result.outcome, result.subjects) == ("warning", tuple(sorted({"sub-007", copied[0]})))
    assert all(name in result.found for name in images)
    assert "Compare their pages" in result.remedy


def test_two_subjects_are_too_few_to_know_what_heads_share() -> None:
    def nobody(subject: str) -> InputFingerprint:
        raise AssertionError(subject)

    result = similar_image(["sub-001", "sub-002"], nobody, PAPER_VOLUMES, 0.7)
    assert result.outcome == "not applicable"


def test_subjects_without_an_optional_volume_are_compared_by_the_others() -> None:
    flair = VolumeSpec(name="flair", kind="mri", session="event", suffix="FLAIR", title="F", required=False)
    volumes = Volumes([PAPER_VOLUMES["post_op"], flair])
    with_flair = ("sub-1", "sub-2", "sub-5")

    def read(subject: str) -> InputFingerprint:
        copied = "sub-1" if subject == "sub-5" else subject
        images = {"post_op": head(subject, "post_op")} | (
            {"flair": head(copied, "flair")} if subject in with_flair else {}
        )
        coarse = {name: values.astype(np.float16) for name, values in images.items()}
        return InputFingerprint(coarse, 8.0, ())

    result = similar_image([f"sub-{i}" for i in range(1, 6)], read, volumes, 0.7)
    assert result.subjects == ("sub-1", "sub-5")
    assert "sub-5 flair and sub-1 flair 1.00" in result.found or "sub-1 flair and sub-5 flair" in result.found


def test_blocks_are_averaged_and_what_remains_is_dropped() -> None:
    volume = np.zeros((5, 4, 4), np.float16)
    volume[0, 0, 0], volume[4] = 8, 99
    means = block_means(volume, 2)
    assert (means.shape, means[0, 0, 0], means.sum()) == ((2, 2, 2), 1, 1)


# --- normalisation ---


def outside_the_brain() -> np.ndarray:
    image = head("sub-006", "post_op")
    image[0, 0, 0] = 0.5
    return image


@pytest.mark.parametrize(
    ("channel", "image", "found"),
    [
        # mean and SD of the cohort instead of the subject's: off by a twentieth of an SD
        (1, lambda: np.where(BRAIN, head("sub-006", "event") + 0.05, 0), "event has mean 0.050 and SD 1.000"),
        (0, lambda: 0.97 * head("sub-006", "post_op"), "0.000 and SD 0.970 within its brain"),
        (0, outside_the_brain, "post_op of up to 0.500 outside the brain"),
        (2, lambda: plan_gy("sub-006") / plan_gy("sub-006").max(), "dose differs by up to"),
    ],
)
def test_a_volume_that_others_normalised_is_found(
    project: Path, channel: int, image: Callable[[], np.ndarray], found: str
) -> None:
    overwrite_channel(project, "sub-006", channel, image())
    result = guards_of(project)["foreign_normalisation"]
    assert (result.outcome, result.subjects) == ("failed", ("sub-006",))
    assert found in result.found


def test_every_fault_of_the_first_subject_is_named() -> None:
    faults = {"sub-1": (), "sub-3": ("a", "b"), "sub-2": ("c", "d")}
    result = foreign_normalisation([*faults], lambda subject: InputFingerprint({}, 6.0, faults[subject]))
    assert result.found.endswith("sub-2: c; d") and result.subjects == ("sub-2", "sub-3")
