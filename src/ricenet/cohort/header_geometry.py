"""What a NIfTI header says about place and size: whether it agrees with itself, and whether a head has it.

A header states its geometry up to three times: qform, sform, and voxel sizes. Readers differ in which they
take: nibabel takes sform, ITK and ANTs compare codes, FSL takes the voxel sizes. So a file whose statements
differ lies in two places, and nobody but its owner knows which is right.
Source: NIfTI-1 (nifti1.h), sections on orientation and units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ricenet.cohort.problems import Finding
from ricenet.nifti_file import header_shape
from ricenet.volume import Affine, Grid

SAME_PLACE_MM = 0.5
"""By so much may qform and sform differ at a corner of the volume: what a quaternion of 32 bits loses."""

SAME_SPACING, SAME_SPACING_MM = 0.01, 0.01
"""By this share, or by so much where that is more, voxel sizes may differ from the length of sform's axes."""

VOXEL_MM = (0.1, 20.0)
"""Between these lies the voxel size of a head's MRI, CT or dose."""

EXTENT_MM = (20.0, 1000.0)
"""Between these lies a volume's length along each axis: from a slab of a few slices to half a body."""

MOST_FROM_ORIGIN_MM = 2000.0
"""So far from the origin may a volume's middle lie: a scanner's table is no longer."""

_LEAST_UNIT_VOLUME = 1e-4
"""Volume spanned by the affine's normalised axes, below which they lie in one plane (1 = orthogonal)."""

_MILLIMETRES = 2
_UNITS = {0: "none", 1: "metres", _MILLIMETRES: "millimetres", 3: "micrometres"}
_AGAIN = "Export it again with the position of its voxels (qform or sform)."


def geometry_findings(header: Any, affine: Affine) -> list[Finding]:
    """The first thing that is wrong with where a header puts its voxels; empty where nothing is.

    header: nibabel's, as the file has it. affine: (4, 4) as nibabel takes it from the header.
    """
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        # without a reference, the affine is a guess that nibabel makes
        return [
            Finding(
                "no spatial reference: sform_code and qform_code are both 0, so that left could be right",
                "Export it again from its DICOM series with an orientation; do not set a code by guess.",
            )
        ]
    grid = Grid(header_shape(header), affine)
    found = _unit(header) or _singular(affine)
    if found is None and sform:
        found = (_two_places(header, grid) if qform else None) or _spacing(header, affine)
    found = found or _placeholder(affine) or _implausible(grid)
    return [found] if found else []


def _unit(header: Any) -> Finding | None:
    code = int(header["xyzt_units"]) & 7
    if code in (0, _MILLIMETRES):
        return None
    sizes = " x ".join(f"{mm:g}" for mm in header["pixdim"][1:4])
    return Finding(
        f"the header states its lengths in {_UNITS.get(code, 'a unit that NIfTI does not know')} "
        f"(xyzt_units {code}), voxels of {sizes}",
        "Write it again in millimetres (xyzt_units 2); where the numbers are millimetres already, correct "
        "the unit alone.",
    )


def _singular(affine: Affine) -> Finding | None:
    if not np.isfinite(affine).all():
        return Finding("the affine holds NaN or infinite values", _AGAIN)
    lengths_mm = np.linalg.norm(affine[:3, :3], axis=0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if not (abs(np.linalg.det(affine[:3, :3] / lengths_mm)) >= _LEAST_UNIT_VOLUME):
            return Finding("the affine is singular: its axes do not span space", _AGAIN)
    return None


def _two_places(header: Any, grid: Grid) -> Finding | None:
    """What is wrong where a header sets both forms and they differ."""
    from nibabel.spatialimages import HeaderDataError

    decide = (
        "Compare it with another scan of the patient, decide which form is right, and set the code of the "
        "other to 0 (nibabel: image.set_qform(None, 0) or image.set_sform(None, 0))."
    )
    stated = header.copy()
    if stated["pixdim"][0] == 0:
        stated["pixdim"][0] = 1  # as NIfTI-1 reads it
    try:
        other = Grid(grid.shape, np.asarray(stated.get_qform(), dtype=np.float64))
    except (HeaderDataError, ValueError):
        return Finding("sform is a placement, qform is none: its quaternion or qfac is out of range", decide)
    apart_mm = float(np.linalg.norm(grid.corners_mm - other.corners_mm, axis=1).max())
    if apart_mm <= SAME_PLACE_MM:
        return None
    by_sform, by_qform = (_middle(one) for one in (grid, other))
    return Finding(
        f"qform and sform place it differently, up to {apart_mm:.1f} mm apart: its middle lies at "
        f"{by_qform} mm by qform, at {by_sform} mm by sform",
        decide,
    )


def _spacing(header: Any, affine: Affine) -> Finding | None:
    """What is wrong where the voxel sizes contradict sform."""
    stated = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (np.abs(stated - lengths) <= np.maximum(SAME_SPACING * lengths, SAME_SPACING_MM)).all():
        return None
    sizes, axes = (" x ".join(f"{mm:.3g}" for mm in three) for three in (stated, lengths))
    return Finding(
        f"the header states voxels of {sizes} mm (pixdim), its sform of {axes} mm",
        "Decide which is right and write it again with both alike (nibabel does so when it saves).",
    )


def _placeholder(affine: Affine) -> Finding | None:
    if not np.array_equal(np.abs(affine), np.eye(4)):
        return None
    return Finding(
        "written without its geometry: voxels of exactly 1 mm from the origin (0, 0, 0) along the axes, as "
        "a writer puts them that is given an array alone",
        "Write it again with the affine of the image that the array came from (SimpleITK: CopyInformation).",
    )


def _implausible(grid: Grid) -> Finding | None:
    """What no volume of a head has."""
    sizes = np.array(grid.spacing_mm)
    extents = sizes * grid.shape
    middle_mm = float(np.linalg.norm(grid.world_mm((np.array(grid.shape) - 1) / 2)))
    remedy = "Export it again; check the unit of its lengths, which has to be mm, and the distance of slices."
    for what, values, (low, high) in (("voxels", sizes, VOXEL_MM), ("a volume", extents, EXTENT_MM)):
        if values.min() < low or values.max() > high:
            found = " x ".join(f"{mm:.3g}" for mm in values)
            return Finding(f"{what} of {found} mm, of a head {low:g} to {high:g} mm are expected", remedy)
    if middle_mm > MOST_FROM_ORIGIN_MM:
        found = f"its middle lies {middle_mm:.4g} mm from the origin"
        return Finding(f"{found}, at most {MOST_FROM_ORIGIN_MM:g} mm is expected", remedy)
    return None


def _middle(grid: Grid) -> str:
    x, y, z = grid.world_mm((np.array(grid.shape) - 1) / 2)
    return f"({x:.1f}, {y:.1f}, {z:.1f})"
