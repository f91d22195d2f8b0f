"""What guards need of a subject's preprocessed volumes: coarse copies, and how they are normalised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.intensity import dose_in_units
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import atomic_path, read_json, write_json
from ricenet.vocabulary import MODALITIES
from ricenet.volume import load_nifti

COARSE_MM = 6.0
"""Voxels of the coarse copies, or those of the cube where these are larger."""

COARSE_FILE, NUMBERS_FILE = "coarse.npy", "normalisation.json"

MRI_CHANNELS = 2
"""post_op and event come first among the channels."""

_REMEDY = "Run `dvc repro preprocess`; if it stays, delete the subject's folder under work/preprocessed first"


@dataclass(frozen=True)
class PreprocessedLook:
    """Of one subject. coarse: (3, X, Y, Z) float16, means of blocks of the network's input.

    means, sds: of both MRIs within the brain. outside: largest magnitude outside it.
    dose_error: largest difference of the dose channel from dose.nii.gz / unit, as float16, in units.
    """

    coarse: NDArray[np.float16]
    spacing_mm: float
    means: tuple[float, ...]
    sds: tuple[float, ...]
    outside: float
    dose_error: float


def look_at_preprocessed(folder: Path, subject: str, dose_unit_gy: float) -> PreprocessedLook:
    """Read a subject's volumes, brain and dose.

    Raises ScanError: they have different shapes, or the brain is empty.
    """
    files = [folder / volume_file(name) for name in MODALITIES]
    volumes: NDArray[Any] = np.stack([np.load(file, mmap_mode="r", allow_pickle=False) for file in files])
    brain_volume, dose = load_nifti(folder / "brain.nii.gz"), load_nifti(folder / "dose.nii.gz")
    brain = brain_volume.data >= 0.5
    if volumes.shape[1:] != brain.shape or brain.shape != dose.data.shape or not brain.any():
        found = f"shapes {volumes.shape[1:]}, {brain.shape} and {dose.data.shape} of volumes, brain and dose"
        raise ScanError(subject, "volumes", f"{found}, expected the same and a brain within", _REMEDY)
    inside = [volumes[channel][brain].astype(np.float64) for channel in range(MRI_CHANNELS)]
    outside = [np.abs(volumes[channel][~brain]).max(initial=0) for channel in range(MRI_CHANNELS)]
    dose_gy = np.asarray(dose.data, np.float32)
    expected = dose_in_units(dose_gy, dose_unit_gy).astype(np.float16)
    spacing = brain_volume.grid.spacing_mm[0]
    factor = max(1, int(COARSE_MM // spacing))
    return PreprocessedLook(
        coarse=np.stack([block_means(volume, factor) for volume in volumes]),
        spacing_mm=spacing * factor,
        means=tuple(float(values.mean()) for values in inside),
        sds=tuple(float(values.std()) for values in inside),
        outside=float(max(outside)),
        dose_error=float(np.abs(volumes[-1].astype(np.float32) - expected.astype(np.float32)).max()),
    )


def block_means(volume: NDArray[Any], factor: int) -> NDArray[np.float16]:
    """Means over blocks of `factor` voxels a side; what is left over at the upper ends is dropped."""
    x, y, z = (n // factor for n in volume.shape)
    whole = volume[: x * factor, : y * factor, : z * factor]
    blocks = whole.reshape(x, factor, y, factor, z, factor)
    means: NDArray[np.float16] = blocks.mean(axis=(1, 3, 5), dtype=np.float32).astype(np.float16)
    return means


def write_look(look: PreprocessedLook, folder: Path) -> None:
    """Keep it as two files."""
    with atomic_path(folder / COARSE_FILE) as path:
        np.save(path, look.coarse, allow_pickle=False)
    numbers = {name: value for name, value in vars(look).items() if name != "coarse"}
    write_json(folder / NUMBERS_FILE, numbers)


def read_look(folder: Path) -> PreprocessedLook:
    """Read what `write_look` wrote."""
    numbers = read_json(folder / NUMBERS_FILE)
    numbers |= {name: tuple(numbers[name]) for name in ("means", "sds")}
    return PreprocessedLook(np.load(folder / COARSE_FILE, allow_pickle=False), **numbers)
