"""What the voxel values mean to the network: z-scores for MRI, a physical unit for dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import ScanError

FloatArray = NDArray[np.float32]


def zscore_in_brain(t1ce: FloatArray, brain: NDArray[np.bool_], subject: str, scan: str) -> FloatArray:
    """Standardise by the mean and SD of brain voxels; background becomes 0.

    t1ce: (X, Y, Z), scanner units. brain: (X, Y, Z), same grid.
    Returns (X, Y, Z) float32, in SDs of the brain.
    Raises ScanError: empty brain, or constant within it.
    Source: RICE-NET 2.1 (z-scoring); deviation: statistics over brain voxels only.
    """
    if not brain.any():
        raise ScanError(
            subject, scan, "the brain mask is empty within the cube", "Check preprocessing.spacing_mm."
        )
    inside = t1ce[brain].astype(np.float64)
    mean, sd = inside.mean(), inside.std()
    if sd == 0:
        raise ScanError(
            subject,
            scan,
            f"every brain voxel is {mean:g}",
            "Check that the scan overlaps with the post-op scan.",
        )
    result = np.zeros(t1ce.shape, dtype=np.float32)
    result[brain] = (inside - mean) / sd
    return result


def dose_in_units(dose_gy: FloatArray, unit_gy: float) -> FloatArray:
    """The dose as a multiple of `unit_gy`; never z-scored, so that 60 Gy is 60 Gy in every subject.

    Source: RICE-NET 2.1; deviation: the paper's z-scoring is not applied to the dose, because the
    absolute level is what radiobiology knows about radiation necrosis.
    """
    scaled: FloatArray = (dose_gy / np.float32(unit_gy)).astype(np.float32)
    return scaled
