"""The box that holds the brain of every subject: the part of the cube that the input `brain` shows.

Beside brains a cube holds background, and dose that no brain received; at 1 mm they are half of it or more.
The box is found once, from the brain masks of all preprocessed subjects, those of the test set among them,
and is the same for every fold and modality set. Labels have no part in it, and neither has any intensity or
dose, so that it tells a network nothing. This input is ours; the paper's networks see the whole cube.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.config.inputs import Box, InputGrid
from ricenet.preprocessing.derivative_files import brain_file
from ricenet.runtime.errors import ScanError
from ricenet.runtime.tables import require
from ricenet.volume import Volume, load_nifti

MARGIN_MM = 4.0
"""Around the outermost voxels of the brains, rounded up to whole voxels: room for a new subject's brain."""

MULTIPLE = 2
"""Sizes are multiples of the first stride, so that no voxel at the end is without its neighbour."""

LEAST_VOXELS = 8
"""Along each axis, as cubes and crops have. Of fewer than a stem's 7, gradients of torch 2.13.0 write into
memory that is not theirs."""

_REMEDY = "Run `dvc repro preprocess`"


def cohort_box(preprocessed: Path, subjects: Sequence[str], head: InputGrid) -> Box:
    """The box of some subjects' brains. preprocessed: a folder with a folder a subject. head: the cube.

    Raises ScanError: a mask of another size, or an empty one. ResultError: a mask that is missing.
    """
    ends = [_ends(_mask(preprocessed / subject, subject, head), subject) for subject in subjects]
    low, high = np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)
    return box_around(low, high, head.voxels, math.ceil(MARGIN_MM / head.spacing_mm))


def box_around(low: NDArray[np.int64], high: NDArray[np.int64], voxels: int, margin: int) -> Box:
    """The box around voxels with a margin, within a cube. low, high: (3,) first and last voxel. voxels: of
    the cube along each axis.

    What sizes are rounded up by lies at the higher end, or at the lower one where the cube ends.
    """
    first, end = np.maximum(low - margin, 0), np.minimum(high + 1 + margin, voxels)
    even = -(-(end - first) // MULTIPLE) * MULTIPLE
    size = np.minimum(np.maximum(even, LEAST_VOXELS), voxels)
    x, y, z = np.minimum(first, voxels - size).tolist()
    nx, ny, nz = size.tolist()
    return Box(first=(x, y, z), shape=(nx, ny, nz))


def beyond_box_ml(brain: Volume, box: Box) -> float:
    """How much of a brain lies outside. brain: mask on the cube."""
    mask = np.asarray(brain.data, np.bool_)
    return int(mask.sum() - mask[box.part].sum()) * brain.grid.voxel_ml


def _mask(folder: Path, subject: str, head: InputGrid) -> NDArray[np.bool_]:
    path = require(folder / brain_file(subject, head.suffix), "preprocess")
    mask = load_nifti(path).data > 0.5
    if mask.shape != head.shape:
        found = f"shape {mask.shape}, expected {head.shape}"
        raise ScanError(subject, path.name, found, _REMEDY)
    return mask


def _ends(mask: NDArray[np.bool_], subject: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last voxel (3,) of a mask along each axis."""
    along = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(along[0]):
        raise ScanError(subject, Path(brain_file(subject)).name, "the brain mask is empty", _REMEDY)
    return np.array([found[0] for found in along]), np.array([found[-1] for found in along])
