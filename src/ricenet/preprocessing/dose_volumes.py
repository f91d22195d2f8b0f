"""Volumes by dose: how much of a structure gets a dose or more, counted in the dose's own voxels.

A dose is never interpolated for that. Linear interpolation cuts the shoulders of a convex high-dose region: a
sphere of 30 mm of 60 Gy, with an edge of 4 mm, loses 4 to 8 % of what gets 57 Gy or more
(`benchmarks/dose_volumes.py`). A count of the dose's own voxels is right on average wherever the grid lies;
that of one sphere on one grid scatters by some tenths of a percent. So the structure's mask is brought to the
dose's grid, where each voxel counts by the share of it that the mask fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.cube import bounding_box_mm
from ricenet.volume import Affine, Grid, Volume, inverse, resample, supersampling_for

LEAST_SHARE = 1e-3
"""Of a voxel: less than that is the rounding of an interpolated mask."""


@dataclass(frozen=True)
class StructureDose:
    """The dose in a structure.

    dose_gy (N,): of the dose's voxels that touch it, in descending order. ml (N,): how much of each belongs
    to it. What of the structure lies beyond the dose's grid is one entry of 0 Gy.
    """

    dose_gy: NDArray[np.float64]
    ml: NDArray[np.float64]

    @classmethod
    def of(cls, dose_gy: Volume, structure: Volume, structure_from_dose: Affine | None = None) -> Self:
        """dose_gy: in Gy, negative values as 0. structure: mask, or share of each voxel, on its own grid.

        structure_from_dose: from the dose's world into the structure's (identity if None).
        """
        points = supersampling_for(structure.grid, dose_gy.grid, structure_from_dose)
        near = _near(
            structure, dose_gy.grid, np.eye(4) if structure_from_dose is None else structure_from_dose
        )
        grid = dose_gy.grid.part(near)
        share = resample(structure, grid, structure_from_dose, order=1, supersampling=points).data
        touched = share >= LEAST_SHARE
        values = np.maximum(np.asarray(dose_gy.data[near][touched], dtype=np.float64), 0)
        ml = share[touched].astype(np.float64) * dose_gy.grid.voxel_ml
        whole_ml = float(structure.data.sum(dtype=np.float64)) * structure.grid.voxel_ml
        beyond_ml = max(0.0, whole_ml - float(ml.sum()))
        order = np.argsort(-values, kind="stable")
        return cls(np.append(values[order], 0.0), np.append(ml[order], beyond_ml))

    @property
    def total_ml(self) -> float:
        """Volume of the structure."""
        return float(self.ml.sum())

    @property
    def integral_gy_ml(self) -> float:
        """Sum of dose times volume."""
        return float((self.dose_gy * self.ml).sum())

    @property
    def max_gy(self) -> float:
        """The largest dose of a voxel that touches the structure."""
        return float(self.dose_gy[0])

    @property
    def mean_gy(self) -> float:
        """Mean dose of a structure that is not empty."""
        return self.integral_gy_ml / self.total_ml

    def volume_ml(self, level_gy: float) -> float:
        """How much of the structure gets a dose or more."""
        return float(self.volumes_ml(np.array([level_gy]))[0])

    def volumes_ml(self, levels_gy: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of many doses (K,): a cumulative dose-volume histogram."""
        reached = np.append(0.0, self.ml.cumsum())
        # of float32 voxels: 57 Gy stored as 56.999998 is 57 Gy
        found: NDArray[np.float64] = reached[np.searchsorted(-self.dose_gy, 1e-4 - levels_gy, side="right")]
        return found

    def hottest_gy(self, share: float) -> float:
        """The dose that a share of the structure gets or more: D2% at 0.02."""
        reached = self.ml.cumsum()
        place = min(int(np.searchsorted(reached, share * reached[-1])), len(reached) - 1)
        return float(self.dose_gy[place])

    def equivalent_uniform_gy(self, a: float) -> float:
        """Generalised equivalent uniform dose, (mean of dose^a)^(1/a) (Niemierko 1999)."""
        if self.max_gy <= 0:
            return 0.0
        # of shares of the largest dose, whose powers stay in range
        shares = (self.dose_gy / self.max_gy) ** a
        return self.max_gy * float(np.average(shares, weights=self.ml) ** (1 / a))


def _near(structure: Volume, grid: Grid, structure_from_grid: Affine) -> tuple[slice, slice, slice]:
    """The part of a grid that a structure can touch: all of it where there is none."""
    inside = np.asarray(structure.data, dtype=np.float32) > 0
    if not inside.any():
        x, y, z = (slice(0, n) for n in grid.shape)
        return x, y, z
    low, high = bounding_box_mm(Volume(inside, structure.grid))
    # a voxel beyond it, interpolation still sees the structure
    reach_mm = np.linalg.norm(structure.grid.spacing_mm)
    corners = np.array(np.meshgrid(*zip(low - reach_mm, high + reach_mm, strict=True))).reshape(3, 8)
    grid_from_structure = inverse(structure_from_grid)
    voxels = grid.voxel((grid_from_structure[:3, :3] @ corners + grid_from_structure[:3, 3:]).T)
    first = np.clip(np.floor(voxels.min(axis=0)), 0, np.array(grid.shape) - 1).astype(int)
    last = np.clip(np.ceil(voxels.max(axis=0)), first, np.array(grid.shape) - 1).astype(int)
    x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return x, y, z
