"""What of two heads is compared, how much the one says of the other, and where they differ.

Everything here works on coarse copies of the scans: neither the head's outline nor a transform of six numbers
needs their voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import averaged, head_mask
from ricenet.volume import Affine, Grid, Volume, dice, inverse, resample

SIMILARITY_SPACING_MM = 4.0
"""Of the copies whose similarity is measured: the same for every setting, since it depends on them."""

BINS, JOINT_BINS = 32, 48
"""Of the values of each image: at points, and of a whole joint histogram."""

OUTLIERS_PERCENT = 0.5
"""Of the darkest and brightest values compared, that would spread the bins."""

LEAST_OVERLAP = 0.4
"""Of the points that the moving image has to show; of fewer, chance decides."""

SMOOTHING_MM, GROWN_MM = 6.0, 6.0
BEYOND_MADS = 3.0
"""Of the head's median residual, in scaled median absolute deviations."""

MOST_OF_HEAD = 0.2
"""Share of the head that may be excluded: where more of it differs, the difference is the rule."""


def shared_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """(H(A) + H(B)) / H(A, B) of paired values; 1 where neither says anything of the other, 2 identical.

    Source: Studholme et al., Pattern Recognition 32 (1999) 71-86.
    """
    joint, _, _ = np.histogram2d(first.ravel(), second.ravel(), bins=JOINT_BINS)
    return _of_counts(joint)


@dataclass(frozen=True)
class SimilarityAtPoints:
    """Normalised mutual information at some of the fixed image's points, quick enough for a search.

    points_mm: (N, 3) world of the fixed image. fixed_bins: (N,) its values there, as bins.
    moving_bins: (X, Y, Z) the moving image in bins, not rounded.
    """

    points_mm: NDArray[np.float64]
    fixed_bins: NDArray[np.int64]
    moving_bins: NDArray[np.float32]
    moving_voxel_from_world: Affine

    @classmethod
    def of(cls, fixed: Volume, where: NDArray[np.bool_], moving: Volume) -> Self:
        """To be measured at the fixed image's voxels in `where`."""
        return cls(
            fixed.grid.world_mm(np.argwhere(where).astype(np.float64)),
            np.rint(_in_bins(fixed.data[where])).astype(np.int64),
            _in_bins(moving.data),
            inverse(moving.grid.affine),
        )

    @classmethod
    def within_head(cls, fixed: Volume, moving: Volume) -> Self:
        """To be measured within the fixed scan's head; with the air around it, an empty outline would be
        nearly as similar as the head. fixed, moving: on any grids.
        """
        fixed, moving = (averaged(volume, SIMILARITY_SPACING_MM) for volume in (fixed, moving))
        return cls.of(fixed, head_mask(fixed), moving)

    def thinned(self, one_in: int) -> Self:
        """The same at fewer points."""
        return replace(self, points_mm=self.points_mm[::one_in], fixed_bins=self.fixed_bins[::one_in])

    def __call__(self, moving_from_fixed: Affine) -> float:
        """The similarity under a transform, over what both images show; 1 where that is too little."""
        from scipy import ndimage

        voxel_from_fixed = self.moving_voxel_from_world @ moving_from_fixed
        voxels = voxel_from_fixed[:3, :3] @ self.points_mm.T + voxel_from_fixed[:3, 3:]
        last = np.array(self.moving_bins.shape)[:, None] - 1
        shown = np.all((voxels >= -0.5) & (voxels <= last + 0.5), axis=0)
        if shown.sum() < LEAST_OVERLAP * shown.size:
            return 1.0
        there = ndimage.map_coordinates(self.moving_bins, voxels[:, shown], order=1, mode="nearest")
        pairs = self.fixed_bins[shown] * BINS + np.rint(there).astype(np.int64)
        counts = np.bincount(pairs, minlength=BINS**2).reshape(BINS, BINS)
        return _of_counts(counts.astype(np.float64))


def head_overlap(fixed: Volume, moving: Volume, moving_from_fixed: Affine) -> float:
    """Dice coefficient of both scans' heads, over what the moving scan shows; 0 if nothing."""
    fixed, moving = (averaged(scan, SIMILARITY_SPACING_MM) for scan in (fixed, moving))
    shown = _shown_on(fixed.grid, moving.grid, moving_from_fixed)
    head = Volume(head_mask(moving), moving.grid)
    there = resample(head, fixed.grid, moving_from_fixed).data[shown] > 0.5
    return dice(head_mask(fixed)[shown], there)


