"""The dose where the new lesion lies, of subjects whose lesion was segmented."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.config.inputs import InputGrid
from ricenet.preprocessing.measurements import Measurements
from ricenet.preprocessing.network_input import map_volume
from ricenet.volume import load_nifti, resample, supersampling_for

LESION_DOSE = ("lesion_dose_gy", "lesion_gradient_gy_mm")


def dose_at_lesion(raw: RawSubject, folder: Path, head: InputGrid, dose_unit_gy: float) -> dict[str, float]:
    """Mean dose in the new lesion, and mean size of the dose's gradient there.

    folder: of the preprocessed subject. head: the grid of the whole head, on which both are taken: voxels
    that the lesion fills in part count in part. dose_unit_gy: of the preprocessed dose, which is EQD2 where
    that was asked for. Empty without a mask or a dose, or where the lesion lies outside the head's cube.
    Raises ResultError, ScanError: preprocessed files are missing or damaged.
    """
    measured, dose = Measurements.of_subject(folder), raw.volumes.dose
    if dose is None or measured.dose is None or not is_there(raw.lesion_mask):
        return {}
    cube, mask = measured.cube(head.voxels), load_nifti(raw.lesion_mask)
    # a synthetic cohort's masks are all in the space of the reference MRI
    own = raw.lesion_mask.is_relative_to(raw.folder)
    last = raw.volumes.last_session_reference.name
    mask_from_cube = measured.world_from_reference(last) if own else np.eye(4)
    points = supersampling_for(mask.grid, cube, mask_from_cube)
    share = resample(mask, cube, mask_from_cube, supersampling=points).data
    if not share.any():
        return {}
    dose_gy = map_volume(folder, raw.subject, dose.name, head).astype(np.float64) * dose_unit_gy
    gradient = np.sqrt(sum(part**2 for part in np.gradient(dose_gy, *cube.spacing_mm)))
    means = (float(np.average(values, weights=share)) for values in (dose_gy, gradient))
    return dict(zip(LESION_DOSE, means, strict=True))
