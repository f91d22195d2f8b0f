"""What is written of a preprocessed subject: the network's array, NIfTI for people, and provenance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ricenet.preprocessing.brain.mask import BRAIN_MASK
from ricenet.preprocessing.cube import PreprocessedSubject
from ricenet.preprocessing.intensity import dose_in_units
from ricenet.preprocessing.network_input import write_network_input
from ricenet.runtime.files import write_json
from ricenet.volume import save_nifti


def write_subject(
    result: PreprocessedSubject,
    folder: Path,
    subject: str,
    dose_unit_gy: float,
    provenance: dict[str, object],
) -> None:
    """Write the network's array, NIfTI files for people, and how they were made.

    Raises ScanError: a value that float16 cannot hold.
    """
    post_op, event, dose_gy = (v.data.astype(np.float32) for v in (result.post_op, result.event, result.dose))
    write_network_input([post_op, event, dose_in_units(dose_gy, dose_unit_gy)], folder, subject)
    for name in ("post_op", "event", "dose", "brain"):
        save_nifti(getattr(result, name), folder / f"{name}.nii.gz")
    if result.brain_mask is not None:
        save_nifti(result.brain_mask, folder / BRAIN_MASK)
    write_json(folder / "provenance.json", provenance | measurements(result))


def measurements(result: PreprocessedSubject) -> dict[str, object]:
    """What was estimated and found for a subject: transforms, brain volume, dose."""
    eqd2 = result.eqd2_alpha_beta_gy
    return {
        "event_world_from_post_op_world": result.registration.moving_from_fixed.tolist(),
        "registration_normalised_mutual_information": result.registration.similarity,
        "registration_head_overlap": result.registration.overlap,
        "registration_searched": result.registration.searched,
        "brain_ml": float(result.brain.data.sum()) * result.brain.grid.voxel_ml,
        "dose_factor": result.dose_factor,
        "dose_max_gy": float(result.dose.data.max()),
        "cube_affine": result.brain.grid.affine.tolist(),
        **({} if eqd2 is None else {"dose_eqd2_alpha_beta_gy": eqd2}),
    }
