"""What voxel values mean to the network: z-scores or a physical unit of MRI, a physical unit of dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.errors import ScanError
from ricenet.vocabulary import VolumeSpec

FloatArray = NDArray[np.float32]


def scaling_in_brain(
    values: FloatArray, brain: NDArray[np.bool_], spec: VolumeSpec, subject: str
) -> tuple[float, float]:
    """What the network sees of an MRI is its distance from the first number, in units of the second.

    values: (X, Y, Z), scanner units. brain: (X, Y, Z), same grid. Mean and SD of brain voxels; of a
    quantitative MRI 0 and its `scale`. Raises ScanError: empty brain, or constant within it.
    Source: RICE-NET 2.1 (z-scoring); deviation: statistics over brain voxels only.
    """
    require_brain(brain, subject, spec.title)
    if spec.scale is not None:
        return 0.0, spec.scale
    inside = values[brain].astype(np.float64)
    mean, sd = float(inside.mean()), float(inside.std())
    if sd == 0:
        found = f"every brain voxel is {mean:g}"
        raise ScanError(subject, spec.title, found, "Check that the scan overlaps with the reference MRI.")
    return mean, sd


def standardised(values: FloatArray, brain: NDArray[np.bool_], mean: float, sd: float) -> FloatArray:
    """(X, Y, Z) float32: (values - mean) / sd in the brain, exactly 0 outside."""
    result = np.zeros(values.shape, dtype=np.float32)
    result[brain] = (values[brain].astype(np.float64) - mean) / sd
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
