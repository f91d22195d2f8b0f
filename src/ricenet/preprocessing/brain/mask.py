"""Step 2: the brain of the post-operative scan, given with the cohort or found by HD-BET."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams
from ricenet.preprocessing.brain.extraction import extract_brain
from ricenet.preprocessing.brain.given_mask import read_given_mask
from ricenet.runtime.files import read_json, write_json
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

BRAIN_MASK = "brain_mask.nii.gz"
AFFINE_FILE = "brain_mask.json"


def find_brain(raw: RawSubject, params: BrainParams) -> Volume:
    """The brain mask (X, Y, Z) bool, on its own grid.

    Raises ScanError: no brain was found, or one that nobody has.
    """
    if raw.brain_mask.is_file():
        return read_given_mask(raw.brain_mask, raw.subject)
    return extract_brain(
        load_nifti(raw.scan("post_op")),
        raw.subject,
        mode=params.mode,
        mirroring=params.mirroring,
        precision=params.precision,
        device=params.device,
        engine=params.engine,
    )


def write_brain(mask: Volume, folder: Path) -> None:
    """Write the mask as NIfTI, and its affine, of which NIfTI keeps 24 bits only, as JSON."""
    save_nifti(mask, folder / BRAIN_MASK)
    write_json(folder / AFFINE_FILE, mask.grid.affine.tolist())


def read_brain(folder: Path) -> Volume:
    """Read what `write_brain` wrote, to the last bit."""
    mask = load_nifti(folder / BRAIN_MASK)
    affine = np.array(read_json(folder / AFFINE_FILE), dtype=np.float64)
    return Volume(mask.data > 0.5, Grid(mask.grid.shape, affine))
