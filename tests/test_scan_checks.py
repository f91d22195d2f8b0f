"""What is refused in a raw volume, a mask beside it, or the dose's sidecar."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cohorts import FILES, SIDECAR_FILE, change_header, change_voxels, one_voxel

from ricenet.cohort.checks import check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.problems import Problem
from ricenet.cohort.raw_record import examine
from ricenet.cohort.scan_fingerprint import voxel_digest
from ricenet.volume import Grid, Volume, load_nifti, save_nifti


@pytest.fixture
def cohort(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


def the_problem(cohort: Path) -> Problem:
    (problem,) = check_cohort(cohort).problems
    assert problem.subject == "sub-002" and problem.remedy
    assert str(cohort) not in str(problem)
    return problem


Spoil = Callable[[Path], object]


def cut(kept: slice) -> Spoil:
    return lambda path: path.write_bytes(path.read_bytes()[kept])


def content(data: bytes) -> Spoil:
    return lambda path: path.write_bytes(data)


def ends_early_inside_a_sound_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2000]))


def one_damaged_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def saved_as(voxels: np.ndarray) -> Spoil:
    return lambda path: nib.nifti1.Nifti1Image(voxels, np.eye(4)).to_filename(path)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def voxel(value: float) -> Spoil:
    return lambda path: change_voxels(path, one_voxel(value))


def header(offset: int, values: object, kind: type) -> Spoil:
    return lambda path: change_header(path, offset, np.array(values, kind).tobytes())


def one_form(code_of_other: int, then: Spoil) -> Spoil:
    """A header with qform (254: without sform) or sform (252) alone, and what happens to it then."""

    def spoil(path: Path) -> None:
        change_header(path, code_of_other, bytes(2))
        then(path)

    return spoil


def placed(affine: np.ndarray) -> Spoil:
    """The same voxels elsewhere, both forms alike."""
    return lambda path: save_nifti(Volume(load_nifti(path).data, Grid((12, 12, 12), affine)), path)


def sized(mm: float, middle_mm: float = 0.0) -> np.ndarray:
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = -5.5 * mm
    affine[0, 3] += middle_mm
    return affine


def named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def goes_on(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**20 + 1)))


def twice(path: Path) -> None:
    shutil.copy(path, path.with_suffix(""))


# byte offsets of NIfTI-1: dim 40, pixdim 76, xyzt_units 123, qform_code 252, sform_code 254, qoffset_x 268,
# srow_x 280, srow_y 296
FAULTS: dict[str, tuple[Spoil, str]] = {
    "missing": (Path.unlink, "file is missing"),
    "dangling link": (dangling, "file is missing"),
    "a data type that NIfTI does not know": (header(70, [3], np.int16), "voxels of a type 3"),
    "NaN": (voxel(np.nan), "1 NaN voxel(s)"),
    "infinite": (voxel(-np.inf), "1 infinite voxel(s)"),
    "constant": (lambda path: change_voxels(path, lambda v: np.full_like(v, 7)), "every voxel is 7"),
    "four dimensions": (saved_as(np.arange(16.0).reshape(2, 2, 2, 2)), "expected three dimensions"),
    "no voxel": (saved_as(np.zeros((0, 4, 4))), "cannot be read ("),
    "nothing": (cut(slice(0, 0)), "cannot be read ("),
    "header cut": (cut(slice(0, 60)), "cannot be read ("),
    "data cut": (cut(slice(0, -2000)), "cannot be read ("),
    "checksum cut": (cut(slice(0, -4)), "cannot be read ("),
    "ends early": (ends_early_inside_a_sound_gzip, "cannot be read (Expected 6912 bytes, got 1648"),
    "damaged byte": (one_damaged_byte, "cannot be read ("),
    "text": (content(b"not gzip"), "cannot be read ("),
    "no NIfTI": (content(gzip.compress(b"not NIfTI")), "cannot be read ("),
    "complex": (saved_as(np.zeros((4, 4, 4), np.complex64)), "cannot be read ("),
    "colours": (saved_as(np.zeros((4, 4, 4), [(c, "u1") for c in "RGB"])), "cannot be read ("),
    "axes in a line": (header(296, [2, 0, 0, 0], np.float32), "the affine is singular"),
    "axis of no length": (header(296, [0, 0, 0, 0], np.float32), "the affine is singular"),
    "affine of NaN": (header(296, [0, np.nan, 0, 0], np.float32), "the affine holds NaN"),
    "no reference": (header(252, [0, 0], np.int16), "no spatial reference"),
    "metres": (header(123, 1, np.uint8), "states its lengths in metres"),
    "micrometres": (header(123, 3 + 8, np.uint8), "states its lengths in micrometres"),
    "another unit": (header(123, 5, np.uint8), "a unit that NIfTI does not know"),
    "qform elsewhere": (header(268, 60, np.float32), "qform and sform place it differently, up to"),
    "mirrored sform": (header(280, [-16, 0, 0, 88], np.float32), "qform and sform place it differently"),
    "quaternion": (header(256, [3, 3, 3], np.float32), "qform is none: its quaternion"),
    "voxel sizes": (one_form(252, header(80, [1, 1, 1], np.float32)), "voxels of 1 x 1 x 1 mm (pixdim)"),
    "no geometry": (placed(np.eye(4)), "written without its geometry"),
    "no geometry, ITK": (placed(np.diag([-1.0, -1.0, 1.0, 1.0])), "written without its geometry"),
    "voxels of 1e30 mm": (placed(sized(1e30)), "of a head 0.1 to 20 mm"),
    "centimetres": (placed(sized(1.6)), "of a head 20 to 1000 mm"),
    "10 km away": (placed(sized(16, 1e7)), "1e+07 mm from the origin"),
    "named pipe": (named_pipe, "cannot be read (no regular file"),
    "folder": (folder, "cannot be read (no regular file"),
    "endless": (endless, "cannot be read (no regular file"),
    "too many voxels": (header(42, [2000, 2000, 2000], np.int16), "8000000000 voxels, at most"),
    "goes on": (goes_on, "it goes on after the"),
    "twice": (twice, "lies beside it"),
}


@pytest.mark.parametrize("name", ["post_op", "event", "dose"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_volume_is_refused_by_subject_and_file(cohort: Path, name: str, fault: str) -> None:
    spoil, words = FAULTS[fault]
    spoil(cohort / FILES[name])
    problems = check_cohort(cohort).problems
    assert {(problem.subject, problem.file) for problem in problems} == {("sub-002", FILES[name])}
    assert words in problems[0].found
    assert all(problem.remedy and str(cohort) not in str(problem) for problem in problems)


@pytest.mark.parametrize("offset", [252, 254])
def test_one_of_the_two_references_is_enough(cohort: Path, offset: int) -> None:
    change_header(cohort / FILES["dose"], offset, np.zeros(1, np.int16).tobytes())
    assert check_cohort(cohort).problems == ()


def nifti_2(path: Path) -> None:
    image = nib.nifti1.load(path)
    again = nib.nifti2.Nifti2Image(np.asarray(image.dataobj), image.affine)
    again.set_qform(image.affine, 1)
    path.write_bytes(gzip.compress(again.to_bytes()))


def big_endian(path: Path) -> None:
    image = nib.nifti1.load(path)
    header = image.header.as_byteswapped(">")
    path.write_bytes(
        gzip.compress(nib.nifti1.Nifti1Image(np.asarray(image.dataobj), None, header).to_bytes())
    )


def one_frame(path: Path) -> None:
    image = nib.nifti1.load(path)
    nib.nifti1.Nifti1Image(np.asarray(image.dataobj)[..., np.newaxis], image.affine).to_filename(path)


def uncompressed(path: Path) -> None:
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()


SOUND: dict[str, Spoil] = {
    "NIfTI-2": nifti_2,
    "big endian": big_endian,
    "one frame": one_frame,
    ".nii": uncompressed,
    "no unit": header(123, 0, np.uint8),
    "qfac 0": header(76, 0, np.float32),
    "sform alone, of an atlas": one_form(252, header(254, 4, np.int16)),
    "forms that differ by rounding": header(268, -88 + 0.4, np.float32),
    "oblique": placed(
        np.array([[15, 5, 0, -110], [-5, 15, 0, -60], [0, 0, 16, -88], [0, 0, 0, 1.0]]),
    ),
}


@pytest.mark.parametrize("form", SOUND)
def test_every_form_of_a_sound_volume_is_accepted_and_read_alike(cohort: Path, form: str) -> None:
    path = cohort / FILES["post_op"]
    before = load_nifti(path)
    SOUND[form](path)
    assert check_cohort(cohort).problems == ()
    after = load_nifti(RawSubject(cohort, "sub-002").scan("post_op"))
    np.testing.assert_array_equal(after.data, before.data)
    if form != "oblique":
        np.testing.assert_allclose(after.grid.affine, before.grid.affine, atol=1e-5)


def test_a_dose_without_compression_has_its_sidecar_beside_it(cohort: Path) -> None:
    raw, sidecar = RawSubject(cohort, "sub-002"), RawSubject(cohort, "sub-002").dose_sidecar
    uncompressed(raw.scan("dose"))
    assert raw.scan("dose").name == "sub-002_ses-postop_dose.nii" and raw.dose_sidecar == sidecar


def test_readers_of_the_field_place_a_file_of_two_forms_differently(cohort: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = cohort / FILES["post_op"]
    header(254, 2, np.int16)(path)
    header(268, 60, np.float32)(path)
    by_itk = sitk.ReadImage(path).GetOrigin()[0]  # its x is to the left
    assert (load_nifti(path).grid.affine[0, 3], by_itk) == (-88.0, -60.0)
    found = the_problem(cohort).found
    assert "its middle lies at (148.0, 0.0, 0.0) mm by qform, at (0.0, 0.0, 0.0) mm by sform" in found


def test_negative_dose_is_refused_but_a_negative_mri_is_not(cohort: Path) -> None:
    change_voxels(cohort / FILES["dose"], one_voxel(-0.5))
    change_voxels(cohort / FILES["event"], one_voxel(-0.5))
    problem = the_problem(cohort)
    assert problem.file == FILES["dose"]
    assert "1 voxel(s) of negative dose, down to -0.5 Gy" in problem.found


def test_a_message_of_the_system_is_reported_without_the_whole_path(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def forbidden(path: Any, *rest: Any, **named: Any) -> int:
        if path == cohort / FILES["dose"]:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, "open", forbidden)
    assert the_problem(cohort).found == "cannot be read (Permission denied)"


# --- masks beside the volumes ---

MASKS = ("brain_mask", "cavity_mask", "lesion_mask")
INSIDE = np.zeros((12, 12, 12), bool)
INSIDE[4:6, 4:6, 4:6] = True
NEAR = np.diag([2.0, 2.0, 2.0, 1.0])
NEAR[:3, 3] = -11
ELSEWHERE, FAR = NEAR.copy(), NEAR.copy()
ELSEWHERE[0, 3], FAR[0, 3] = 140, 5000


def mask(cohort: Path, name: str, data: np.ndarray = INSIDE, affine: np.ndarray = NEAR) -> Path:
    path = RawSubject(cohort, "sub-002").side_files[name]
    save_nifti(Volume(data, Grid((12, 12, 12), affine)), path)
    return path


MASK_FAULTS: dict[str, tuple[Callable[[Path, str], object], str]] = {
    "empty": (lambda c, n: mask(c, n, np.zeros_like(INSIDE)), "every voxel is 0"),
    "values": (lambda c, n: mask(c, n, 3 * INSIDE.astype(np.float32)), "other than 0 and 1"),
    "outside the head": (
        lambda c, n: mask(c, n, affine=ELSEWHERE),
        "0% of the mask lie in the head",
    ),
    "far away": (lambda c, n: mask(c, n, affine=FAR), "mm from the origin"),
    "metres": (lambda c, n: header(123, 1, np.uint8)(mask(c, n)), "in metres"),
    "truncated": (lambda c, n: cut(slice(0, -20))(mask(c, n)), "cannot be read ("),
    "four dimensions": (lambda c, n: saved_as(np.ones((2, 2, 2, 2)))(mask(c, n)), "three dimensions"),
    "NaN": (lambda c, n: voxel(np.nan)(mask(c, n, INSIDE.astype(np.float32))), "1 NaN voxel"),
    "dangling link": (lambda c, n: dangling(mask(c, n)), "a link that leads nowhere"),
    "named pipe": (lambda c, n: named_pipe(mask(c, n)), "no regular file"),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("fault", MASK_FAULTS)
def test_a_faulty_mask_is_refused_like_a_volume(cohort: Path, name: str, fault: str) -> None:
    spoil, words = MASK_FAULTS[fault]
    spoil(cohort, name)
    problem = the_problem(cohort)
    assert problem.file == RawSubject(cohort, "sub-002").side_files[name].relative_to(cohort).as_posix()
    assert words in problem.found


def test_masks_are_measured_when_they_are_read(cohort: Path) -> None:
    mask(cohort, "lesion_mask")
    record, problems = examine(RawSubject(cohort, "sub-002"))
    assert problems == ()
    # 8 voxels of 2 x 2 x 2 mm
    assert record.segmented_ml == {"lesion_ml": pytest.approx(0.064)}


# --- the sidecar, and the dose against its prescription ---


def set_dose(cohort: Path, maximum_gy: float, **sidecar: object) -> None:
    """A dose of one hot voxel, and its sidecar's further values."""
    change_voxels(cohort / FILES["dose"], lambda voxels: one_voxel(maximum_gy)(np.zeros_like(voxels)))
    change_sidecar(cohort, **sidecar)


