from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cohorts import FILES, SIDECAR_FILE, change_header, change_voxels, one_voxel, refusal, write_tiny_cohort

from ricenet.cohort.checks import check_cohort
from ricenet.vocabulary import Modality
from ricenet.volume import Volume


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_tiny_cohort(tmp_path / "tiny")


@pytest.mark.parametrize("modality", ["post_op", "event", "dose"])
def test_a_missing_volume_is_named(cohort: Path, modality: Modality) -> None:
    (cohort / FILES[modality]).unlink()
    assert f"sub-002\n  - {FILES[modality]}: file is missing" in refusal(cohort)


@pytest.mark.parametrize("modality", ["post_op", "event", "dose"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, r"1 NaN voxel\(s\)"), (np.inf, r"1 infinite voxel\(s\)"), (-np.inf, r"1 infinite voxel\(s\)")],
)
def test_a_voxel_that_is_no_number_is_found(
    cohort: Path, modality: Modality, value: float, message: str
) -> None:
    change_voxels(cohort / FILES[modality], one_voxel(value))
    assert re.search(rf"sub-002\n  - {re.escape(FILES[modality])}: {message}", refusal(cohort))


def test_a_constant_volume_is_found(cohort: Path) -> None:
    change_voxels(cohort / FILES["event"], lambda voxels: np.full_like(voxels, 7))
    assert f"{FILES['event']}: every voxel is 7." in refusal(cohort)


def test_negative_dose_is_found_but_a_negative_mri_is_not(cohort: Path) -> None:
    change_voxels(cohort / FILES["dose"], one_voxel(-0.5))
    change_voxels(cohort / FILES["event"], one_voxel(-0.5))
    text = refusal(cohort)
    assert f"{FILES['dose']}: 1 voxel(s) of negative dose, down to -0.5 Gy" in text
    assert FILES["event"] not in text


def test_a_volume_of_four_dimensions_is_refused(cohort: Path) -> None:
    voxels = np.arange(12**3, dtype=np.float32).reshape(12, 12, 12, 1)
    nib.nifti1.Nifti1Image(voxels, np.eye(4)).to_filename(cohort / FILES["event"])
    assert re.search(
        rf"{re.escape(FILES['event'])}: cannot be read \(a shape of .* three dimensions\)", refusal(cohort)
    )


@pytest.mark.parametrize(
    "kept",
    [slice(0, 0), slice(0, 60), slice(0, -2000), slice(0, -4)],
    ids=["all", "header", "data", "checksum"],
)
def test_a_truncated_file_is_refused_wherever_it_ends(cohort: Path, kept: slice) -> None:
    path = cohort / FILES["post_op"]
    path.write_bytes(path.read_bytes()[kept])
    assert f"sub-002\n  - {FILES['post_op']}: cannot be read (" in refusal(cohort)


def test_a_file_whose_voxels_end_early_inside_a_sound_gzip_is_refused(cohort: Path) -> None:
    path = cohort / FILES["post_op"]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2000]))
    text = refusal(cohort)
    assert f"{FILES['post_op']}: cannot be read (Expected 6912 bytes, got 1648 bytes" in text
    assert str(cohort) not in text


def test_one_damaged_byte_is_found_by_the_checksum(cohort: Path) -> None:
    path = cohort / FILES["post_op"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert f"{FILES['post_op']}: cannot be read (" in refusal(cohort)


def test_a_message_of_the_system_is_told_without_the_whole_path(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> Volume:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    text = refusal(cohort)
    name = Path(FILES["dose"]).name
    assert f"{FILES['dose']}: cannot be read ([Errno 13] Permission denied: '{name}')" in text
    assert str(cohort) not in text


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"not NIfTI")], ids=["text", "gzip"])
def test_a_file_of_another_kind_is_refused(cohort: Path, content: bytes) -> None:
    (cohort / FILES["dose"]).write_bytes(content)
    assert f"{FILES['dose']}: cannot be read (" in refusal(cohort)


