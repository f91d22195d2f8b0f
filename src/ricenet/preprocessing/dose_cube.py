"""The dose of the whole course: on the network's cube, by its biological effect, and where it is high."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.cohort.placement import HIGH_DOSE, LEAST_INSIDE
from ricenet.runtime.errors import ScanError
from ricenet.volume import Affine, Volume

REFERENCE_GY = 2.0
"""Dose of a fraction of the reference schedule."""

PLATEAU_SHARE = 0.01
"""Of the brain, that gets more than the plateau dose: hot spots do not count."""

TARGET_SHARE = 0.95
"""Of the plateau dose, above which a voxel is counted to the planning target volume."""


def course_as_eqd2(dose: Volume, sidecar: DoseSidecar, alpha_beta_gy: float, subject: str) -> Volume:
    """The whole course's dose as EQD2, the equivalent dose in fractions of 2 Gy, on its own grid.

    dose: (X, Y, Z) Gy as in the file, of one fraction or of the course. alpha_beta_gy: of the tissue.
    Returns (X, Y, Z) Gy EQD2 of the whole course: EQD2 = D (D / n + ab) / (2 + ab).

    It comes before the interpolation to the cube: the effect is one of tissue at a point, and grows
    faster than the dose; so the mean effect in a coarse voxel is more than the effect of its mean dose.
    Raises ScanError: the number of fractions is not known, the dose is already weighted by effect, or
    it is the sum of several plans.
    Source: Withers, Thames and Peters, Radiother. Oncol. 1 (1983) 187-191; Joiner and van der Kogel,
    Basic Clinical Radiobiology, 5th ed. (2018), chapter on fractionation (linear-quadratic model).
    """
    fractions = _fractions_of_one_schedule(sidecar, subject)
    course_gy = np.maximum(np.asarray(dose.data, dtype=np.float64), 0) * sidecar.factor
    eqd2_gy = course_gy * (course_gy / fractions + alpha_beta_gy) / (REFERENCE_GY + alpha_beta_gy)
    return Volume(eqd2_gy.astype(np.float32), dose.grid)


def dose_source(
    given: Volume, sidecar: DoseSidecar, alpha_beta_gy: float | None, subject: str
) -> tuple[Volume, float]:
    """What is interpolated to the network's grids, and the factor that makes it the whole course's dose in
    Gy.

    The file's dose, or its EQD2 where alpha_beta_gy asks for that. Raises ScanError: as `course_as_eqd2`.
    """
    if alpha_beta_gy is None:
        return given, sidecar.factor
    return course_as_eqd2(given, sidecar, alpha_beta_gy, subject), 1.0


def _fractions_of_one_schedule(sidecar: DoseSidecar, subject: str) -> int:
    if sidecar.dose_type == "EFFECTIVE":
        found = "DoseType is EFFECTIVE: it is weighted by biological effect already and cannot become EQD2"
        remedy = "Use the physical dose"
    elif sidecar.of_several_plans:
        found = (
            "the doses of several plans were summed: their doses per fraction differ from voxel to voxel and "
            "are lost in the sum, so it cannot become EQD2"
        )
        remedy = "Use subjects of one plan"
    elif sidecar.fractions is None:
        found, remedy = "without NumberOfFractions, which EQD2 needs", "Write it into the dose's JSON"
    else:
        return sidecar.fractions
    raise ScanError(subject, "dose", found, f"{remedy}, or set preprocessing.eqd2_alpha_beta_gy to null.")


def require_dose_in_brain(dose: Volume, brain: Volume, brain_from_dose: Affine, subject: str) -> None:
    """Refuse a dose whose high dose misses the brain: it belongs to another patient or space.

    dose: (X, Y, Z) as in the file, on its own grid. brain: mask on its own grid. Raises ScanError.
    """
    data = np.asarray(dose.data)
    high_mm = dose.grid.world_mm(np.argwhere(data >= HIGH_DOSE * data.max()).astype(np.float64))
    voxels = np.rint(brain.grid.voxel(high_mm @ brain_from_dose[:3, :3].T + brain_from_dose[:3, 3])).astype(
        int
    )
    shown = ((voxels >= 0) & (voxels < brain.grid.shape)).all(axis=1)
    share = float(np.asarray(brain.data)[tuple(voxels[shown].T)].sum()) / len(voxels)
    if not data.max() > 0 or share < LEAST_INSIDE:
        raise ScanError(
            subject,
            "dose",
            f"the course's high dose does not lie in the brain: {share:.0%} of the voxels above "
            f"{HIGH_DOSE:.0%} of the largest dose do, expected at least {LEAST_INSIDE:.0%}",
            "Check that the file is this patient's and lies in the space of its session's MRI.",
        )


def plateau_gy(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    """Dose of the high-dose plateau: what PLATEAU_SHARE of the brain gets or more."""
    return float(np.percentile(dose_gy[brain], 100 * (1 - PLATEAU_SHARE)))


def target(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The estimated planning target volume within the brain (X, Y, Z): what gets 95 % of the plateau dose.

    Plans are not among the data.
    """
    threshold = TARGET_SHARE * plateau_gy(dose_gy, brain)
    result: NDArray[np.bool_] = brain & (dose_gy >= threshold) & (dose_gy > 0)
    return result


def high_dose_regions(
    dose_gy: NDArray[np.float32], brain: NDArray[np.bool_], isodose: float
) -> tuple[NDArray[np.float64], int, float]:
    """The regions of the brain within an isodose: where the largest lies, how many, how large the second is.

    isodose: share of the plateau dose. Returns the centroid (3,) of the largest region in voxels, the number
    of regions that touch by no face, and the second's size over the largest's (0 where there is one).
    """
    from scipy import ndimage

    labels, count = ndimage.label(brain & (dose_gy >= isodose * plateau_gy(dose_gy, brain)) & (dose_gy > 0))
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    largest = int(sizes.argmax())
    second = float(np.sort(sizes)[-2] / sizes[largest]) if count > 1 else 0.0
    return np.array(ndimage.center_of_mass(labels == largest + 1)), int(count), second


def isocentre_voxel(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Estimate of the isocentre, in voxels: centroid of the largest region above 95 % of the plateau.

    The plan's own isocentre is not among the data; for a single course the middle of its high-dose
    region lies near it. Returns (3,) voxel coordinates; the middle of the cube if there is no dose.
    """
    from scipy import ndimage

    threshold = TARGET_SHARE * plateau_gy(dose_gy, brain)
    if threshold <= 0:
        return (np.array(dose_gy.shape) - 1) / 2
    regions, _ = ndimage.label(dose_gy >= threshold)
    largest = int(np.argmax(np.bincount(regions.ravel())[1:])) + 1
    return np.array(ndimage.center_of_mass(regions == largest))
