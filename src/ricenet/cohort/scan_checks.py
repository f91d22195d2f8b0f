"""What can be wrong with one raw volume, found by reading all of it as the later steps will."""

from __future__ import annotations

import gzip
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ricenet.cohort.dose_limits import Extent, dose_fault, negative_fault, no_dose_fault
from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.problems import Finding
from ricenet.volume import Affine, Grid, Volume, inverse

ScanKind = Literal["mri", "dose", "mask"]

_LEAST_UNIT_VOLUME = 1e-4
"""Volume spanned by the affine's normalised axes, below which they lie in one plane (1 = orthogonal)."""


@dataclass(frozen=True)
class RawScan:
    """A decoded file. image: as nibabel has it, for its header. volume: its voxels as float32."""

    image: Any
    volume: Volume


def check_scan(path: Path, kind: ScanKind, sidecar: DoseSidecar | None = None) -> list[Finding]:
    """All that is wrong with a file; empty where nothing is. Holds one volume in memory.

    sidecar: of the dose, where it is sound; its prescription is compared with the voxels (`dose_fault`).
    """
    scan = read_scan(path)
    return [scan] if isinstance(scan, Finding) else findings_of(scan, kind, sidecar)


def read_scan(path: Path) -> RawScan | Finding:
    """Decode a file to its last byte and checksum."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    unreadable = (
        *(OSError, EOFError, zlib.error, ValueError, TypeError, OverflowError, MemoryError),
        *(ImageFileError, HeaderDataError, WrapStructError, np.exceptions.ComplexWarning),
    )
    try:
        # nibabel would stop at the last voxel, before the checksum that gives a damaged file away
        content = gzip.decompress(path.read_bytes())
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            image = nib.nifti1.Nifti1Image.from_bytes(content)
            data = np.asarray(image.dataobj, dtype=np.float32)
        if data.ndim != 3 or not data.size:
            raise ValueError(f"a shape of {data.shape}, expected three dimensions")
        x, y, z = data.shape
        return RawScan(image, Volume(data, Grid((x, y, z), np.asarray(image.affine, np.float64))))
    except FileNotFoundError:
        return Finding("file is missing", "Add it, or leave the subject out.")
    except unreadable as error:
        # a reader's message may hold the whole path, which is the user's own affair
        reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        return Finding(
            f"cannot be read ({reason})",
            "Export it again as a three-dimensional NIfTI-1 file of real numbers, compressed by gzip.",
        )


def findings_of(scan: RawScan, kind: ScanKind, sidecar: DoseSidecar | None = None) -> list[Finding]:
    """All that is wrong with a decoded file, as `check_scan` has it."""
    data = scan.volume.data
    header = scan.image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        # without a reference, the affine is a guess that nibabel makes
        findings = [
            Finding(
                "no spatial reference: sform_code and qform_code are both 0, so that left could be right",
                "Export it again from its DICOM series with an orientation; do not set a code by guess.",
            )
        ]
    else:
        findings = _affine_findings(scan.volume.grid.affine)
    findings += _voxel_findings(data)
    if kind == "mask" and not findings and not np.isin(data, (0, 1)).all():
        remedy = "Write 1 inside and 0 elsewhere, or remove it."
        findings.append(Finding("holds values other than 0 and 1", remedy))
    if kind == "dose":
        findings += _dose_findings(data, sidecar)
    return findings


def outside(mask: Volume, grid: Grid) -> bool:
    """Whether a mask's middle lies outside a grid, both in one space: it belongs to another scan."""
    middle_mm = mask.grid.world_mm(np.argwhere(mask.data > 0).mean(axis=0))
    voxel = (inverse(grid.affine) @ [*middle_mm, 1.0])[:3]
    return bool((voxel < -0.5).any() or (voxel > np.array(grid.shape) - 0.5).any())


def _dose_findings(data: np.ndarray, sidecar: DoseSidecar | None) -> list[Finding]:
    least, largest = float(data.min()), float(data.max())
    finite = np.isfinite([least, largest]).all()
    if finite and (no_dose := no_dose_fault(least, largest)):
        # its negative values and its maximum have the same cause
        return [no_dose]
    found = [negative_fault(data)]
    if sidecar is not None and finite:
        extent: Extent = "fraction" if sidecar.summation_type == "FRACTION" else "course"
        found.append(dose_fault(largest, extent, sidecar.fractions, sidecar.prescription_gy))
    return [fault for fault in found if fault]


def _affine_findings(affine: Affine) -> list[Finding]:
    remedy = "Export it again with the position of its voxels (qform or sform)."
    if not np.isfinite(affine).all():
        return [Finding("the affine holds NaN or infinite values", remedy)]
    lengths_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths_mm == 0).any() or abs(np.linalg.det(affine[:3, :3] / lengths_mm)) < _LEAST_UNIT_VOLUME:
        return [Finding("the affine is singular: its axes do not span space", remedy)]
    return []


def _voxel_findings(data: np.ndarray) -> list[Finding]:
    counts = {"NaN": np.isnan(data).sum(), "infinite": np.isinf(data).sum()}
    remedy = "Export it again, or set what lies outside the scan to 0."
    findings = [Finding(f"{count} {name} voxel(s)", remedy) for name, count in counts.items() if count]
    if not findings and data.min() == data.max():
        findings.append(Finding(f"every voxel is {data.flat[0]:g}", "Replace it by what it should show."))
    return findings
