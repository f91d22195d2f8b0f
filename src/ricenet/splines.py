"""Cubic splines between grids whose axes are parallel: axis after axis, as products of small matrices.

The same values as scipy's `zoom` and `affine_transform` (order 3, mode "nearest") to rounding, for 4 products
a voxel and axis in place of 64 a voxel.
Source: Unser, IEEE Signal Processing Magazine 16 (1999) 22-38.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BEYOND = 12
"""Copies of the outermost value on either side, that the spline goes through, as in scipy."""


def along_axis(
    values: NDArray[np.floating[Any]], axis: int, positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values between equally spaced ones along an axis. positions: (N,) in voxels, near the ends at most."""
    matrix = spline_matrix(positions, values.shape[axis])
    found: NDArray[np.float64] = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return found


def spline_matrix(positions: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The matrix (N, count) from equally spaced values to their cubic spline at positions (N,), in voxels.

    Beyond their ends the values go on unchanged.
    """
    from scipy import ndimage

    identity = np.pad(np.eye(count), ((BEYOND, BEYOND), (0, 0)), mode="edge")
    coefficients = ndimage.spline_filter1d(identity, 3, axis=0, output=np.float64, mode="nearest")
    first = np.floor(positions).astype(int) - 1 + BEYOND
    t = (positions - np.floor(positions))[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 + t - t * t) * t + 1, t**3]) / 6
    matrix: NDArray[np.float64] = sum(weights[:, [k]] * coefficients[first + k] for k in range(4))
    return matrix
