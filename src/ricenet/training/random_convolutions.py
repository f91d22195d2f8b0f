"""Features of a volume without training: fixed random convolutions, pooled over the volume.

Source: Dempster et al. 2020 (ROCKET: random kernels, pooled by their largest answer and the share of positive
ones), in three dimensions. Deviations: no dilation, mean and SD pooled beside these two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.randomness import generator_for
from ricenet.training.group_regression import FeatureGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

FILTER_VOXELS, STRIDE = 5, 2
POOLS = ("mean", "sd", "max", "positive")
"""Over the places of a filter: mean, SD and largest of its answers, and the share of them above 0."""

BATCH = 8
"""Volumes at a time, so that memory does not grow with the cohort."""

COARSE_VOXELS = 32
"""Along each axis of what is convolved, about 6 mm: what larger filters would see of a whole head."""


def random_filters(count: int, seed: int, voxels: int = FILTER_VOXELS) -> NDArray[np.float32]:
    """Normal filters of mean 0 and norm 1, (count, voxels, voxels, voxels), each whatever the count is.

    Mean-free, so that a constant added to a volume changes nothing.
    """
    filters = np.empty((count, *(voxels,) * 3), np.float64)
    for i in range(count):
        filters[i] = generator_for("random convolution", seed, i).standard_normal(filters.shape[1:])
    filters -= filters.mean(axis=(1, 2, 3), keepdims=True)
    filters /= np.sqrt((filters**2).sum(axis=(1, 2, 3), keepdims=True))
    return filters.astype(np.float32)


def random_convolutions(
    volumes: NDArray[np.float32],
    name: str,
    count: int = 64,
    seed: int = 0,
    voxels: int = FILTER_VOXELS,
    stride: int = STRIDE,
) -> FeatureGroup:
    """The pooled answers of `count` filters to one volume of each subject, as a group of features.

    volumes: (N, X, Y, Z), at least as large as a filter, of so many voxels along each axis. name: of the
    group. Only places where the filter lies within the volume count. The same on every call with the same
    number of threads.
    Raises ValueError: volumes too small, or not finite.
    """
    import torch

    if volumes.ndim != 4 or min(volumes.shape[1:]) < voxels:
        found = f"expected (N, X, Y, Z) of {voxels} voxels or more along each axis"
        raise ValueError(f"{name}: {found}, found {volumes.shape}")
    if not np.isfinite(volumes).all():
        raise ValueError(f"{name}: volumes with values that are not finite")
    filters = torch.from_numpy(random_filters(count, seed, voxels))[:, None]
    with torch.inference_mode():
        pooled = [_pooled(batch, filters, stride) for batch in _batches(volumes)]
    features = tuple(f"{name}_filter{i}_{pool}" for pool in POOLS for i in range(count))
    return FeatureGroup(name, features, np.concatenate(pooled).astype(np.float64))


def coarse(volumes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Means of blocks (N, X, Y, Z), of which COARSE_VOXELS along an axis are left, or a few more."""
    step = max(1, min(volumes.shape[1:]) // COARSE_VOXELS)
    kept = [size // step for size in volumes.shape[1:]]
    x, y, z = (size * step for size in kept)
    blocks = volumes[:, :x, :y, :z].astype(np.float32)
    blocks = blocks.reshape(-1, kept[0], step, kept[1], step, kept[2], step)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4, 6))
    return means


def _batches(volumes: NDArray[np.float32]) -> Iterator[torch.Tensor]:
    import torch

    for start in range(0, len(volumes), BATCH):
        yield torch.from_numpy(np.ascontiguousarray(volumes[start : start + BATCH], np.float32))[:, None]


def _pooled(batch: torch.Tensor, filters: torch.Tensor, stride: int) -> NDArray[np.float64]:
    """(B, 1, X, Y, Z) -> (B, pools * count)."""
    import torch

    answers = torch.nn.functional.conv3d(batch, filters, stride=stride).flatten(2)
    variance, mean = torch.var_mean(answers, dim=2, correction=0)
    pools = (mean, variance.sqrt(), answers.amax(dim=2), (answers > 0).float().mean(dim=2))
    found: NDArray[np.float64] = torch.cat(pools, dim=1).double().numpy()
    return found