def change_sidecar(cohort: Path, **sidecar: object) -> None:
    path = cohort / SIDECAR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | sidecar))


def test_a_faulty_or_missing_sidecar_is_named(cohort: Path) -> None:
    # each refused value: test_dose_sidecar
    change_sidecar(cohort, NumberOfFractions=0)
    assert (the_problem(cohort).file, the_problem(cohort).found) == (SIDECAR_FILE, "NumberOfFractions is 0")
    (cohort / SIDECAR_FILE).unlink()
    assert (the_problem(cohort).file, the_problem(cohort).found) == (SIDECAR_FILE, "file is missing")


FRACTION = {"DoseSummationType": "FRACTION", "NumberOfFractions": 30}
NO_PRESCRIPTION = {"PrescriptionGy": None}


@pytest.mark.parametrize(
    ("maximum_gy", "sidecar"),
    [
        (36.0, {}),  # 60 % of 60 Gy
        (78.0, {}),  # 130 %
        (2.1, FRACTION),  # 63 Gy
        (20.0, NO_PRESCRIPTION),
        (150.0, NO_PRESCRIPTION),
        (1.0, FRACTION | NO_PRESCRIPTION),
    ],
)
def test_a_plausible_dose_is_fine(cohort: Path, maximum_gy: float, sidecar: dict[str, object]) -> None:
    set_dose(cohort, maximum_gy, **sidecar)
    assert check_cohort(cohort).problems == ()


