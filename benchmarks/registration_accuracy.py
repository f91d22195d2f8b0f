"""Target registration error of the pipeline's transforms against the phantom's ground truth.

    dvc repro preprocess && python benchmarks/registration_accuracy.py

Error of a subject: mean distance, over the voxels of its true brain, between where the estimated and
the true transform send them (post-operative to event world).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figure import report
from numpy.typing import NDArray

from ricenet.files import read_json
from ricenet.volume import load_nifti

GOAL_MM, GOAL_SHARE = 1.0, 0.95


def target_errors_mm(preprocessed: Path, truth: Path) -> NDArray[np.float64]:
    """Errors (N,) at the voxels of the true brain."""
    found = np.array(read_json(preprocessed / "provenance.json")["event_world_from_post_op_world"])
    true = np.array(read_json(truth / "truth.json")["event_world_from_post_op_world"])
    brain = load_nifti(truth / "brain.nii.gz")
    points = brain.grid.world_mm(np.argwhere(brain.data > 0)[::7].astype(np.float64))
    difference = found - true
    errors: NDArray[np.float64] = np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1)
    return errors


def main() -> None:
    """Print the share of subjects below the goal, the median and the maximum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("data/demo"))
    parser.add_argument("--preprocessed", type=Path, default=Path("work/preprocessed"))
    arguments = parser.parse_args()
    subjects = sorted(p.name for p in arguments.preprocessed.glob("sub-*"))
    if not subjects:
        parser.error(f"no subjects in {arguments.preprocessed}: run `dvc repro preprocess` first")
    truth = arguments.cohort / "ground_truth"
    means = []
    for subject in subjects:
        errors = target_errors_mm(arguments.preprocessed / subject, truth / subject)
        means.append(float(errors.mean()))
        print(f"{subject}  mean {errors.mean():.3f} mm  max {errors.max():.3f} mm")
    share = float(np.mean(np.array(means) < GOAL_MM))
    agreement = f"{len(means)} subjects against their true transforms"
    report("registration_share_below_1_mm", share, f">= {GOAL_SHARE}", agreement, share >= GOAL_SHARE)
    median, worst = float(np.median(means)), float(np.max(means))
    report("registration_median_mm", median, f"< {GOAL_MM}", agreement, median < GOAL_MM)
    report("registration_worst_mm", worst, f"< {GOAL_MM}", agreement, worst < GOAL_MM)


if __name__ == "__main__":
    main()
