"""What can be wrong with one raw volume, found by reading all of it as the later steps will."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.problems import Finding
from ricenet.vocabulary import Modality
from ricenet.volume import Affine, Volume, load_nifti

_CHUNK_BYTES = 1 << 20
_LEAST_UNIT_VOLUME = 1e-4
"""Volume spanned by the affine's normalised axes, below which they lie in one plane (1 = orthogonal)."""

LEAST_OF_PRESCRIPTION, MOST_OF_PRESCRIPTION = 0.6, 1.3
"""Between these the largest dose of a course lies, as a share of what was prescribed: above it by the
hot spots of a plan, below it where the volume is coarse or does not hold the whole target."""

LEAST_COURSE_GY, MOST_COURSE_GY = 20.0, 150.0
"""Between these the largest dose of a course lies that states no prescription. The shortest courses for
glioblastoma prescribe 25 Gy in 5 fractions (Roa et al., J Clin Oncol 33 (2015) 4145-4150); a full course
and a re-irradiation together reach about 115 Gy. One fraction's dose and a dose in cGy lie far outside."""


_CORRECT = "Correct the sidecar (for predict: or the options), or export the dose again."


def check_scan(path: Path, modality: Modality, sidecar: DoseSidecar | None = None) -> list[Finding]:
    """All that is wrong with a volume; empty where nothing is. Holds one volume in memory.

    sidecar: of the dose, where it is sound; its prescription is compared with the voxels, or without one
    their maximum with LEAST_COURSE_GY and MOST_COURSE_GY.
    """
    if not path.is_file():
        return [Finding("file is missing", "Add it, or leave the subject out.")]
    volume = _read(path)
    if isinstance(volume, Finding):
        return [volume]
    # without a reference, the affine is a guess that nibabel makes
    findings = _reference_findings(path) or _affine_findings(volume.grid.affine)
    findings += _voxel_findings(volume.data)
    if modality == "dose":
        findings += _dose_findings(volume.data)
        if sidecar is not None:
            findings += _prescription_findings(float(volume.data.max()), sidecar)
    return findings


def check_mask(path: Path) -> list[Finding]:
    """All that is wrong with a brain mask that a cohort brings: unreadable, without a place, not 0 and 1."""
    volume = _read(path)
    if isinstance(volume, Finding):
        return [volume]
    findings = _reference_findings(path) or _affine_findings(volume.grid.affine)
    findings += _voxel_findings(volume.data)
    if not findings and not np.isin(volume.data, (0, 1)).all():
        findings.append(
            Finding("holds values other than 0 and 1", "Write 1 in the brain and 0 elsewhere, or remove it.")
        )
    return findings


def _read(path: Path) -> Volume | Finding:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    unreadable = (
        *(OSError, EOFError, zlib.error, ValueError, TypeError, OverflowError, MemoryError),
        *(ImageFileError, HeaderDataError, WrapStructError, np.exceptions.ComplexWarning),
    )
    try:
        _read_to_the_checksum(path)
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return load_nifti(path)
    except unreadable as error:
        # a reader's message may hold the whole path, which is the user's own affair
        reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        return Finding(
            f"cannot be read ({reason})",
            "Export it again as a three-dimensional NIfTI-1 file of real numbers, compressed by gzip.",
        )


def _read_to_the_checksum(path: Path) -> None:
    # nibabel stops at the last voxel, before the checksum that tells a damaged file
    with gzip.open(path) as stream:
        while stream.read(_CHUNK_BYTES):
            pass


def _reference_findings(path: Path) -> list[Finding]:
    import nibabel as nib

    header = nib.nifti1.load(path).header
    if int(header["sform_code"]) != 0 or int(header["qform_code"]) != 0:
        return []
    return [
        Finding(
            "no spatial reference: sform_code and qform_code are both 0, so that left could be right",
            "Export the volume again from its DICOM series with an orientation; do not set a code by guess.",
        )
    ]


def _affine_findings(affine: Affine) -> list[Finding]:
    remedy = "Export the volume again with the position of its voxels (qform or sform)."
    if not np.isfinite(affine).all():
        return [Finding("the affine holds NaN or infinite values", remedy)]
    lengths_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths_mm == 0).any() or abs(np.linalg.det(affine[:3, :3] / lengths_mm)) < _LEAST_UNIT_VOLUME:
        return [Finding("the affine is singular: its axes do not span space", remedy)]
    return []


def _voxel_findings(data: NDArray[np.float32] | NDArray[np.bool_]) -> list[Finding]:
    findings = []
    for name, count in (("NaN", np.isnan(data).sum()), ("infinite", np.isinf(data).sum())):
        if count:
            findings.append(
                Finding(
                    f"{count} {name} voxel(s)", "Export it again, or set what lies outside the scan to 0."
                )
            )
    if not findings and data.min() == data.max():
        findings.append(Finding(f"every voxel is {data.flat[0]:g}", "Replace it by the scan itself."))
    return findings


def _dose_findings(data: NDArray[np.float32] | NDArray[np.bool_]) -> list[Finding]:
    negative = data < 0
    if not negative.any():
        return []
    found = f"{negative.sum()} voxel(s) of negative dose, down to {data[negative].min():g} Gy"
    return [Finding(found, "Export the dose again without resampling overshoot or offset.")]


def _prescription_findings(maximum_gy: float, sidecar: DoseSidecar) -> list[Finding]:
    """A course whose largest dose cannot be that of its prescription. maximum_gy: of the file, unscaled."""
    prescription_gy = sidecar.prescription_gy
    if not np.isfinite(maximum_gy):
        return []
    course_gy = maximum_gy * sidecar.factor
    if prescription_gy is None:
        return _plausibility_findings(course_gy, maximum_gy, sidecar)
    share = course_gy / prescription_gy
    if LEAST_OF_PRESCRIPTION <= share <= MOST_OF_PRESCRIPTION:
        return []
    cause = (
        "one fraction's dose is called PLAN, it is another course's (a boost), or it is cut off"
        if share < 1
        else "the whole course's dose is called FRACTION, the voxels are cGy, or a course is missing in "
        "PrescriptionGy"
    )
    return [
        Finding(
            f"the course's dose reaches {course_gy:.1f} Gy ({maximum_gy:.2f} Gy in the file times "
            f"{sidecar.factor:g}), {share:.0%} of PrescriptionGy {prescription_gy:g}; "
            f"{LEAST_OF_PRESCRIPTION:.0%} to {MOST_OF_PRESCRIPTION:.0%} is expected",
            f"Likely {cause}. {_CORRECT}",
        )
    ]


def _plausibility_findings(course_gy: float, maximum_gy: float, sidecar: DoseSidecar) -> list[Finding]:
    """A course without a prescription, whose largest dose no course of a brain tumour has."""
    if LEAST_COURSE_GY <= course_gy <= MOST_COURSE_GY:
        return []
    cause = (
        "one fraction's dose is called PLAN, or it is a boost's alone"
        if course_gy < LEAST_COURSE_GY
        else "the whole course's dose is called FRACTION, or the voxels are cGy"
    )
    return [
        Finding(
            f"the course's dose reaches {course_gy:.1f} Gy ({maximum_gy:.2f} Gy in the file times "
            f"{sidecar.factor:g}); without PrescriptionGy {LEAST_COURSE_GY:g} to {MOST_COURSE_GY:g} Gy is "
            "expected",
            f"Likely {cause}. {_CORRECT} Where it is right, write PrescriptionGy (--prescription).",
        )
    ]
