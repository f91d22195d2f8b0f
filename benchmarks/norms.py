"""Batch norm and group norm, float32 and bfloat16, at several batch sizes: what is learnt, and how steadily.

    dvc repro split && python benchmarks/norms.py      # the project's own subjects; minutes at demo scale

For each: the mean validation macro-F1 and loss of the folds' last epochs, and how much the validation loss
jumps from an epoch to the next over the last third (median over folds of the mean absolute difference).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from figure import report

from ricenet.cli.running import log_to_stderr
from ricenet.config.params import read_params
from ricenet.training.cross_validation import train_folds
from ricenet.training.history import read_history
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import HISTORY, FoldTask


def plan(modality_set: str, norm: str, precision: str, batch_size: int) -> list[FoldTask]:
    """The folds of a set with other settings of these three kinds."""
    params = read_params()
    setup = TrainingSetup.of_project(params, Path("work/store/folds"))
    setup = replace(
        setup,
        training=params.training.model_copy(update={"precision": precision, "batch_size": batch_size}),
        network=params.network.model_copy(update={"norm": norm}),
    )
    return plan_folds(setup, [modality_set])


def main() -> None:
    """Train what is not in the store, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", default="dose")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    chosen = parser.parse_args()
    log_to_stderr()
    settings = list(product(("batch", "group"), chosen.precisions, chosen.batch_sizes))
    plans = {setting: plan(chosen.set, *setting) for setting in settings}
    train_folds([task for tasks in plans.values() for task in tasks], read_params().execution)
    for (norm, precision, batch_size), tasks in plans.items():
        histories = [read_history(task.folder / HISTORY) for task in tasks]
        losses = [[epoch.validation_loss for epoch in history] for history in histories]
        jumps = [np.abs(np.diff(of_fold[-(len(of_fold) // 3) :])).mean() for of_fold in losses]
        last = [history[-1] for history in histories]
        agreement = (
            f"{len(tasks)} folds; last validation loss {np.mean([m.validation_loss for m in last]):.3f}, "
            f"training loss {np.mean([m.train_loss for m in last]):.3f}, jumps of {np.median(jumps):.3f}"
        )
        score = float(np.mean([m.validation_macro_f1 for m in last]))
        report(f"macro_f1_{chosen.set}_{norm}_{precision}_{batch_size}", score, "reported", agreement, True)


if __name__ == "__main__":
    main()
