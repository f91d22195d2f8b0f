"""The dose in the brain and in each known mask of a subject, on the dose's own grid: for its histogram."""

from __future__ import annotations

from pathlib import Path

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.evaluation.anatomy_figure import read_known_masks
from ricenet.preprocessing.brain.extraction import BRAIN_MASK
from ricenet.preprocessing.dose_cube import dose_source
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.tables import require
from ricenet.volume import inverse, load_nifti


def structure_doses(raw: RawSubject, folder: Path) -> dict[str, StructureDose]:
    """By structure: `brain`, as it was found, then the masks that a cohort's maker knows; empty without dose.

    folder: of the preprocessed subject. The dose is the whole course's, EQD2 where preprocessing made it so.
    Raises ResultError: a file of preprocessing is missing, or of another version.
    """
    measured, spec = Measurements.of_subject(folder), raw.volumes.dose
    if spec is None or measured.dose is None:
        return {}
    sidecar = read_dose_sidecar(raw.dose_sidecar)
    given = load_nifti(raw.scan(spec.name))
    source, factor = dose_source(given, sidecar, measured.dose.eqd2_alpha_beta_gy, raw.subject)
    dose_gy, from_dose = source.times(factor), inverse(measured.world_of(spec, raw.volumes))
    brain = load_nifti(require(folder / BRAIN_MASK, "preprocess"))
    structures = {"brain": brain, **read_known_masks(raw.cohort, raw.subject)}
    return {name: StructureDose.of(dose_gy, mask, from_dose) for name, mask in structures.items()}
