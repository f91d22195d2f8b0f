"""Where the head is in a scan, told on a coarse copy: quick enough to be asked of every file.

Neither the head's outline nor where it lies needs the scan's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.stripped import looks_stripped
from ricenet.volume import Grid, Volume

SPACING_MM = 5.0
"""Of the copy on which a head is told from air."""

_PAIRWISE = 8
"""So many values and more NumPy adds up in another order."""


@dataclass(frozen=True)
class CoarseHead:
    """Where a scan shows a head: mask (X, Y, Z) on a coarse copy's grid.

    stripped: whether the scan shows a brain without its skull, so that "head" is the brain.
    """

    mask: NDArray[np.bool_]
    grid: Grid
    stripped: bool

    @classmethod
    def of(cls, scan: Volume) -> Self:
        """The head in an MRI or a CT, whatever its unit. scan: (X, Y, Z), not constant."""
        copy = averaged(scan, SPACING_MM)
        return cls(head_mask(copy), copy.grid, looks_stripped(scan))

    @property
    def ml(self) -> float:
        """The head's volume, as far as the scan shows it."""
        return float(self.mask.sum()) * self.grid.voxel_ml

    def distances(self, points_mm: NDArray[np.float64]) -> NDArray[np.float32]:
        """How far outside the head world positions (N, 3) lie, in mm; linear between voxels.

        Negative within it, NaN beyond the scan's extent.
        """
        from scipy import ndimage

        voxels = self.grid.voxel(points_mm)
        found = ndimage.map_coordinates(self._outside_mm, voxels.T, order=1, mode="nearest")
        return np.where(self.grid.contains(points_mm), found, np.nan).astype(np.float32)

    @cached_property
    def _outside_mm(self) -> NDArray[np.float32]:
        from scipy import ndimage

        if self.mask.all():
            return np.full(self.mask.shape, -1, dtype=np.float32)
        outside, inside = (
            ndimage.distance_transform_edt(where, sampling=self.grid.spacing_mm)
            for where in (~self.mask, self.mask)
        )
        return np.asarray(outside - inside, dtype=np.float32)


def averaged(volume: Volume, spacing_mm: float) -> Volume:
    """Means over blocks of whole voxels whose edges are about `spacing_mm` long, on the scan's own axes.

    Nothing is interpolated and no empty corner arises, unlike on a grid along the world axes; an axis that
    is coarser already stays as it is. Voxels at the ends that fill no block are dropped.
    """
    shape = np.array(volume.grid.shape)
    sizes = np.clip(np.rint(spacing_mm / np.array(volume.grid.spacing_mm)), 1, shape).astype(int)
    counts = shape // sizes
    first = (shape - counts * sizes) // 2
    kept = tuple(slice(a, a + n * k) for a, n, k in zip(first, counts, sizes, strict=True))
    data = np.asarray(volume.data[kept], dtype=np.float32)
    for axis in range(3):
        data = _block_means(data, axis, int(sizes[axis]))
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.world_mm(first + (sizes - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * sizes
    x, y, z = (int(n) for n in counts)
    return Volume(np.ascontiguousarray(data), Grid((x, y, z), affine))


def _block_means(data: NDArray[np.float32], axis: int, size: int) -> NDArray[np.float32]:
    """Means of `size` neighbours along an axis whose length is a multiple of it.

    As `mean` over a split axis adds up, one after the other, but a whole volume at a time: ten times as fast
    where the axis is the one whose voxels lie side by side.
    """
    split = data.reshape(*data.shape[:axis], -1, size, *data.shape[axis + 1 :])
    means: NDArray[np.float32]
    if size >= _PAIRWISE:
        means = split.mean(axis=axis + 1, dtype=np.float32)
        return means
    parts = np.moveaxis(split, axis + 1, 0)
    total = parts[0].copy(order="K")
    for part in parts[1:]:
        total += part
    means = total / np.float32(size)
    return means


def head_mask(copy: Volume, margin_mm: float = 0.0) -> NDArray[np.bool_]:
    """Where the head is on a coarse copy (X, Y, Z), holes filled, grown by a margin.

    Of a scan without its skull, where the brain is. All of the image where nothing stands out of it.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    data = np.asarray(copy.data, dtype=np.float32)
    if data.min() == data.max():
        return np.ones(data.shape, dtype=np.bool_)
    # of a CT, Otsu's threshold may part bone from the rest; there the mean parts the head from air.
    # flat, since an image of three or four slices would be taken for colours
    bright = data > min(0.5 * float(threshold_otsu(data.ravel())), float(data.mean()))
    labels, count = ndimage.label(bright)
    if not count:
        return np.ones(data.shape, dtype=np.bool_)
    head = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))
    if margin_mm <= 0:
        return np.asarray(head, dtype=np.bool_)
    outside = ndimage.distance_transform_edt(~head, sampling=copy.grid.spacing_mm)
    grown: NDArray[np.bool_] = outside <= margin_mm
    return grown
