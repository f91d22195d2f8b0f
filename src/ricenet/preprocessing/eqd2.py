"""Dose by its biological effect: the equivalent dose in fractions of 2 Gy."""

from __future__ import annotations

import numpy as np

from ricenet.cohort.dose_sidecar import DoseSidecar
from ricenet.runtime.errors import ScanError
from ricenet.volume import Volume

REFERENCE_GY = 2.0
"""Dose of a fraction of the reference schedule."""


def course_as_eqd2(dose: Volume, sidecar: DoseSidecar, alpha_beta_gy: float, subject: str) -> Volume:
    """The whole course's dose as EQD2, voxel by voxel on its own grid.

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


def _fractions_of_one_schedule(sidecar: DoseSidecar, subject: str) -> int:
    switch_off = "or set preprocessing.eqd2_alpha_beta_gy to null"
    if sidecar.dose_type == "EFFECTIVE":
        raise ScanError(
            subject,
            "dose",
            "DoseType is EFFECTIVE: it is weighted by biological effect already and cannot become EQD2",
            f"Use the physical dose, {switch_off}.",
        )
    if sidecar.of_several_plans:
        raise ScanError(
            subject,
            "dose",
            "the doses of several plans were summed: their doses per fraction differ from voxel to voxel, "
            "and the sum no longer tells them, so it cannot become EQD2",
            f"Use subjects of one plan, {switch_off}.",
        )
    if sidecar.fractions is None:
        raise ScanError(
            subject,
            "dose",
            "without NumberOfFractions, which EQD2 needs",
            f"Write it into the dose's JSON, {switch_off}.",
        )
    return sidecar.fractions