@pytest.mark.parametrize("kind", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_voxels_that_are_no_real_numbers_are_refused(cohort: Path, kind: object) -> None:
    voxels = np.zeros((4, 4, 4), dtype=kind)  # type: ignore[call-overload]
    nib.nifti1.Nifti1Image(voxels, np.eye(4)).to_filename(cohort / FILES["event"])
    assert f"{FILES['event']}: cannot be read (" in refusal(cohort)


# byte offsets of NIfTI-1: sform_code 254, srow_y 296
def test_a_singular_affine_is_found(cohort: Path) -> None:
    # y lies along x
    change_header(cohort / FILES["dose"], 296, np.array([2, 0, 0, 0], np.float32).tobytes())
    assert f"{FILES['dose']}: the affine is singular" in refusal(cohort)


def test_an_axis_of_no_length_is_singular(cohort: Path) -> None:
    change_header(cohort / FILES["dose"], 296, np.zeros(4, np.float32).tobytes())
    assert f"{FILES['dose']}: the affine is singular" in refusal(cohort)


def test_an_affine_that_is_not_finite_is_found(cohort: Path) -> None:
    change_header(cohort / FILES["event"], 296, np.array([0, np.nan, 0, 0], np.float32).tobytes())
    assert f"{FILES['event']}: the affine holds NaN or infinite values" in refusal(cohort)


# byte offsets of NIfTI-1: qform_code 252, sform_code 254
@pytest.mark.parametrize("modality", ["post_op", "event", "dose"])
def test_a_volume_without_spatial_reference_is_refused(cohort: Path, modality: Modality) -> None:
    change_header(cohort / FILES[modality], 252, np.zeros(2, np.int16).tobytes())
    (problem,) = check_cohort(cohort).problems
    assert (problem.subject, problem.file) == ("sub-002", FILES[modality])
    assert problem.found.startswith("no spatial reference: sform_code and qform_code are both 0")
    assert problem.remedy.startswith("Export it again from its DICOM series")


@pytest.mark.parametrize("offset", [252, 254])
def test_one_of_the_two_references_is_enough(cohort: Path, offset: int) -> None:
    change_header(cohort / FILES["dose"], offset, np.zeros(1, np.int16).tobytes())
    assert check_cohort(cohort).problems == ()


def test_a_small_oblique_anisotropic_affine_is_fine(cohort: Path) -> None:
    rows = np.array([[0.1, 0.02, 0, -10], [-0.02, 0.1, 0, 5], [0, 0, 6, 1]], np.float32)
    change_header(cohort / FILES["event"], 280, rows.tobytes())
    assert check_cohort(cohort).problems == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DoseUnits": None}, "DoseUnits is None"),
        ({"DoseUnits": "CGY"}, "DoseUnits is 'CGY'"),
        ({"DoseSummationType": "BEAM"}, "DoseSummationType is 'BEAM'"),
        ({"DoseSummationType": "FRACTION", "NumberOfFractions": None}, "without NumberOfFractions"),
        ({"NumberOfFractions": 0}, "NumberOfFractions is 0"),
        ({"PrescriptionGy": -60.0}, "PrescriptionGy is -60.0"),
    ],
)
def test_a_faulty_sidecar_is_named(cohort: Path, change: dict[str, object], message: str) -> None:
    path = cohort / SIDECAR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert f"sub-002\n  - {SIDECAR_FILE}: {message}" in refusal(cohort)


def test_a_missing_sidecar_is_named(cohort: Path) -> None:
    (cohort / SIDECAR_FILE).unlink()
    assert f"sub-002\n  - {SIDECAR_FILE}: file is missing" in refusal(cohort)


# --- the dose against its prescription ---


def set_dose(cohort: Path, maximum_gy: float, **sidecar: object) -> None:
    """A dose of one hot voxel, and its sidecar's further values."""
    change_voxels(cohort / FILES["dose"], lambda voxels: one_voxel(maximum_gy)(np.zeros_like(voxels)))
    path = cohort / SIDECAR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | sidecar))


FRACTION = {"DoseSummationType": "FRACTION", "NumberOfFractions": 30}


@pytest.mark.parametrize(
    ("maximum_gy", "sidecar"),
    [
        (36.0, {}),  # 60 % of 60 Gy
        (78.0, {}),  # 130 %
        (2.1, FRACTION),  # 63 Gy
        (20.0, {"PrescriptionGy": None}),
        (150.0, {"PrescriptionGy": None}),
        (1.0, FRACTION | {"PrescriptionGy": None}),
    ],
)
def test_a_dose_near_its_prescription_or_without_one_is_fine(
    cohort: Path, maximum_gy: float, sidecar: dict[str, object]
) -> None:
    set_dose(cohort, maximum_gy, **sidecar)
    assert check_cohort(cohort).problems == ()


@pytest.mark.parametrize(
    ("maximum_gy", "sidecar", "message", "cause"),
    [
        (
            2.0,
            {},
            "the course's dose reaches 2.0 Gy (2.00 Gy in the file times 1), 3% of the prescription of 60 "
            "Gy; 60% to 130% is expected",
            "Times 30 fractions it would fit: if it is one fraction's dose",
        ),
        (
            60.0,
            FRACTION,
            "the course's dose reaches 1800.0 Gy (60.00 Gy in the file times 30), 3000% of the pre",
            "Unscaled it would fit: if it is the whole course's dose",
        ),
        (6000.0, {}, "reaches 6000.0 Gy", "its voxels are cGy"),
        (35.9, {}, "reaches 35.9 Gy", "a boost's dose alone"),
        (78.1, {}, "reaches 78.1 Gy", "a course that is missing in the prescription"),
        (
            2.07,
            {"PrescriptionGy": None},
            "the course's dose reaches 2.1 Gy (2.07 Gy in the file times 1); without a prescription 20 to "
            "150 Gy is expected",
            "if it is one fraction's dose",
        ),
        (6200.0, {"PrescriptionGy": None}, "reaches 6200.0 Gy", "its voxels are cGy"),
        (
            62.0,
            FRACTION | {"PrescriptionGy": None},
            "reaches 1860.0 Gy (62.00 Gy in the file times 30)",
            "if it is the whole course's dose",
        ),
    ],
)
def test_a_dose_far_from_its_prescription_names_both_and_the_likely_cause(
    cohort: Path, maximum_gy: float, sidecar: dict[str, object], message: str, cause: str
) -> None:
    set_dose(cohort, maximum_gy, **sidecar)
    (problem,) = check_cohort(cohort).problems
    assert (problem.subject, problem.file) == ("sub-002", FILES["dose"])
    assert message in problem.found
    assert cause in problem.remedy


def test_a_prescription_is_not_compared_with_voxels_that_are_no_numbers(cohort: Path) -> None:
    set_dose(cohort, np.nan)
    (problem,) = check_cohort(cohort).problems
    assert problem.found == "1 NaN voxel(s)"
