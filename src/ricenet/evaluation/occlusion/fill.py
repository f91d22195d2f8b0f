"""What a hidden cube is filled with."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Fill = Literal["background", "brain_mean", "blurred"]


def filled(
    volumes: NDArray[np.float32], brain: NDArray[np.bool_], fill: Fill, cube_voxels: int
) -> NDArray[np.float32]:
    """What every voxel would be if it were hidden, (C, X, Y, Z) float32.

    volumes: (C, X, Y, Z). brain: (X, Y, Z).
    background: 0, which is no dose, and for a z-scored MRI both its background and the brain's mean.
    brain_mean: each channel's mean in the brain, so that hidden dose becomes usual dose.
    blurred: the channel smoothed by a Gaussian with an SD of half a cube: hides structure, keeps the level.
    """
    if fill == "background":
        return np.zeros_like(volumes)
    if fill == "brain_mean":
        means = volumes[:, brain].mean(axis=1, dtype=np.float64) if brain.any() else np.zeros(len(volumes))
        return np.broadcast_to(means.astype(np.float32)[:, None, None, None], volumes.shape).copy()
    from scipy import ndimage

    return np.stack([ndimage.gaussian_filter(volume, cube_voxels / 2) for volume in volumes])
