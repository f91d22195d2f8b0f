"""What tells scans apart whatever they show: a digest, the same voxels, properties of the file."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.nifti_file import NiftiFile
from ricenet.runtime.files import content_digest

Property = str | float | None
"""A word that is compared as such, a number that has an order, or None where the file does not say."""

SAMPLES = 24
"""Along each axis, at which voxels are compared."""

_MOST_COUNTED = 2**16 - 1

SAME_CORRELATION = 0.9999
"""Above it two scans have the same voxels, rounded or scaled; two acquisitions differ by their noise."""


@dataclass(frozen=True)
class VoxelSample:
    """A scan's digest and some of its voxels (K, L, M), spread evenly, to tell whether another has the same.

    shape: of the whole scan.
    """

    digest: str
    shape: tuple[int, ...]
    voxels: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """values: (X, Y, Z)."""
        return cls(voxel_digest(values), values.shape, _sampled(values))

    def is_in(self, values: NDArray[np.float32]) -> bool:
        """Whether other voxels (X, Y, Z) are these, rounded or in another unit, flipped or turned by right
        angles. What was cropped or padded has the same digest instead.
        """
        for axes in itertools.permutations(range(3)):
            turned = values.transpose(axes)
            if turned.shape == self.shape:
                for senses in itertools.product((1, -1), repeat=3):
                    if self._correlates(_sampled(turned[tuple(slice(None, None, one) for one in senses)])):
                        return True
        return False

    def _correlates(self, other: NDArray[np.float32]) -> bool:
        one, two = (part.astype(np.float64).ravel() - part.mean() for part in (self.voxels, other))
        norms = float(np.linalg.norm(one) * np.linalg.norm(two))
        return norms > 0 and float(one @ two) / norms > SAME_CORRELATION


def _sampled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    at = (np.unique(np.linspace(0, n - 1, SAMPLES).astype(int)) for n in values.shape)
    result: NDArray[np.float32] = values[np.ix_(*at)]
    return result


def voxel_digest(values: NDArray[np.float32]) -> str:
    """Digest of the values that occur and how often, without zeros.

    values: any shape. Equal for copies that were compressed again, got another header or data type, were
    flipped, turned by right angles, cropped in or padded with background; and for no two different scans.
    """
    # as they lie in memory: their order does not count
    flat = values.ravel(order="K")
    content = _counted(flat)
    if content is None:
        content = np.sort(flat[flat != 0])
    return hashlib.sha256(np.ascontiguousarray(content, dtype="<f4").data).hexdigest()


def _counted(values: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """All values (N,) but zeros, sorted, where they are whole numbers that can be counted."""
    least, largest = values.min(initial=0), values.max(initial=0)
    if not (least >= 0 and largest <= _MOST_COUNTED):
        return None
    whole = values.astype(np.uint16)
    if not np.array_equal(whole, values):
        return None
    counts = np.bincount(whole, minlength=1)
    return np.repeat(np.arange(1, len(counts), dtype=np.float32), counts[1:])


def pair_digest(scan: str, dose: str) -> str:
    """What an import notes of a dose and the scan that it placed the dose over. Both: `voxel_digest`."""
    return content_digest([scan, dose])


def file_properties(file: NiftiFile, size_bytes: int) -> dict[str, Property]:
    """Of a NIfTI file and its header, never an intensity.

    Of text in the header its length alone counts, since it may identify.
    """
    from nibabel.orientations import aff2axcodes

    header, affine, shape = file.header, file.affine, file.data.shape
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.round(affine[:3, :3] / spacing, 2) + 0.0
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
        "header extensions": float(file.extensions),
        "codes of the header's transforms": f"{int(header['qform_code'])} {int(header['sform_code'])}",
        "units of the header": str(int(header["xyzt_units"])),
        "scaling of values": "no" if file.scaling == (1.0, 0.0) else "yes",
    }
