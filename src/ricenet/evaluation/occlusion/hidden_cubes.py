"""The cubes that are hidden one after the other: where they lie, what fills them, and the map they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ricenet.config.params import Fill
from ricenet.evaluation.occlusion.receptive_field import Shape

Chosen = NDArray[np.bool_]
"""Which positions of a grid, an entry a position."""


def cube_starts(voxels: int, cube_voxels: int, stride_voxels: int) -> list[int]:
    """First indices of the cubes along one axis; the last one lies flush with the border.

    >>> cube_starts(10, 4, 3)
    [0, 3, 6]
    >>> cube_starts(9, 4, 3)
    [0, 3, 5]
    """
    last = voxels - cube_voxels
    return [*range(0, last, stride_voxels), last]


@dataclass(frozen=True)
class CubeGrid:
    """The positions of a cube in a volume: every stride along each axis, and flush with its end."""

    shape: Shape
    cube_voxels: int
    stride_voxels: int

    @cached_property
    def starts(self) -> tuple[NDArray[np.int64], ...]:
        """First voxels of the cubes along each axis."""
        return tuple(np.array(cube_starts(n, self.cube_voxels, self.stride_voxels)) for n in self.shape)

    @property
    def counts(self) -> Shape:
        """How many positions there are along each axis."""
        x, y, z = (len(starts) for starts in self.starts)
        return x, y, z

    def corners(self, chosen: Chosen) -> NDArray[np.int64]:
        """First voxels (N, 3) of the chosen positions, in the order in which `chosen` is read."""
        along = [starts[i] for starts, i in zip(self.starts, np.nonzero(chosen), strict=True)]
        return np.stack(along, axis=1)

    def touching(self, voxels: NDArray[np.bool_]) -> Chosen:
        """The positions whose cube holds any of some voxels (X, Y, Z)."""
        sums = np.pad(voxels.astype(np.int64), ((1, 0), (1, 0), (1, 0)))
        for axis, starts in enumerate(self.starts):
            sums = np.cumsum(sums, axis=axis)
            sums = np.take(sums, starts + self.cube_voxels, axis) - np.take(sums, starts, axis)
        holds: Chosen = np.asarray(sums > 0)
        return holds

    def every(self, step: int) -> Chosen:
        """Every so many positions along each axis, and the last."""
        x, y, z = ((np.arange(n) % step == 0) | (np.arange(n) == n - 1) for n in self.counts)
        both: Chosen = x[:, None, None] & y[None, :, None] & z[None, None, :]
        return both

    def mean_of_cubes(self, values: NDArray[np.float64], chosen: Chosen) -> NDArray[np.float64]:
        """The mean over the chosen cubes that hold a voxel (X, Y, Z); 0 where none does.

        values: a value a position.
        """
        total, count = np.zeros(self.shape), np.zeros(self.shape)
        n = self.cube_voxels
        for (x, y, z), value in zip(self.corners(chosen), values[chosen], strict=True):
            total[x : x + n, y : y + n, z : z + n] += value
            count[x : x + n, y : y + n, z : z + n] += 1
        mean: NDArray[np.float64] = total / np.maximum(count, 1)
        return mean


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
