"""Does the pipeline find the dose informative where it is? Three phantom cohorts, else as committed.

    python benchmarks/phantom_ablation.py

For each seed: write the phantom, check, preprocess, split, train the seven sets, score. Compares the mean
validation macro-F1 (last epoch, mean over folds) of the four sets with dose with that of the three without.
Results are kept in work/ablation and in the stores, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figure import report
from phantom_training import trained_phantom

from ricenet.cli.running import log_to_stderr
from ricenet.config.params import Params, read_params
from ricenet.phantom.mechanism import mechanism_named
from ricenet.training.history import read_history
from ricenet.training.task import HISTORY

GOAL = 0.05
WORK = Path("work/ablation")


def macro_f1_by_set(params: Params, seed: int) -> dict[str, float]:
    """Mean validation macro-F1 of each modality set on the phantom of one seed."""
    mechanism = mechanism_named(params.phantom.mechanism)
    tasks = trained_phantom(params, seed, mechanism, WORK / f"seed-{seed}").tasks
    return {
        name: float(
            np.mean(
                [
                    read_history(t.folder / HISTORY)[-1].validation_macro_f1
                    for t in tasks
                    if t.modality_set == name
                ]
            )
        )
        for name in params.modality_sets
    }


def main() -> None:
    """Print the table and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    seeds = parser.parse_args().seeds
    log_to_stderr()
    params = read_params()
    scores = {seed: macro_f1_by_set(params, seed) for seed in seeds}
    print("| seed | " + " | ".join(params.modality_sets) + " |")
    for seed, by_set in scores.items():
        print(f"| {seed} | " + " | ".join(f"{by_set[name]:.3f}" for name in params.modality_sets) + " |")
    means = {name: float(np.mean([scores[s][name] for s in seeds])) for name in params.modality_sets}
    print("| mean | " + " | ".join(f"{means[name]:.3f}" for name in params.modality_sets) + " |")
    with_dose = [value for name, value in means.items() if "dose" in name.split("+")]
    without = [value for name, value in means.items() if "dose" not in name.split("+")]
    gain = float(np.mean(with_dose) - np.mean(without))
    agreement = f"{len(seeds)} cohorts of {params.phantom.subjects}, the same folds for every set"
    report("macro_f1_gain_of_sets_with_dose", gain, f">= {GOAL}", agreement, gain >= GOAL)


if __name__ == "__main__":
    main()
