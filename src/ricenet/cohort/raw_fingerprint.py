"""What guards compare of raw scans: a digest of the voxels, and properties of the files."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Property = str | float | None
"""A word that is compared as such, a number that has an order, or None where the file does not say."""


def voxel_digest(values: NDArray[np.float32]) -> str:
    """Digest of the values that occur and how often, without zeros.

    values: any shape. Equal for copies that were compressed again, got another header or data type, were
    flipped, turned by right angles, cropped in or padded with background; and for no two different scans.
    """
    content = np.sort(values[values != 0], axis=None)
    return hashlib.sha256(content.astype("<f4").tobytes()).hexdigest()


def file_properties(image: Any, size_bytes: int) -> dict[str, Property]:
    """Of a NIfTI file and its header, never an intensity. image: as nibabel has it.

    Of text in the header its length alone counts, since it may identify.
    """
    from nibabel.orientations import aff2axcodes

    header, affine = image.header, np.asarray(image.affine, np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.round(affine[:3, :3] / spacing, 2) + 0.0
    shape = tuple(int(n) for n in image.shape)
    # the header's own fields are reset on loading; the proxy keeps what the file said
    scaling = float(image.dataobj.slope), float(image.dataobj.inter)
    lengths = {
        field: float(len(bytes(header[field].item()).rstrip(b"\0"))) for field in ("descrip", "aux_file")
    }
    return {
        "file size": float(size_bytes),
        "voxel spacing": " ".join(f"{mm:.2f}" for mm in spacing),
        "finest spacing": float(spacing.min().round(4)),
        "coarsest spacing": float(spacing.max().round(4)),
        "shape": " ".join(map(str, shape)),
        "number of voxels": float(np.prod(shape)),
        "slices": float(shape[2]),
        "data type": str(header.get_data_dtype()),
        "orientation": "".join(str(code) for code in aff2axcodes(affine)),
        "direction of the axes": " ".join(f"{cosine:.2f}" for cosine in direction.ravel()),
        "obliqueness": float((1 - np.abs(direction).max(axis=0)).max().round(2)),
        "length of the header's description": lengths["descrip"],
        "length of the header's auxiliary file name": lengths["aux_file"],
        "header extensions": float(len(header.extensions)),
        "codes of the header's transforms": f"{int(header['qform_code'])} {int(header['sform_code'])}",
        "units of the header": " ".join(header.get_xyzt_units()),
        "scaling of values": "no" if scaling == (1.0, 0.0) else "yes",
    }
