"""Where intensity 0 of a raw MRI lies among its z-scores, which a multiplicative field needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject
from ricenet.preprocessing.cube import INTERPOLATION_ORDER, on_cube
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import ResultError
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import require
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, load_nifti

_TOLERANCE_SD, _RELATIVE_TOLERANCE = 0.02, 2**-10
"""float16 rounds a z-score by 2**-11 of its size at most, which a hot voxel's z above 64 shows."""


def brain_means_sd(
    cohort: Path, preprocessed: Path, subject: str, brain: Volume, volumes: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """The raw MRIs' mean within the brain, in SDs of the brain; typically 4 to 6 for T1 with contrast agent.

    Preprocessing keeps z = (raw - mean) / SD alone. The raw scan, interpolated onto the cube as it was then,
    has both again, and must give the same z. brain: on the cube. volumes: (X, Y, Z) by name, the network's
    input.
    Raises ResultError: provenance is missing, or the raw scan is missing or gives other z-scores.
    """
    made = read_json(require(preprocessed / subject / "provenance.json", "preprocess"))
    order = INTERPOLATION_ORDER[made["parameters"]["interpolation"]]
    measured = Measurements.of_subject(preprocessed / subject)
    inside = brain.data > 0.5
    box = _box(inside)
    grid = _part(brain.grid, box)
    means: dict[str, float] = {}
    for modality in (spec.name for spec in PAPER_VOLUMES.mris if spec.name in volumes):
        path = RawSubject(cohort, subject).scan(modality)
        if not path.is_file():
            raise ResultError(
                f"{subject}: the raw {modality} scan is missing ({path}). A bias field multiplies raw "
                "intensities: put the scan back, or set robustness.bias_field to []"
            )
        transform = measured.world_from_reference(modality)
        raw = on_cube(load_nifti(path), grid, order, transform)[inside[box]].astype(np.float64)
        expected = volumes[modality][inside]
        means[modality] = _mean_in_sds(raw, expected, subject, modality)
    return means


def _box(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The smallest box of voxels around a mask (X, Y, Z) that is not empty."""
    x, y, z = (slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(inside))
    return x, y, z


def _part(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of a box of a grid's voxels."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world_mm(np.array([part.start for part in box], dtype=np.float64))
    x, y, z = (part.stop - part.start for part in box)
    return Grid((x, y, z), affine)


def _mean_in_sds(
    raw: NDArray[np.float64], z_scores: NDArray[np.float32], subject: str, modality: str
) -> float:
    mean, sd = float(raw.mean()), float(raw.std())
    difference = np.abs((raw - mean) / sd - z_scores) if sd > 0 else np.full(z_scores.shape, np.inf)
    beyond = difference > _TOLERANCE_SD + _RELATIVE_TOLERANCE * np.abs(z_scores)
    if beyond.any():
        worst = difference[beyond].max()
        raise ResultError(
            f"{subject}: the raw {modality} scan gives z-scores up to {worst:.2f} SD away from the "
            "preprocessed ones, so it is not the scan that was preprocessed. Run `dvc repro preprocess`"
        )
    return mean / sd
