"""Step 3: every volume on the network's cube, each interpolated once from its raw grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import DoseSidecar, read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import PreprocessingParams
from ricenet.preprocessing.eqd2 import course_as_eqd2
from ricenet.preprocessing.intensity import zscore_in_brain
from ricenet.preprocessing.registration.ants import RigidResult
from ricenet.runtime.errors import ScanError
from ricenet.vocabulary import Modality
from ricenet.volume import Affine, Grid, Volume, inverse, load_nifti, resample, supersampling_for

LEAST_COVERAGE = 0.95
INTERPOLATION_ORDER = {"linear": 1, "bspline": 3}


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


def make_cube(
    raw: RawSubject, params: PreprocessingParams, registration: RigidResult, head_mask: Volume
) -> PreprocessedSubject:
    """Bring every volume to the cube around the brain, in its physical unit or in SDs.

    The post-operative scan's world is everybody's: the dose file lies in it, and the event scan comes into
    it by the registration. head_mask: the brain, on its own grid. Of `params`, those of earlier steps are
    not read.
    Raises ScanError: brain larger than the cube, an event scan that leaves much of it out, a dose that
    misses it or that cannot become EQD2 where that is asked for.
    Source: RICE-NET 2.1.
    """
    cube = brain_cube(head_mask, params.spacing_mm, params.cube_voxels, raw.subject)
    brain = on_cube(head_mask, cube, 1) >= 0.5
    order = INTERPOLATION_ORDER[params.interpolation]

    def standardised(scan: Modality, source_from_cube: Affine | None = None) -> Volume:
        volume = load_nifti(raw.scan(scan))
        if source_from_cube is not None:
            require_coverage(volume.grid, cube, brain, source_from_cube, raw.subject)
        values = on_cube(volume, cube, order, source_from_cube)
        return Volume(zscore_in_brain(values, brain, raw.subject, scan), cube)

    sidecar = read_dose_sidecar(raw.dose_sidecar)
    dose, factor = _course_dose(load_nifti(raw.scan("dose")), sidecar, params.eqd2_alpha_beta_gy, raw.subject)
    return PreprocessedSubject(
        post_op=standardised("post_op"),
        event=standardised("event", registration.moving_from_fixed),
        dose=Volume(cumulative_dose_gy(dose, cube, factor, brain, raw.subject), cube),
        brain=Volume(brain, cube),
        registration=registration,
        dose_factor=sidecar.factor,
        brain_mask=head_mask,
        eqd2_alpha_beta_gy=params.eqd2_alpha_beta_gy,
    )


def brain_cube(brain: Volume, spacing_mm: float, voxels: int, subject: str) -> Grid:
    """The isotropic cube centred on the middle of the brain's bounding box along the world axes.

    Raises ScanError: the brain would be cut off.
    """
    from scipy import ndimage

    # the surface says it all, and is small where a mask is fine
    surface = np.logical_and(brain.data, ~ndimage.binary_erosion(brain.data))
    world = brain.grid.world_mm(np.argwhere(surface).astype(np.float64))
    low, high = world.min(axis=0), world.max(axis=0)
    extent_mm, cube_mm = float((high - low).max()), spacing_mm * voxels
    if extent_mm > cube_mm:
        raise ScanError(
            subject,
            "brain mask",
            f"the brain is {extent_mm:.0f} mm long, the cube {cube_mm:.0f} mm",
            "Raise preprocessing.cube_voxels or preprocessing.spacing_mm.",
        )
    return Grid.cube((low + high) / 2, spacing_mm, voxels)


def require_coverage(
    event: Grid, cube: Grid, brain: NDArray[np.bool_], event_from_cube: Affine, subject: str
) -> None:
    """Refuse an event scan that leaves much of the brain out: what it lacks would pass for tissue.

    Raises ScanError.
    """
    points_mm = cube.world_mm(np.argwhere(brain).astype(np.float64))
    voxel_from_cube_world = inverse(event.affine) @ event_from_cube
    voxels = points_mm @ voxel_from_cube_world[:3, :3].T + voxel_from_cube_world[:3, 3]
    seen = np.all((voxels >= -0.5) & (voxels <= np.array(event.shape) - 0.5), axis=1)
    share = float(seen.mean()) if seen.size else 0.0
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
    dose_gy = np.maximum(on_cube(dose, cube, 1), 0) * np.float32(factor)
    if not (dose_gy[brain] > 0).any():
        raise ScanError(
            subject,
            "dose",
            "no dose within the brain",
            "Check that the file is this patient's and lies in the post-op scan's space.",
        )
    return dose_gy


def on_cube(
    volume: Volume, cube: Grid, order: int, source_from_cube: Affine | None = None
) -> NDArray[np.float32]:
    """A volume's values on the cube, in one interpolation with the low-pass filter that it needs."""
    points = supersampling_for(volume.grid, cube, source_from_cube)
    return np.asarray(resample(volume, cube, source_from_cube, order, points).data, dtype=np.float32)


def _course_dose(
    dose: Volume, sidecar: DoseSidecar, alpha_beta_gy: float | None, subject: str
) -> tuple[Volume, float]:
    """The dose on its own grid, and what it is multiplied by once it is on the cube."""
    if alpha_beta_gy is None:
        return dose, sidecar.factor
    return course_as_eqd2(dose, sidecar, alpha_beta_gy, subject), 1.0
