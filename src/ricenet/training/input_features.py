"""What a regression beside a network sees of the input: features that nothing has to be trained for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ricenet.training.group_regression import FeatureGroup
from ricenet.training.random_convolutions import coarse, random_convolutions

FILTERS, FILTER_SEED = 64, 0
"""Random filters of each kind a volume; the same for every set, fold and project."""

KINDS = {"convolved": (5, 2), "finely convolved": (3, 1)}
"""Voxels along each axis of a filter, and its stride. The small ones see the core of a lesion."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

POWER = 8
"""Of the mean that follows the hot parts; of a dose, the equivalent uniform dose with a = 8."""

INTENSITIES = ("mean", "sd", "max", "eud8", "middle", "gradient", *(f"p{round(100 * q)}" for q in QUANTILES))
"""middle: mean of the middle third along each axis. gradient: mean magnitude, per voxel."""

MOST_REMEMBERED = 256
"""Batches of a volume whose features are kept, by content: some hundred kB each at most."""

_MEMO: dict[bytes, tuple[FeatureGroup, ...]] = {}


def input_features(volumes: NDArray[np.floating], names: Sequence[str]) -> tuple[FeatureGroup, ...]:
    """Three groups of features a volume: its intensities, and pooled random convolutions of either kind.

    volumes: (N, C, X, Y, Z) as a network sees them. names: of the volumes (C,).
    Raises ValueError: volumes smaller than a filter, or not finite.
    """
    return tuple(
        FeatureGroup(f"{name} {group.name}", tuple(f"{name}_{of}" for of in group.features), group.values)
        for channel, name in enumerate(names)
        for group in _remembered(np.ascontiguousarray(volumes[:, channel], np.float32))
    )


def of_all(parts: Iterable[Sequence[FeatureGroup]]) -> tuple[FeatureGroup, ...]:
    """The features of some subjects and then of others, as one."""
    columns = zip(*parts, strict=True)
    return tuple(
        FeatureGroup(groups[0].name, groups[0].features, np.concatenate([group.values for group in groups]))
        for groups in columns
    )


def _remembered(values: NDArray[np.float32]) -> tuple[FeatureGroup, ...]:
    """The features of a volume (N, X, Y, Z) of some subjects; sets that share it ask one after the other."""
    key = blake2b(repr(values.shape).encode() + values.tobytes()).digest()
    if key not in _MEMO:
        while len(_MEMO) >= MOST_REMEMBERED:
            del _MEMO[next(iter(_MEMO))]
        _MEMO[key] = _of_volume(values)
    return _MEMO[key]


def _of_volume(values: NDArray[np.float32]) -> tuple[FeatureGroup, ...]:
    blocks = coarse(values)
    convolved = (
        random_convolutions(blocks, kind, FILTERS, FILTER_SEED, voxels, stride)
        for kind, (voxels, stride) in KINDS.items()
    )
    return FeatureGroup("intensities", INTENSITIES, _intensities(values)), *convolved


def _intensities(volumes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, X, Y, Z) -> (N, len(INTENSITIES))."""
    values, space = volumes.astype(np.float64), (1, 2, 3)
    middle = values[:, *(slice(size // 3, size - size // 3) for size in values.shape[1:])]
    eud = (np.maximum(values, 0) ** POWER).mean(axis=space) ** (1 / POWER)
    steepness = np.sqrt(sum(slope**2 for slope in np.gradient(values, axis=space)))
    moments = [values.mean(axis=space), values.std(axis=space), values.max(axis=space), eud]
    where = [middle.mean(axis=space), steepness.mean(axis=space)]
    return np.stack([*moments, *where, *np.quantile(values, QUANTILES, axis=space)], axis=1)
