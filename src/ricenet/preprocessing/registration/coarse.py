"""Coarse copies of a scan for what does not need its voxels: estimating a transform, finding the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Grid, Volume


def averaged(volume: Volume, spacing_mm: float) -> Volume:
    """Means over blocks of whole voxels whose edges are about `spacing_mm` long, on the scan's own axes.

    Nothing is interpolated and no empty corner arises, unlike on a grid along the world axes; an axis that
    is coarser already stays as it is. Voxels at the ends that fill no block are left out.
    """
    shape = np.array(volume.grid.shape)
    sizes = np.clip(np.rint(spacing_mm / np.array(volume.grid.spacing_mm)), 1, shape).astype(int)
    counts = shape // sizes
    first = (shape - counts * sizes) // 2
    kept = tuple(slice(a, a + n * k) for a, n, k in zip(first, counts, sizes, strict=True))
    data = np.asarray(volume.data[kept], dtype=np.float32)
    # the fastest axis last: the earlier ones leave less of it to read
    for axis in range(3):
        split = (*data.shape[:axis], counts[axis], sizes[axis], *data.shape[axis + 1 :])
        data = data.reshape(split).mean(axis=axis + 1, dtype=np.float32)
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.world_mm(first + (sizes - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * sizes
    x, y, z = (int(n) for n in counts)
    return Volume(np.ascontiguousarray(data), Grid((x, y, z), affine))


def head_mask(volume: Volume, margin_mm: float = 0.0) -> NDArray[np.bool_]:
    """Where the head is on a coarse copy (X, Y, Z), holes filled, grown by a margin.

    Of a scan without its skull, where the brain is. All of the image where nothing stands out of it.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    data = np.asarray(volume.data, dtype=np.float32)
    if data.min() == data.max():
        return np.ones(data.shape, dtype=np.bool_)
    # of a CT, Otsu's threshold may part bone from the rest; there the mean parts the head from air
    bright = data > min(0.5 * float(threshold_otsu(data)), float(data.mean()))
    labels, count = ndimage.label(bright)
    if not count:
        return np.ones(data.shape, dtype=np.bool_)
    head = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))
    outside = ndimage.distance_transform_edt(~head, sampling=volume.grid.spacing_mm)
    grown: NDArray[np.bool_] = outside <= margin_mm
    return grown
