"""Preprocessed subjects as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.errors import ScanError
from ricenet.modalities import MODALITIES, channels

if TYPE_CHECKING:
    import torch

VOLUMES_FILE = "volumes.npy"
_REMEDY = "Run `dvc repro preprocess`; if it stays, delete the subject's folder under work/preprocessed first"


def load_volumes(
    preprocessed: Path, subjects: Sequence[str], modality_set: str, cube_voxels: int
) -> torch.Tensor:
    """Read the channels of a modality set of several subjects.

    preprocessed: the folder with a folder per subject.
    Returns (N, C, X, Y, Z) float32, subjects in the order given, channels in that of MODALITIES.
    Raises ScanError: a missing, unreadable or misshapen file, or values that are not finite.
    """
    import torch

    stacked = np.empty((len(subjects), len(channels(modality_set)), *(cube_voxels,) * 3), np.float32)
    for position, subject in enumerate(subjects):
        stacked[position] = load_subject(preprocessed, subject, modality_set, cube_voxels)
    return torch.from_numpy(stacked)


def load_subject(
    preprocessed: Path, subject: str, modality_set: str, cube_voxels: int
) -> NDArray[np.float32]:
    """Read the channels of a modality set of one subject, (C, X, Y, Z) float32.

    Raises ScanError: a missing, unreadable or misshapen file, or values that are not finite.
    """
    path = preprocessed / subject / VOLUMES_FILE
    if not path.is_file():
        raise ScanError(subject, VOLUMES_FILE, f"not found in {path.parent}", _REMEDY)
    try:
        # mapped, so that only the channels of the set are read
        volumes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ScanError(subject, VOLUMES_FILE, f"cannot be read ({error})", _REMEDY) from None
    expected = (len(MODALITIES), *(cube_voxels,) * 3)
    if volumes.shape != expected:
        raise ScanError(subject, VOLUMES_FILE, f"shape {volumes.shape}, expected {expected}", _REMEDY)
    chosen = np.asarray(volumes[channels(modality_set)], dtype=np.float32)
    for index, values in zip(channels(modality_set), chosen, strict=True):
        if not np.isfinite(values).all():
            found = f"{int((~np.isfinite(values)).sum())} voxel(s) of {MODALITIES[index]} are not finite"
            raise ScanError(subject, VOLUMES_FILE, found, _REMEDY)
    return chosen
