"""What guards need of a subject's raw scans: a digest of the voxels, and properties of the files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.runtime.records import Record
from ricenet.vocabulary import MODALITIES

Property = str | float | None
"""A word that is compared as such, a number that has an order, or None where the file does not say."""


SIDECAR = "dose sidecar"
"""What comes before the name of a sidecar's property, as the modality does before that of a file's."""


class RawLook(Record):
    """Of one subject. voxels: digest by modality. properties: by name, none of which is an intensity."""

    voxels: dict[str, str]
    properties: dict[str, Property]


def look_at_raw(raw: RawSubject) -> RawLook:
    """Read each scan once, one at a time.

    Errors of nibabel pass through; the cohort's check comes before.
    Raises ScanError: a dose sidecar that cannot be read.
    """
    import nibabel as nib

    voxels, properties = dict[str, str](), dict[str, Property]()
    for modality in MODALITIES:
        path = raw.scan(modality)
        image = nib.nifti1.load(path)
        voxels[modality] = voxel_digest(np.asarray(image.dataobj, dtype=np.float32))
        for name, value in _file_properties(image, path).items():
            properties[f"{modality}: {name}"] = value
    sidecar = read_dose_sidecar(raw.dose_sidecar).model_dump(mode="json")
    for name, value in sidecar.items():
        properties[f"{SIDECAR}: {name.replace('_', ' ')}"] = value
    return RawLook(voxels=voxels, properties=properties)


def voxel_digest(values: NDArray[np.float32]) -> str:
    """Digest of the values that occur and how often, without zeros.

    values: any shape. Equal for copies that were compressed again, got another header or data type, were
    flipped, turned by right angles, cropped in or padded with background; and for no two different scans.
    """
    content = np.sort(values[values != 0], axis=None)
    return hashlib.sha256(content.astype("<f4").tobytes()).hexdigest()


def _file_properties(image: Any, path: Path) -> dict[str, Property]:
    """Of the file and its header; of text in the header its length alone, since it may identify."""
    from nibabel.orientations import aff2axcodes

    header, affine = image.header, np.asarray(image.affine, np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.round(affine[:3, :3] / spacing, 2) + 0.0
    shape = tuple(int(n) for n in image.shape)
    return {
        "file size": float(path.stat().st_size),
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
        "length of the header's description": float(len(bytes(header["descrip"].item()).rstrip(b"\0"))),
        "length of the header's auxiliary file name": float(
            len(bytes(header["aux_file"].item()).rstrip(b"\0"))
        ),
        "header extensions": float(len(header.extensions)),
        "codes of the header's transforms": f"{int(header['qform_code'])} {int(header['sform_code'])}",
        "units of the header": " ".join(header.get_xyzt_units()),
        "scaling of values": "yes" if _is_scaled(image) else "no",
    }


def _is_scaled(image: Any) -> bool:
    # the header's own fields are reset on loading; the proxy keeps what the file said
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    return (slope, intercept) != (1.0, 0.0)
