"""How much two images tell of each other: the measure that registrations are judged and started by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.registration.coarse import averaged, head_mask
from ricenet.volume import Affine, Volume, inverse

BINS = 48
SIMILARITY_SPACING_MM = 4.0
"""Of the copies whose similarity is measured: the same for every setting, since it depends on them."""

OUTLIERS_PERCENT = 0.5
"""Of the darkest and brightest values at the points compared, that would spread the histogram's bins."""

LEAST_OVERLAP = 0.4
"""Of the points that the moving image has to show; of fewer, chance tells too much."""


def shared_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """(H(A) + H(B)) / H(A, B) of paired values; 1 where neither tells anything of the other, 2 identical.

    Source: Studholme et al., Pattern Recognition 32 (1999) 71-86.
    """
    joint, _, _ = np.histogram2d(first.ravel(), second.ravel(), bins=BINS)
    return _of_counts(joint)


def similarity_within_head(fixed: Volume, moving: Volume) -> SimilarityAtPoints:
    """The similarity of two scans within the fixed one's head, to be asked for any transform.

    With the air around the head, an empty outline would be nearly as similar as the head.
    fixed, moving: on any grids; compared on copies of SIMILARITY_SPACING_MM.
    """
    fixed, moving = (averaged(volume, SIMILARITY_SPACING_MM) for volume in (fixed, moving))
    return SimilarityAtPoints.of(fixed, head_mask(fixed), moving)


@dataclass(frozen=True)
class SimilarityAtPoints:
    """Normalised mutual information at some of the fixed image's points, quick enough for a search.

    points_mm: (N, 3) world of the fixed image. fixed_bins: (N,) its values there, as bins.
    moving_bins: (X, Y, Z) the moving image in bins, not rounded. bins: of each.
    """

    points_mm: NDArray[np.float64]
    fixed_bins: NDArray[np.int64]
    moving_bins: NDArray[np.float32]
    moving_voxel_from_world: Affine
    bins: int

    @classmethod
    def of(cls, fixed: Volume, where: NDArray[np.bool_], moving: Volume, bins: int = 32) -> Self:
        """To be measured at the fixed image's voxels in `where`."""
        values = np.asarray(fixed.data, dtype=np.float32)[where]
        return cls(
            fixed.grid.world_mm(np.argwhere(where).astype(np.float64)),
            np.rint(_in_bins(values, values, bins)).astype(np.int64),
            _in_bins(np.asarray(moving.data, dtype=np.float32), moving.data, bins),
            inverse(moving.grid.affine),
            bins,
        )

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
        pairs = self.fixed_bins[shown] * self.bins + np.rint(there).astype(np.int64)
        counts = np.bincount(pairs, minlength=self.bins**2).reshape(self.bins, self.bins)
        return _of_counts(counts.astype(np.float64))


def _in_bins(values: NDArray[np.float32], of: NDArray[Any], bins: int) -> NDArray[np.float32]:
    low, high = np.percentile(of, (OUTLIERS_PERCENT, 100 - OUTLIERS_PERCENT))
    scaled = (np.clip(values, low, high) - low) * ((bins - 1) / max(float(high - low), 1e-6))
    result: NDArray[np.float32] = scaled.astype(np.float32)
    return result


def _of_counts(joint: NDArray[np.float64]) -> float:
    p = joint / joint.sum()
    both = _entropy(p)
    # two constant images: nothing is told, and nothing is there to be told
    return (_entropy(p.sum(axis=0)) + _entropy(p.sum(axis=1))) / both if both > 0 else 1.0


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
