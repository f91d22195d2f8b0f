"""What a table of scalars would know of each subject: a few numbers that need no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH, PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.participants import MISSING, read_participants
from ricenet.evaluation.evidence.baselines import SITE, Scalars
from ricenet.preprocessing.high_dose import plateau_gy
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import require, table_text
from ricenet.volume import Grid, load_nifti, resample

TARGET_SHARE = 0.95
"""Of the plateau dose, above which a voxel is counted to the planning target volume."""

SAMPLED_VOXELS = 64
"""Along each axis, at which raw intensities are looked at."""


def image_scalars(raw: RawSubject, preprocessed: Path) -> Scalars:
    """What a subject's volumes and masks give. preprocessed: the subject's folder there.

    Raises ResultError: a preprocessed volume is missing.
    """
    return {**_of_volumes(raw, preprocessed), **_of_masks(raw)}


def table_scalars(cohort: Path, subjects: Iterable[str]) -> dict[str, Scalars]:
    """What participants.tsv of a checked cohort says of some subjects."""
    table = read_participants(cohort / PARTICIPANTS_TABLE)
    return {
        subject: {
            **{name: _known(table.cells[subject].get(name)) for name in SITE},
            "days_rt_end_to_event": table.participants[subject].interval_days,
        }
        for subject in subjects
    }


def dose_scalars(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_], voxel_ml: float) -> Scalars:
    """Dose in the brain: largest, mean, shares of 20, 40 and 60 Gy or more, and the target's volume.

    dose_gy, brain: (X, Y, Z). The planning target volume is estimated as what gets 95 % of the plateau dose,
    in the brain; plans are not among the data.
    """
    inside = dose_gy[brain]
    return {
        "dose_max_gy": float(inside.max()),
        "dose_mean_gy": float(inside.mean(dtype=np.float64)),
        **{f"v{level}": float((inside >= level).mean()) for level in (20, 40, 60)},
        "ptv_ml": float(target(dose_gy, brain).sum()) * voxel_ml,
    }


def target(dose_gy: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The estimated planning target volume within the brain (X, Y, Z)."""
    threshold = TARGET_SHARE * plateau_gy(dose_gy, brain)
    result: NDArray[np.bool_] = brain & (dose_gy >= threshold) & (dose_gy > 0)
    return result


def scalars_table(scalars: Mapping[str, Scalars]) -> str:
    """TSV text, a row a subject; n/a where a value is not known."""
    names = list(next(iter(scalars.values()), {}))
    rows = [[subject, *(_cell(values[name]) for name in names)] for subject, values in scalars.items()]
    return table_text(["participant_id", *names], rows)


def _of_volumes(raw: RawSubject, folder: Path) -> Scalars:
    names = ("brain", "dose", "post_op", "event")
    volumes = {name: load_nifti(require(folder / f"{name}.nii.gz", "preprocess")) for name in names}
    grid, brain = volumes["brain"].grid, volumes["brain"].data > 0.5
    dose_gy = volumes["dose"].data.astype(np.float32)
    in_target = target(dose_gy, brain)
    scalars = dict(dose_scalars(dose_gy, brain, grid.voxel_ml))
    for name, (mean, sd) in _raw_intensities(raw, folder, grid, brain).items():
        scalars |= {f"{name}_mean": mean, f"{name}_sd": sd}
        scalars[f"{name}_in_ptv"] = float(volumes[name].data[in_target].mean()) if in_target.any() else None
    return scalars


def _raw_intensities(
    raw: RawSubject, folder: Path, grid: Grid, brain: NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    """Mean and SD of each MRI in the brain before z-scoring, in scanner units: a scanner's signature.

    Of some 100,000 points of the brain at most, evenly spread: more would not change a mean.
    """
    provenance = read_json(require(folder / "provenance.json", "preprocess"))
    to_event = np.array(provenance["event_world_from_post_op_world"], dtype=np.float64)
    step = -(-max(grid.shape) // SAMPLED_VOXELS)
    sparse = grid.every(step)
    inside = brain[::step, ::step, ::step]
    values = {
        "post_op": resample(load_nifti(raw.scan("post_op")), sparse).data[inside],
        "event": resample(load_nifti(raw.scan("event")), sparse, to_event).data[inside],
    }
    return {
        name: (float(of_brain.mean(dtype=np.float64)), float(of_brain.std(dtype=np.float64)))
        for name, of_brain in values.items()
    }


def _of_masks(raw: RawSubject) -> Scalars:
    truth = raw.cohort / GROUND_TRUTH / raw.subject
    candidates = {
        "lesion_ml": (raw.lesion_mask, truth / "lesion.nii.gz"),
        "cavity_ml": (raw.cavity_mask, truth / "cavity.nii.gz"),
    }
    return {
        name: next((_volume_ml(path) for path in paths if path.is_file()), None)
        for name, paths in candidates.items()
    }


def _volume_ml(path: Path) -> float:
    mask = load_nifti(path)
    return float((mask.data > 0.5).sum()) * mask.grid.voxel_ml


def _known(cell: str | None) -> str | None:
    return None if cell in (None, "", MISSING) else cell


def _cell(value: float | str | None) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else f"{value:.6g}"
