"""The whole cube and the box around all brains (`training.input: head` and `brain`): scores and CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/brain_box.py [--work work] [--sets dose post_op+event+dose]
        [--seeds 7 8 9] [--epochs 30] [--step-voxels 112]

Trains the folds of the project's preprocessed subjects by the main recipe of params.yaml with either input,
on one thread, in a store of its own. Scores are of the pooled out-of-fold predictions, means over seeds. CPU
seconds are those of reading volumes, training and writing results, without imports; fold by fold in turn, so
that a machine that others use burdens both alike. --step-voxels times a step on noise by the paper's network
besides, two samples of three volumes, in a cube of so many voxels that has the paper's extent of 224 mm.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from figure import report
from sklearn.metrics import roc_auc_score

from ricenet.cohort.splits import read_splits
from ricenet.config.inputs import InputGrid, InputName
from ricenet.config.network_params import ResNetParams
from ricenet.config.params import read_params
from ricenet.runtime.files import read_json
from ricenet.training.brain_box import MARGIN_MM, box_around
from ricenet.training.concurrency import trial_step
from ricenet.training.fold import train_fold
from ricenet.training.hardware import Hardware
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.predictions import macro_f1, read_predictions
from ricenet.training.task import PREDICTIONS, FoldTask

BOTH: tuple[InputName, ...] = ("head", "brain")
EXTENT_MM = 224.0


def plan(
    work: Path, store: Path, seen: InputName, modality_set: str, seed: int, epochs: int | None
) -> list[FoldTask]:
    """The folds of a set that sees so much."""
    params = read_params()
    main = params.by_recipe[""]
    length = {} if epochs is None else {"epochs": epochs, "steps": None}
    main = replace(main, input=seen, training=main.training.model_copy(update=length | {"input": seen}))
    setup = TrainingSetup(
        read_splits(work / "splits/splits.json"),
        read_json(work / "preprocessed/summary.json")["subjects"],
        seed,
        params.preprocessing,
        {"": main},
        work / "preprocessed",
        store,
    )
    return plan_folds(setup, [modality_set])


def cpu_seconds(work: Callable[[], object]) -> float:
    """User and system time of what is done."""
    start_s = sum(os.times()[:4])
    work()
    return sum(os.times()[:4]) - start_s


def scores(tasks: list[FoldTask]) -> tuple[float, float]:
    """Macro-F1 and AUC of all held-out subjects."""
    rows = [row for task in tasks for row in read_predictions(task.folder / PREDICTIONS)]
    labels, p_rice = [row.label for row in rows], np.array([row.p_rice for row in rows])
    return macro_f1(labels, p_rice), float(roc_auc_score([label == "rice" for label in labels], p_rice))


def compare(modality_set: str, plans: list[dict[InputName, list[FoldTask]]]) -> None:
    """Train a set with both inputs, and report. plans: one a seed."""
    spent = dict.fromkeys(BOTH, 0.0)
    for of_seed in plans:
        for of_fold in zip(*(of_seed[seen] for seen in BOTH), strict=True):
            for seen, task in zip(BOTH, of_fold, strict=True):
                spent[seen] += cpu_seconds(lambda task=task: train_fold(task))
    for seen in BOTH:
        found = np.array([scores(of_seed[seen]) for of_seed in plans])
        tasks = plans[0][seen]
        of = f"{len(plans)} seed(s), {len(tasks)} folds of {tasks[0].epochs} epochs, {tasks[0].grid}"
        for name, of_score in zip(("macro_f1", "auc"), found.T, strict=True):
            each = ", ".join(f"{value:.3f}" for value in of_score)
            report(f"{modality_set}_{seen}_{name}", of_score.mean(), "reported", f"{of}; {each}", True)
        report(f"{modality_set}_{seen}_cpu_s", spent[seen] / len(plans), "reported", f"{of}; a seed", True)
    report_share(modality_set, spent, {seen: plans[0][seen][0].grid for seen in BOTH})


def time_a_step(task: FoldTask, voxels: int) -> None:
    """A step of the paper's network in a finer cube. task: of the input `brain`, whose box is taken over."""
    spacing_mm, coarse, box = EXTENT_MM / voxels, task.grid, task.grid.box
    assert box is not None
    # without its own margin, about the middle of the cube
    brain_mm = (np.array(box.shape) - 2 * math.ceil(MARGIN_MM / coarse.spacing_mm)) * coarse.spacing_mm
    low = np.floor((voxels - brain_mm / spacing_mm) / 2).astype(int)
    finer = box_around(low, voxels - 1 - low, voxels, math.ceil(MARGIN_MM / spacing_mm))
    head = InputGrid("head", voxels, spacing_mm)
    grids: dict[InputName, InputGrid] = {"head": head, "brain": replace(head, name="brain", box=finer)}
    spent: dict[InputName, float] = {}
    for seen, grid in grids.items():
        training = task.training.model_copy(update={"batch_size": 2})
        network = ResNetParams(widen_factor=1.0, stem_stride=1)
        alike = replace(task, grid=grid, network=network, training=training)
        step, _ = trial_step(alike, Hardware.choose("auto"))
        spent[seen] = cpu_seconds(step)
        report(f"paper_step_{seen}_cpu_s", spent[seen], "reported", f"2 samples, {grid}", True)
    report_share("paper_step", spent, grids)


def report_share(name: str, spent: dict[InputName, float], grids: dict[InputName, InputGrid]) -> None:
    """CPU seconds with the box as a share of those with the cube."""
    share, voxels = spent["brain"] / spent["head"], [math.prod(grids[seen].shape) for seen in BOTH]
    seen = f"the box has {voxels[1] / voxels[0]:.2f} of the cube's voxels"
    report(f"{name}_cpu_share", share, "below 1", seen, share < 1)


def main() -> None:
    """Train, and print a line a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--sets", nargs="*", default=["dose", "post_op+event+dose"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--step-voxels", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for modality_set in chosen.sets:
            plans: list[dict[InputName, list[FoldTask]]] = [
                {seen: plan(chosen.work, Path(name), seen, modality_set, s, chosen.epochs) for seen in BOTH}
                for s in chosen.seeds
            ]
            compare(modality_set, plans)
        if chosen.step_voxels:
            (task, *_) = plan(chosen.work, Path(name), "brain", "post_op+event+dose", 7, chosen.epochs)
            time_a_step(task, chosen.step_voxels)


if __name__ == "__main__":
    main()
