"""Where two heads differ although one lies over the other: cavity, lesion, swollen scalp, bent neck."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.volume import Affine, Volume, resample

BINS = 32
OUTLIERS_PERCENT = 0.5
"""Of the fixed image's darkest and brightest values in the head, that would spread the bins."""

SMOOTHING_MM = 6.0
BEYOND_MADS = 3.0
"""Of the head's median residual, in scaled median absolute deviations."""

GROWN_MM = 6.0
MOST_OF_HEAD = 0.2
"""Share of the head that may be left out: where more of it differs, the difference is the rule."""


def disagreement(
    fixed: Volume, moving: Volume, moving_from_fixed: Affine, head: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where in the head (X, Y, Z) the moving image is not what the fixed image lets expect.

    Expected is the mean of the moving image over all voxels of the head that are as bright in the fixed
    image. What differs from it by far, as the root mean square over some millimetres, is marked with its
    surroundings: at most MOST_OF_HEAD, and nothing that the moving image does not show.
    fixed, moving: coarse copies. moving_from_fixed: nearly right. head: on the fixed image's grid.
    Source: robust registration, Reuter et al., NeuroImage 53 (2010) 1181-1196; deviation: a region instead
    of a weight for each voxel, so that ANTs can be told.
    """
    from scipy import ndimage

    there = resample(moving, fixed.grid, moving_from_fixed).data
    everywhere = Volume(np.ones(moving.grid.shape, dtype=np.float32), moving.grid)
    compared = head & (resample(everywhere, fixed.grid, moving_from_fixed).data > 0.5)
    if not compared.any():
        return np.zeros(fixed.grid.shape, dtype=np.bool_)
    squared = np.zeros(fixed.grid.shape, dtype=np.float32)
    squared[compared] = _unexplained(fixed.data[compared], there[compared]) ** 2
    residual = np.where(compared, np.sqrt(_mean_around(squared, compared, fixed)), 0)
    grown = ndimage.grey_dilation(residual, footprint=_ball(fixed))
    median = float(np.median(residual[compared]))
    mad = 1.4826 * float(np.median(np.abs(residual[compared] - median)))
    capped = float(np.quantile(grown[compared], 1 - MOST_OF_HEAD, method="higher"))
    beyond = max(median + BEYOND_MADS * mad, capped)
    differs: NDArray[np.bool_] = compared & (grown > beyond)
    return differs


def _unexplained(fixed: NDArray[Any], moving: NDArray[Any]) -> NDArray[np.float64]:
    """Residuals (N,) of one image about its mean in each of the other's bins."""
    low, high = np.percentile(fixed, (OUTLIERS_PERCENT, 100 - OUTLIERS_PERCENT))
    scaled = (np.clip(fixed, low, high) - low) * ((BINS - 1) / max(float(high - low), 1e-6))
    bins = np.rint(scaled).astype(np.int64)
    means = np.bincount(bins, moving, minlength=BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1)
    residuals: NDArray[np.float64] = moving - means[bins]
    return residuals


def _mean_around(
    values: NDArray[np.float32], where: NDArray[np.bool_], volume: Volume
) -> NDArray[np.float32]:
    """Gaussian means over the voxels in `where` alone."""
    from scipy import ndimage

    sigmas = SMOOTHING_MM / np.array(volume.grid.spacing_mm)
    weights = ndimage.gaussian_filter(where.astype(np.float32), sigmas)
    sums = ndimage.gaussian_filter(values, sigmas)
    means: NDArray[np.float32] = sums / np.maximum(weights, 1e-3)
    return means


def _ball(volume: Volume) -> NDArray[np.bool_]:
    """Neighbours no further away than GROWN_MM."""
    spacing = np.array(volume.grid.spacing_mm)
    reach = np.floor(GROWN_MM / spacing).astype(int)
    offsets = np.indices(tuple(2 * reach + 1)) - reach[:, None, None, None]
    squared = ((offsets * spacing[:, None, None, None]) ** 2).sum(axis=0)
    near: NDArray[np.bool_] = squared <= GROWN_MM**2
    return near
