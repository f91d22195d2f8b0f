"""A brain mask that comes with the cohort: for scans that are already without their skull."""

from __future__ import annotations

from pathlib import Path

from ricenet.preprocessing.brain.extraction import PLAUSIBLE_BRAIN_ML
from ricenet.runtime.errors import ScanError
from ricenet.volume import Volume, load_nifti


def read_given_mask(path: Path, subject: str) -> Volume:
    """The mask in `path` (X, Y, Z), bool: what is above one half.

    HD-BET is trained on heads with a skull; where a collection ships scans without, its own mask is used.
    Raises ScanError: of a volume that no brain can have.
    """
    volume = load_nifti(path)
    mask = Volume(volume.data > 0.5, volume.grid)
    volume_ml = float(mask.data.sum()) * mask.grid.voxel_ml
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume_ml <= high:
        raise ScanError(
            subject,
            path.name,
            f"the brain mask holds {volume_ml:.0f} ml, expected {low:.0f} to {high:.0f} ml",
            "Check that it is the whole brain's mask, or remove the file so that HD-BET makes one.",
        )
    return mask
