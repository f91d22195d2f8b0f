"""What preprocessing made of a phantom cohort, against the truth that the phantom knows.

    dvc repro preprocess && python benchmarks/preprocess_accuracy.py

- Target registration error: mean distance, over the voxels of the true brain, between where the estimated
  and the true transform send them (post-operative to event world).
- Brain: Dice of HD-BET's mask and the true one, on the true one's grid.
- Dose at the lesion: mean dose of the cube's voxels in which the new lesion comes to lie through the
  estimated transform, against the mean of the raw dose at its true place. Printed beside it, pointwise: the
  mean of the differences, which holds what voxels as coarse as the cube's cannot tell.
- Dose in the brain: its integral over the true brain, on the cube against the raw dose.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figure import report
from numpy.typing import NDArray

from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.preprocessing.derivative_files import brain_mask_file, image_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.files import read_json
from ricenet.volume import Volume, dice, inverse, load_nifti, resample

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Of one subject."""

    target_mm: float
    brain_dice: float
    lesion_dose: float
    lesion_dose_pointwise: float
    brain_dose: float


def moved(points: Points, transform: NDArray[np.float64]) -> Points:
    """World points (N, 3) through a homogeneous matrix."""
    result: Points = points @ transform[:3, :3].T + transform[:3, 3]
    return result


def values_at(volume: Volume, points_mm: Points, order: int = 1) -> NDArray[np.float64]:
    """Values at world points (N, 3), linear (order 1) or of the voxel there (0); 0 outside."""
    from scipy import ndimage

    voxels = moved(points_mm, inverse(volume.grid.affine))
    result: NDArray[np.float64] = ndimage.map_coordinates(
        volume.data.astype(np.float64), voxels.T, order=order, cval=0.0
    )
    return result


def points_of(mask: Volume) -> Points:
    """World positions (N, 3) of a mask's voxels."""
    return mask.grid.world_mm(np.argwhere(mask.data > 0.5).astype(np.float64))


def errors_of(cohort: Path, preprocessed: Path, subject: str) -> Errors:
    """Measure one subject."""
    truth, made = cohort / "ground_truth" / subject, preprocessed / subject
    brain, lesion = (load_nifti(truth / f"{name}.nii.gz") for name in ("brain", "lesion"))
    raw = RawSubject(cohort, subject)
    factor = read_dose_sidecar(raw.dose_sidecar).factor
    measured = Measurements.of_subject(made)
    found = measured.world_from_reference("event")
    true = np.array(read_json(truth / "truth.json")["event_world_from_post_op_world"])
    raw_dose, written = (
        load_nifti(raw.scan("dose")),
        load_nifti(made / image_file(subject, raw.volumes["dose"])),
    )
    cube_dose = Volume(written.data, measured.cube(written.grid.shape[0]))
    in_brain, in_lesion = points_of(brain)[::7], points_of(lesion)
    seen = values_at(cube_dose, moved(in_lesion, inverse(found) @ true), order=0)
    expected = factor * values_at(raw_dose, in_lesion)
    of_brain = factor * values_at(raw_dose, in_brain)
    mask = resample(load_nifti(made / brain_mask_file(subject)), brain.grid).data > 0.5
    return Errors(
        target_mm=float(np.linalg.norm(moved(in_brain, found) - moved(in_brain, true), axis=1).mean()),
        brain_dice=dice(mask, brain.data > 0.5),
        lesion_dose=abs(float(seen.mean() / expected.mean()) - 1),
        lesion_dose_pointwise=float(np.abs(seen - expected).mean() / expected.mean()),
        brain_dose=abs(float(values_at(cube_dose, in_brain).sum() / of_brain.sum()) - 1),
    )


def main() -> None:
    """Print a line a subject, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("data/demo"))
    parser.add_argument("--preprocessed", type=Path, default=Path("work/preprocessed"))
    arguments = parser.parse_args()
    subjects = sorted(p.name for p in arguments.preprocessed.glob("sub-*"))
    if not subjects:
        parser.error(f"no subjects in {arguments.preprocessed}: run `dvc repro preprocess` first")
    errors = []
    for subject in subjects:
        e = errors_of(arguments.cohort, arguments.preprocessed, subject)
        errors.append(e)
        print(
            f"{subject}  registration {e.target_mm:.3f} mm  brain {e.brain_dice:.4f}  dose at the lesion "
            f"{e.lesion_dose:.2%} (pointwise {e.lesion_dose_pointwise:.2%})  in the brain {e.brain_dose:.2%}"
        )
    agreement = f"{len(errors)} phantom subjects against their truth"

    def figure(name: str, values: list[float], which: str, limit: float) -> None:
        value = {"median": np.median, "most": np.max, "least": np.min}[which](values)
        goal, met = (f"> {limit}", value > limit) if which == "least" else (f"< {limit}", value < limit)
        report(name, float(value), goal, agreement, bool(met))

    figure("registration_tre_median_mm", [e.target_mm for e in errors], "median", 0.3)
    figure("registration_tre_worst_mm", [e.target_mm for e in errors], "most", 1.0)
    figure("brain_dice_worst", [e.brain_dice for e in errors], "least", 0.95)
    figure("lesion_dose_error_worst", [e.lesion_dose for e in errors], "most", 0.02)
    figure("brain_dose_integral_error_worst", [e.brain_dose for e in errors], "most", 0.01)


if __name__ == "__main__":
    main()
