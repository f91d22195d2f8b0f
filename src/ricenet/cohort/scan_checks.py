"""What can be wrong with one raw volume, found by reading all of it as the later steps will."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ricenet.cohort.dose_limits import Extent, dose_fault, negative_fault, no_dose_fault
from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.header_geometry import geometry_findings
from ricenet.cohort.kept_scans import keep_scan, kept_scan, key_of
from ricenet.cohort.problems import Finding
from ricenet.nifti_file import NiftiFile, read_nifti_file
from ricenet.runtime.errors import ScanError
from ricenet.volume import Grid, Volume

ScanKind = Literal["mri", "dose", "mask"]


@dataclass(frozen=True)
class RawScan:
    """A decoded file. file: with its header. volume: its voxels as float32."""

    file: NiftiFile
    volume: Volume


def check_scan(path: Path, kind: ScanKind, sidecar: DoseSidecar | None = None) -> list[Finding]:
    """All that is wrong with a file by itself; empty where nothing is. Holds one volume in memory.

    sidecar: of the dose, where it is sound; its prescription is compared with the voxels (`dose_fault`).
    """
    scan = read_scan(path)
    return [scan] if isinstance(scan, Finding) else findings_of(scan, kind, sidecar)


def read_scan(path: Path) -> RawScan | Finding:
    """Decode a file to its last byte and checksum."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    unreadable = (
        *(OSError, EOFError, zlib.error, ValueError, TypeError, OverflowError, MemoryError),
        *(ImageFileError, HeaderDataError, WrapStructError),
    )
    try:
        file = read_nifti_file(path)
        x, y, z = file.data.shape
        return RawScan(file, Volume(file.data, Grid((x, y, z), file.affine)))
    except FileNotFoundError:
        if path.is_symlink():
            return Finding("file is missing: a link that leads nowhere", "Fetch its content, or remove it.")
        return Finding("file is missing", "Add it, or leave the subject out.")
    except unreadable as error:
        # a message of the system's holds the whole path, which is the user's own affair
        known = error.strerror if isinstance(error, OSError) else None
        reason = known or " ".join(str(error).split()) or type(error).__name__
        return Finding(
            f"cannot be read ({reason})",
            "Export it again as a three-dimensional NIfTI file of real numbers (.nii.gz or .nii).",
        )


def load_scan(path: Path, subject: str, title: str) -> Volume:
    """A volume whose header agrees with itself, for what works on it.

    Its voxels cannot be changed. Raises ScanError: it cannot be read, or where it lies is not known.
    """
    try:
        key = key_of(path)
        if (known := kept_scan(key)) is not None:
            return known
    except OSError:
        # reading it says why
        key = None
    scan = read_scan(path)
    findings = [scan] if isinstance(scan, Finding) else geometry_findings(scan.file.header, scan.file.affine)
    if findings or isinstance(scan, Finding):
        raise ScanError(subject, title, findings[0].found, findings[0].remedy)
    scan.volume.data.flags.writeable = False
    if key is not None:
        keep_scan(key, scan.volume)
    return scan.volume


def findings_of(scan: RawScan, kind: ScanKind, sidecar: DoseSidecar | None = None) -> list[Finding]:
    """All that is wrong with a decoded file, as `check_scan` has it."""
    data = scan.volume.data
    findings = geometry_findings(scan.file.header, scan.file.affine)
    findings += _voxel_findings(data)
    if kind == "mask" and not findings and not ((data == 0) | (data == 1)).all():
        remedy = "Write 1 inside and 0 elsewhere, or remove it."
        findings.append(Finding("holds values other than 0 and 1", remedy))
    if kind == "dose":
        findings += _dose_findings(data, sidecar)
    return findings


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


def _voxel_findings(data: np.ndarray) -> list[Finding]:
    least, largest = data.min(), data.max()
    # NaN spreads into both
    if np.isfinite(least) and np.isfinite(largest):
        constant = Finding(f"every voxel is {least:g}", "Replace it by what it should show.")
        return [constant] if least == largest else []
    counts = {"NaN": np.isnan(data).sum(), "infinite": np.isinf(data).sum()}
    remedy = "Export it again, or set what lies outside the scan to 0."
    return [Finding(f"{count} {name} voxel(s)", remedy) for name, count in counts.items() if count]
