"""Where a dose is high: its plateau, and the middle of the region around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def plateau_gy(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    """Dose of the high-dose plateau: the 99th percentile in the brain, so that hot spots do not count."""
    return float(np.percentile(dose_gy[brain], 99.0))


def isocentre_voxel(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Estimate of the isocentre, in voxels: centroid of the largest region above 95 % of the plateau.

    The plan's own isocentre is not among the data; for a single course the middle of its high-dose
    region lies near it. Returns (3,) voxel coordinates; the middle of the cube if there is no dose.
    """
    from scipy import ndimage

    threshold = 0.95 * plateau_gy(dose_gy, brain)
    if threshold <= 0:
        return (np.array(dose_gy.shape) - 1) / 2
    regions, _ = ndimage.label(dose_gy >= threshold)
    largest = int(np.argmax(np.bincount(regions.ravel())[1:])) + 1
    return np.array(ndimage.center_of_mass(regions == largest))