@pytest.mark.parametrize(
    ("maximum_gy", "sidecar", "found", "cause"),
    [
        (2.0, {}, "2.0 Gy (2.00 Gy in the file times 1), 3% of", "Times 30 fractions it would fit"),
        (60.0, FRACTION, "1800.0 Gy (60.00 Gy in the file times 30), 3000% of", "Unscaled it would fit"),
        (6000.0, {}, "6000.0 Gy", "its voxels are cGy"),
        (35.9, {}, "35.9 Gy", "a boost's dose alone"),
        (78.1, {}, "78.1 Gy", "a course that is missing in the prescription"),
        (2.07, NO_PRESCRIPTION, "2.1 Gy (2.07 Gy in the file times 1); without a", "one fraction's dose"),
        (6200.0, NO_PRESCRIPTION, "6200.0 Gy", "its voxels are cGy"),
        (15000.0, NO_PRESCRIPTION, "15000.0 Gy", "its voxels are cGy"),
        (107.0, {}, "107.0 Gy", "its voxels are percent of the prescription"),
        (1.07, {}, "1.1 Gy", "its voxels are shares of the prescription"),
        (
            62.0,
            FRACTION | NO_PRESCRIPTION,
            "1860.0 Gy (62.00 Gy in the file times 30)",
            "whole course's dose",
        ),
    ],
)
def test_an_implausible_dose_names_its_figures_and_the_likely_cause(
    cohort: Path, maximum_gy: float, sidecar: dict[str, object], found: str, cause: str
) -> None:
    set_dose(cohort, maximum_gy, **sidecar)
    problem = the_problem(cohort)
    assert problem.file == FILES["dose"]
    assert f"the course's dose reaches {found}" in problem.found and cause in problem.remedy


