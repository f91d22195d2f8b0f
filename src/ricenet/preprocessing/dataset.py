"""Preprocessed subjects as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.network_input import read_network_input
from ricenet.vocabulary import channels

if TYPE_CHECKING:
    import torch


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
    chosen = read_network_input(preprocessed / subject, subject, channels(modality_set), cube_voxels)
    return chosen.astype(np.float32)
