"""Scans without their skull: told by what surrounds the brain, which is one exact value.

A scanner's air is noise. Where all that is not one exact value is a single body of a brain's size and shape,
somebody removed the rest. What is no such scan, though parts of it are exactly zero: a defaced head (what is
left holds more than a brain, with scalp and skull), a head whose air was set to zero (the same), and a field
of view that was padded (a box, or a slab thinner than a brain).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Grid, Volume

BRAIN_ML = (800.0, 2050.0)
"""Between these lies the volume of a brain with its ventricles, resections included; a head without its face
and neck holds 2300 ml or more."""

BRAIN_MM = (80.0, 220.0)
"""Between these lies each of its principal diameters."""

LEAST_ALONE = 0.999
"""Share of the voxels that are not background and belong to the one body."""

LEAST_OF_ELLIPSOID = 0.895
"""Volume of the ellipsoid with its moments, over its own volume and the inverse: a box has 0.89."""

_COARSE_MM = 4.0


def brain_of_stripped(scan: Volume) -> NDArray[np.bool_] | None:
    """The brain (X, Y, Z) of a scan without its skull: all that is not background, holes filled.

    Voxels that are background within the brain, as ventricles may be, belong to it. None of any other scan.
    """
    from scipy import ndimage

    data = np.asarray(scan.data)
    if not looks_stripped(scan):
        return None
    labels, _ = ndimage.label(data != data[0, 0, 0])
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    brain: NDArray[np.bool_] = ndimage.binary_fill_holes(largest)
    return brain


def looks_stripped(scan: Volume) -> bool:
    """Whether a scan shows a brain without its skull, told from every n-th voxel. scan: not constant."""
    from scipy import ndimage

    data = np.asarray(scan.data)
    corners = data[:: data.shape[0] - 1 or 1, :: data.shape[1] - 1 or 1, :: data.shape[2] - 1 or 1]
    # a scanner's air seldom has one value in all corners: most scans end here
    if (corners != corners.flat[0]).any():
        return False
    steps = np.maximum(1, np.rint(_COARSE_MM / np.array(scan.grid.spacing_mm))).astype(int)
    shown = data[:: steps[0], :: steps[1], :: steps[2]] != corners.flat[0]
    labels, count = ndimage.label(shown)
    if not count:
        return False
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.max() < LEAST_ALONE * sizes.sum():
        return False
    affine = scan.grid.affine.copy()
    affine[:3, :3] *= steps
    return _is_brain(ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax())), affine)


def _is_brain(body: NDArray[np.bool_], affine: NDArray[np.float64]) -> bool:
    """Whether a body has a brain's volume and shape."""
    x, y, z = body.shape
    grid = Grid((x, y, z), affine)
    ml = float(body.sum()) * grid.voxel_ml
    if not BRAIN_ML[0] <= ml <= BRAIN_ML[1]:
        return False
    points_mm = grid.world_mm(np.argwhere(body).astype(np.float64))
    # an ellipsoid's variance along an axis is a fifth of the squared semi-axis
    semi_axes_mm = np.sqrt(5 * np.linalg.eigvalsh(np.cov(points_mm.T)))
    ellipsoid_ml = 4 / 3 * np.pi * float(np.prod(semi_axes_mm)) / 1000
    is_compact = min(ml / ellipsoid_ml, ellipsoid_ml / ml) >= LEAST_OF_ELLIPSOID
    diameters = 2 * semi_axes_mm
    return bool(is_compact and BRAIN_MM[0] <= diameters.min() and diameters.max() <= BRAIN_MM[1])