def disagreement(
    fixed: Volume, moving: Volume, moving_from_fixed: Affine, head: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where in the head (X, Y, Z) the moving image is not what the fixed image lets expect: cavity, lesion,
    swollen scalp, bent neck.

    Expected is the mean of the moving image over all voxels of the head that are as bright in the fixed
    image. What differs from it by far, as the root mean square over some millimetres, is marked with its
    surroundings: at most MOST_OF_HEAD, and nothing that the moving image does not show.
    fixed, moving: coarse copies. moving_from_fixed: nearly right. head: on the fixed image's grid.
    Source: robust registration, Reuter et al., NeuroImage 53 (2010) 1181-1196; deviation: a region instead
    of a weight for each voxel, since ANTs takes a mask.
    """
    from scipy import ndimage

    compared = head & _shown_on(fixed.grid, moving.grid, moving_from_fixed)
    if not compared.any():
        return np.zeros(fixed.grid.shape, dtype=np.bool_)
    there = resample(moving, fixed.grid, moving_from_fixed).data
    squared = np.zeros(fixed.grid.shape, dtype=np.float32)
    squared[compared] = _unexplained(fixed.data[compared], there[compared]) ** 2
    residual = np.where(compared, np.sqrt(_mean_around(squared, compared, fixed.grid)), 0)
    grown = ndimage.grey_dilation(residual, footprint=_ball(fixed.grid))
    median = float(np.median(residual[compared]))
    mad = 1.4826 * float(np.median(np.abs(residual[compared] - median)))
    capped = float(np.quantile(grown[compared], 1 - MOST_OF_HEAD, method="higher"))
    differs: NDArray[np.bool_] = compared & (grown > max(median + BEYOND_MADS * mad, capped))
    return differs


def _shown_on(grid: Grid, scan: Grid, scan_from_grid: Affine) -> NDArray[np.bool_]:
    """Which voxels of a grid a scan shows."""
    everywhere = Volume(np.ones(scan.shape, dtype=np.float32), scan)
    shown: NDArray[np.bool_] = resample(everywhere, grid, scan_from_grid).data > 0.5
    return shown


def _in_bins(values: NDArray[Any]) -> NDArray[np.float32]:
    """Values as positions among BINS bins, not rounded, between their own outliers."""
    values = np.asarray(values, dtype=np.float32)
    low, high = np.percentile(values, (OUTLIERS_PERCENT, 100 - OUTLIERS_PERCENT))
    scaled = (np.clip(values, low, high) - low) * ((BINS - 1) / max(float(high - low), 1e-6))
    result: NDArray[np.float32] = scaled.astype(np.float32)
    return result


def _of_counts(joint: NDArray[np.float64]) -> float:
    p = joint / joint.sum()
    both = _entropy(p)
    # two constant images: nothing is said, and there is nothing to say
    return (_entropy(p.sum(axis=0)) + _entropy(p.sum(axis=1))) / both if both > 0 else 1.0


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _unexplained(fixed: NDArray[Any], moving: NDArray[Any]) -> NDArray[np.float64]:
    """Residuals (N,) of one image about its mean in each of the other's bins."""
    bins = np.rint(_in_bins(fixed)).astype(np.int64)
    means = np.bincount(bins, moving, minlength=BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1)
    residuals: NDArray[np.float64] = moving - means[bins]
    return residuals


def _mean_around(values: NDArray[np.float32], where: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Gaussian means over the voxels in `where` alone."""
    from scipy import ndimage

    sigmas = SMOOTHING_MM / np.array(grid.spacing_mm)
    weights = ndimage.gaussian_filter(where.astype(np.float32), sigmas)
    means: NDArray[np.float32] = ndimage.gaussian_filter(values, sigmas) / np.maximum(weights, 1e-3)
    return means


def _ball(grid: Grid) -> NDArray[np.bool_]:
    """Neighbours no further away than GROWN_MM."""
    spacing = np.array(grid.spacing_mm)
    reach = np.floor(GROWN_MM / spacing).astype(int)
    offsets = np.indices(tuple(2 * reach + 1)) - reach[:, None, None, None]
    squared = ((offsets * spacing[:, None, None, None]) ** 2).sum(axis=0)
    near: NDArray[np.bool_] = squared <= GROWN_MM**2
    return near
