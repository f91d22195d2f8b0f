"""The whole cube and the box around all brains (`training.input: head` and `brain`): scores and CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/brain_box.py [--work work] [--sets dose post_op+event+dose] [--epochs 30]

Trains the folds of the project's preprocessed subjects by the main recipe of params.yaml with either input, on
one thread, in a store of its own. Scores are of the pooled out-of-fold predictions. CPU seconds are those of
reading volumes, training and writing results, without imports. Fold by fold in turn, so that a machine that
others use burdens both alike.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from figure import report
from sklearn.metrics import roc_auc_score

from ricenet.cohort.splits import read_splits
from ricenet.config.inputs import InputName
from ricenet.config.params import read_params
from ricenet.runtime.files import read_json
from ricenet.training.fold import train_fold
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.predictions import macro_f1, read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask

BOTH: tuple[InputName, ...] = ("head", "brain")


def plan(work: Path, store: Path, seen: InputName, modality_set: str, epochs: int | None) -> list[FoldTask]:
    """The folds of a set that sees so much."""
    params = read_params()
    main = params.by_recipe[""]
    length = {} if epochs is None else {"epochs": epochs, "steps": None}
    main = replace(main, input=seen, training=main.training.model_copy(update=length | {"input": seen}))
    setup = TrainingSetup(
        read_splits(work / "splits/splits.json"),
        read_json(work / "preprocessed/summary.json")["subjects"],
        params.seed,
        params.preprocessing,
        {"": main},
        work / "preprocessed",
        store,
    )
    return plan_folds(setup, [modality_set])


def cpu_seconds(task: FoldTask) -> float:
    """Train a fold."""
    start_s = sum(os.times()[:4])
    train_fold(task)
    return sum(os.times()[:4]) - start_s


def compare(modality_set: str, plans: dict[InputName, list[FoldTask]]) -> None:
    """Train a set with both inputs, and report."""
    spent = dict.fromkeys(BOTH, 0.0)
    for of_fold in zip(*(plans[seen] for seen in BOTH), strict=True):
        for seen, task in zip(BOTH, of_fold, strict=True):
            spent[seen] += cpu_seconds(task)
    for seen, tasks in plans.items():
        rows = [row for task in tasks for row in read_predictions(task.folder / PREDICTIONS)]
        labels, p_rice = [row.label for row in rows], np.array([row.p_rice for row in rows])
        auc = roc_auc_score([label == "rice" for label in labels], p_rice)
        of = f"{len(rows)} subjects, {len(tasks)} folds of {tasks[0].epochs} epochs, {tasks[0].grid}"
        report(f"{modality_set}_{seen}_macro_f1", macro_f1(labels, p_rice), "reported", of, True)
        report(f"{modality_set}_{seen}_auc", float(auc), "reported", of, True)
        report(f"{modality_set}_{seen}_cpu_s", spent[seen], "reported", of, True)
    share = spent["brain"] / spent["head"]
    voxels = [math.prod(plans[seen][0].grid.shape) for seen in BOTH]
    seen = f"the box has {voxels[1] / voxels[0]:.2f} of the cube's voxels"
    report(f"{modality_set}_cpu_share", share, "below 1", seen, share < 1)


def main() -> None:
    """Train, and print a line a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--sets", nargs="+", default=["dose", "post_op+event+dose"])
    parser.add_argument("--epochs", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for modality_set in chosen.sets:
            tasks = {
                seen: plan(chosen.work, Path(name) / seen, seen, modality_set, chosen.epochs) for seen in BOTH
            }
            compare(modality_set, tasks)


if __name__ == "__main__":
    main()
