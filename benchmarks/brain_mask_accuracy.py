"""HD-BET's mask against the phantom's true brain, on HD-BET's own 1.5 mm grid.

    dvc repro data.dvc && python benchmarks/brain_mask_accuracy.py

Runs the extraction again on every subject (twenty seconds each), since the pipeline keeps the mask on
the cube's coarser grid only.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import numpy as np
from figure import report

from ricenet.cohort.layout import RawSubject
from ricenet.config import read_params
from ricenet.execution import run_tasks
from ricenet.preprocessing.brain import extract_brain
from ricenet.volume import load_nifti, resample

GOAL_DICE = 0.93


def dice_of(cohort: Path, mode: str, precision: str, subject: str) -> float:
    """Dice of one subject's mask and its true brain."""
    scan = load_nifti(RawSubject(cohort, subject).scan("post_op"))
    mask = extract_brain(scan, subject, mode=mode, mirroring=False, precision=precision)
    truth = resample(load_nifti(cohort / "ground_truth" / subject / "brain.nii.gz"), mask.grid).data > 0.5
    found = mask.data.astype(bool)
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def main() -> None:
    """Print each subject's Dice, the median and the lowest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("data/demo"))
    parser.add_argument("--subjects", type=int, help="only the first so many")
    arguments = parser.parse_args()
    params = read_params()
    subjects = sorted(p.name for p in arguments.cohort.glob("sub-*"))[: arguments.subjects]
    if not subjects:
        parser.error(f"no subjects in {arguments.cohort}: run `dvc repro data.dvc` first")
    brain, execution = params.preprocessing.brain, params.execution
    work = functools.partial(dice_of, arguments.cohort, brain.mode, brain.precision)
    outcomes = run_tasks(
        work, subjects, execution.backend, execution.workers, execution.threads_per_worker, "brains"
    )
    if failed := [f"{o.task}: {o.error}" for o in outcomes if o.result is None]:
        raise SystemExit("\n".join(failed))
    values = [o.result for o in outcomes if o.result is not None]
    for subject, value in zip(subjects, values, strict=True):
        print(f"{subject}  Dice {value:.4f}")
    agreement = f"{len(values)} subjects against their true brains"
    for name, value in {"lowest": min(values), "median": float(np.median(values))}.items():
        report(f"brain_dice_{name}", value, f"> {GOAL_DICE}", agreement, value > GOAL_DICE)


if __name__ == "__main__":
    main()
