"""What voxel values mean to the network: z-scores or a physical unit of MRI, a physical unit of dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import ScanError
from ricenet.vocabulary import VolumeSpec

FloatArray = NDArray[np.float32]


def mri_in_brain(values: FloatArray, brain: NDArray[np.bool_], spec: VolumeSpec, subject: str) -> FloatArray:
    """An MRI as the network sees it: z-scored, or a quantitative one in multiples of its `scale`; 0 outside.

    values: (X, Y, Z), scanner units. brain: (X, Y, Z), same grid.
    Raises ScanError: as `zscore_in_brain`.
    """
    if spec.scale is None:
        return zscore_in_brain(values, brain, subject, spec.title)
    require_brain(brain, subject, spec.title)
    return np.where(brain, values / np.float32(spec.scale), 0).astype(np.float32)


def zscore_in_brain(t1ce: FloatArray, brain: NDArray[np.bool_], subject: str, scan: str) -> FloatArray:
    """Standardise by the mean and SD of brain voxels; background becomes 0.

    t1ce: (X, Y, Z), scanner units. brain: (X, Y, Z), same grid.
    Returns (X, Y, Z) float32, in SDs of the brain.
    Raises ScanError: empty brain, or constant within it.
    Source: RICE-NET 2.1 (z-scoring); deviation: statistics over brain voxels only.
    """
    require_brain(brain, subject, scan)
    inside = t1ce[brain].astype(np.float64)
    mean, sd = inside.mean(), inside.std()
    if sd == 0:
        found = f"every brain voxel is {mean:g}"
        raise ScanError(subject, scan, found, "Check that the scan overlaps with the reference MRI.")
    result = np.zeros(t1ce.shape, dtype=np.float32)
    result[brain] = (inside - mean) / sd
    return result


def require_brain(brain: NDArray[np.bool_], subject: str, scan: str) -> None:
    """Refuse an empty brain mask. Raises ScanError."""
    if not brain.any():
        found = "the brain mask is empty within the cube"
        raise ScanError(subject, scan, found, "Check preprocessing.spacing_mm.")


def dose_in_units(dose_gy: FloatArray, unit_gy: float) -> FloatArray:
    """The dose as a multiple of `unit_gy`; never z-scored, so that 60 Gy is 60 Gy in every subject.

    Source: RICE-NET 2.1; deviation: the paper's z-scoring is not applied to the dose, because the
    absolute level is what radiobiology knows about radiation necrosis.
    """
    scaled: FloatArray = (dose_gy / np.float32(unit_gy)).astype(np.float32)
    return scaled
