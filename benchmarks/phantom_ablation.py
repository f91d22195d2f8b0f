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

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.checks import admit, check_cohort
from ricenet.config import Params, read_params
from ricenet.files import read_json
from ricenet.modalities import members
from ricenet.phantom.cohort import write_phantom
from ricenet.phantom.mechanism import Weights
from ricenet.preprocessing.cohort import preprocess_cohort
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.splits import candidates, make_splits
from ricenet.store import Store
from ricenet.training.cross_validation import plan_folds, train_folds
from ricenet.training.history import read_history
from ricenet.training.task import HISTORY

GOAL = 0.05
WORK = Path("work/ablation")


def macro_f1_by_set(params: Params, seed: int) -> dict[str, float]:
    """Mean validation macro-F1 of each modality set on the phantom of one seed."""
    cohort, preprocessed = WORK / f"seed-{seed}" / "cohort", WORK / f"seed-{seed}" / "preprocessed"
    if not cohort.exists():
        write_phantom(
            cohort,
            params.phantom.subjects,
            seed,
            Weights(**params.phantom.evidence.model_dump()),
            test_fraction=params.phantom.test_fraction,
            spacing_mm=params.phantom.spacing_mm,
            single_fraction_share=params.phantom.single_fraction_share,
            backend=params.execution.backend,
            workers=params.execution.workers,
        )
    checked = admit(check_cohort(cohort), exclude_faulty=False)
    preprocess_cohort(
        checked,
        params.preprocessing,
        params.seed,
        params.execution,
        Store(Path("work/store/subjects")),
        preprocessed,
        tool_versions(params.preprocessing.brain),
    )
    splits = make_splits(
        candidates(checked.model_dump()), params.split.folds, params.split.test_fraction, params.seed
    )
    tasks = plan_folds(
        params.modality_sets,
        splits,
        read_json(preprocessed / "summary.json")["subjects"],
        params.seed,
        params.preprocessing,
        params.training,
        params.augmentation,
        params.network,
        preprocessed,
        Path("work/store/folds"),
    )
    train_folds(tasks, params.execution)
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
    with_dose = [value for name, value in means.items() if "dose" in members(name)]
    without = [value for name, value in means.items() if "dose" not in members(name)]
    gain = float(np.mean(with_dose) - np.mean(without))
    agreement = f"{len(seeds)} cohorts of {params.phantom.subjects}, the same folds for every set"
    report("macro_f1_gain_of_sets_with_dose", gain, f">= {GOAL}", agreement, gain >= GOAL)


if __name__ == "__main__":
    main()