@pytest.mark.parametrize("sidecar", [{}, FRACTION, NO_PRESCRIPTION])
@pytest.mark.parametrize(
    ("voxels", "found"),
    [
        ((62000.0,), "from 0 to 62000"),  # 62 Gy at a scaling of 0.001
        ((1e9,), "from 0 to 1000000000"),
        ((-(2.0**31), 2.0**31), "from -2147483648 to 2147483648"),  # beyond 2^31, where it wraps
        ((-5536.0, 30000.0), "from -5536 to 30000"),  # beyond 2^15
        ((-5536.0, 60.0), "from -5536 to 60"),
    ],
)
def test_stored_integers_are_told_from_overshoot_and_from_cgy(
    cohort: Path, voxels: tuple[float, ...], found: str, sidecar: dict[str, object]
) -> None:
    change_sidecar(cohort, **sidecar)
    stored = np.array([0, *voxels], np.float32)
    change_voxels(cohort / FILES["dose"], lambda given: np.resize(stored, given.shape))
    problem = the_problem(cohort)
    assert problem.file == FILES["dose"] and f"values {found}, which are no doses" in problem.found
    assert "unscaled stored integers" in problem.found
    assert ("wrapped below zero" in problem.found) == (min(voxels) < 0)
    assert "dcm2niix and SimpleITK do not" in problem.remedy


