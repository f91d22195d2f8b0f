"""What a regression beside a network sees of the input: features that nothing has to be trained for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.training.group_regression import FeatureGroup
from ricenet.training.random_convolutions import coarse, random_convolutions

FILTERS, FILTER_SEED = 64, 0
"""Random filters a volume; the same for every set, fold and project."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

POWER = 8
"""Of the mean that follows the hot parts; of a dose, the equivalent uniform dose with a = 8."""

INTENSITIES = ("mean", "sd", "max", "eud8", "middle", "gradient", *(f"p{round(100 * q)}" for q in QUANTILES))
"""middle: mean of the middle third along each axis. gradient: mean magnitude, per voxel."""


def input_features(
    subjects: Iterable[NDArray[np.floating]], names: Sequence[str]
) -> tuple[FeatureGroup, ...]:
    """Two groups of features a volume: its intensities, and pooled random convolutions.

    subjects: the volumes (C, X, Y, Z) of each, as a network sees them; one subject's are used at a time.
    names: of the volumes (C,). Raises ValueError: volumes smaller than a filter, or not finite.
    """
    parts = [_of_subject(volumes, names) for volumes in subjects]
    return tuple(
        FeatureGroup(group.name, group.features, np.concatenate([part[i].values for part in parts]))
        for i, group in enumerate(parts[0])
    )


def _of_subject(volumes: NDArray[np.floating], names: Sequence[str]) -> list[FeatureGroup]:
    """volumes: (C, X, Y, Z). Each group has one row."""
    groups = []
    for volume, name in zip(volumes, names, strict=True):
        values = volume.astype(np.float32)
        features = tuple(f"{name}_{of}" for of in INTENSITIES)
        groups.append(FeatureGroup(f"{name} intensities", features, _intensities(values)[np.newaxis]))
        groups.append(random_convolutions(coarse(values[None]), f"{name} convolved", FILTERS, FILTER_SEED))
    return groups


def _intensities(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    values = volume.astype(np.float64)
    middle = values[tuple(slice(size // 3, size - size // 3) for size in values.shape)]
    eud = (np.maximum(values, 0) ** POWER).mean() ** (1 / POWER)
    steepness = np.sqrt(sum(slope**2 for slope in np.gradient(values))).mean()
    moments = [values.mean(), values.std(), values.max(), eud, middle.mean(), steepness]
    return np.array([*moments, *np.quantile(values, QUANTILES)])
