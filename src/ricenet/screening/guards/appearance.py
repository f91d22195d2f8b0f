"""Numbers of how an MRI looks within its brain, by which a scanner may be recognised whatever the head is.

Of the values that networks see, so that what standardisation takes away already (brightness and scale within
the brain) does not count.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Of the intensities in the brain: the contrast between tissues."""

_AXES = ("x", "y", "z")


def appearance(values: NDArray[Any], brain: NDArray[np.bool_]) -> dict[str, float]:
    """By name: quantiles, third and fourth moment, trends along the axes, and roughness, of an MRI (X, Y, Z).

    trend: correlation with the position along an axis, of a bias field. roughness: mean absolute difference
    of neighbours (resolution), and of a voxel to the mean of its neighbours along an axis (noise).
    """
    inside = values[brain].astype(np.float64)
    centred = inside - inside.mean()
    sd = max(float(inside.std()), 1e-6)
    found = {
        f"quantile {q:g}": float(v) for q, v in zip(QUANTILES, np.quantile(inside, QUANTILES), strict=True)
    }
    found |= {f"moment {k}": float(((centred / sd) ** k).mean()) for k in (3, 4)}
    for axis, position in zip(_AXES, np.nonzero(brain), strict=True):
        away = position - position.mean()
        spread = max(float(away.std()), 1e-6)
        found[f"trend {axis}"] = float((centred * away).mean() / (sd * spread))
    return found | _roughness(values.astype(np.float64), brain, sd)


def _roughness(values: NDArray[np.float64], brain: NDArray[np.bool_], sd: float) -> dict[str, float]:
    """In SDs of the brain; 0 where no two, or no three, voxels of it lie in a row."""
    steps, bends = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    for axis in range(3):
        row, within = np.moveaxis(values, axis, 0), np.moveaxis(brain, axis, 0)
        pairs = [np.abs(b - a)[p & q] for (a, b), (p, q) in zip(pairwise(row), pairwise(within), strict=True)]
        steps += pairs
        bend = np.abs(row[1:-1] - (row[:-2] + row[2:]) / 2)
        bends.append(bend[within[1:-1] & within[:-2] & within[2:]])
    means = (float(all_.mean()) if all_.size else 0.0 for all_ in map(np.concatenate, (steps, bends)))
    return dict(zip(("steps", "bends"), (mean / sd for mean in means), strict=True))