def test_a_ct_in_place_of_the_dose_is_named(cohort: Path) -> None:
    change_voxels(cohort / FILES["dose"], lambda voxels: one_voxel(1800.0)(np.full_like(voxels, -1024)))
    assert "rather a CT in HU" in the_problem(cohort).found


def test_gzip_members_are_read_one_after_the_other_and_zeros_behind_them_are_no_fault(tmp_path: Path) -> None:
    plain = tmp_path / "plain.nii"
    save_nifti(
        Volume(np.arange(13.0**3, dtype=np.float32).reshape(13, 13, 13), Grid((13,) * 3, np.eye(4))), plain
    )
    content = plain.read_bytes()
    packed = tmp_path / "members.nii.gz"
    for cut in (1, 348, 352, 5000):
        members = gzip.compress(content[:cut]) + gzip.compress(b"") + gzip.compress(content[cut:])
        packed.write_bytes(members + bytes(700))
        np.testing.assert_array_equal(load_nifti(packed).data, load_nifti(plain).data)
    packed.write_bytes(members + b"rest")
    with pytest.raises(zlib.error):
        load_nifti(packed)


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0, 1e6])
def test_the_digest_of_whole_numbers_is_that_of_their_sorted_values(scale: float) -> None:
    values = scale * np.random.default_rng(4).integers(0, 900, size=(9, 8, 7)).astype(np.float32)
    slow = np.sort(values[values != 0], axis=None).astype("<f4").tobytes()
    assert voxel_digest(values) == hashlib.sha256(slow).hexdigest()
    assert voxel_digest(np.zeros((2, 2, 2), np.float32)) == hashlib.sha256(b"").hexdigest()
