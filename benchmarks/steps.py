"""How many steps the paper's recipe needs on a small cohort: scores on held-out subjects, epoch by epoch.

    python benchmarks/steps.py --epochs 600        # 40 subjects, five folds; some minutes on two cores

The learning rate is constant, so that one long training shows what shorter ones would have ended with. Prints
a table (means over folds and draws, of the last ten epochs before a number of steps), then the gain of the
longest over today's number of epochs as a figure.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from figure import report
from phantom_inputs import make_inputs
from small_cohorts import FOLDS, POOL_SEED, Cohorts, planned

from ricenet.cli.running import log_to_stderr
from ricenet.config.params import read_params
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause
from ricenet.training.cross_validation import train_folds
from ricenet.training.history import read_history
from ricenet.training.task import HISTORY

SMOOTHED = 10
"""Epochs whose mean stands for the last of them: single ones jump."""


def main() -> None:
    """Train, print the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/small_cohorts"))
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--mechanism", choices=list(MECHANISMS), default="dose_height")
    parser.add_argument("--set", dest="of_set", default="post_op+event+dose")
    arguments = parser.parse_args()
    log_to_stderr()
    params = read_params()
    count = arguments.subjects * arguments.draws
    mechanism = MECHANISMS[arguments.mechanism]
    pool = [draw_cause(f"sub-{k:03d}", POOL_SEED, mechanism) for k in range(1, count + 1)]
    work = arguments.work / arguments.mechanism
    make_inputs(work / f"pool-{POOL_SEED}", params, pool, POOL_SEED)
    today = params.training.epochs_for(arguments.subjects * (FOLDS - 1) // FOLDS)
    histories = []
    for draw in range(arguments.draws):
        folds = planned(params, Cohorts(pool, ()), [arguments.of_set], arguments.subjects, draw, work)
        longer = [
            replace(task, training=task.training.model_copy(update={"epochs": arguments.epochs}))
            for task in folds[arguments.of_set]
        ]
        train_folds(longer, params.execution)
        histories += [read_history(task.folder / HISTORY) for task in longer]
    # (trainings, epochs, metrics)
    curves = np.array([[list(vars(epoch).values()) for epoch in history] for history in histories])
    names = list(vars(histories[0][0]))
    steps = -(-(arguments.subjects * (FOLDS - 1) // FOLDS) // params.training.batch_size)
    print("steps  " + "  ".join(names))
    for epoch in sorted({30, today, 120, 200, 300, 400, arguments.epochs}):
        if epoch <= arguments.epochs:
            print(f"{epoch * steps:5d}  " + "  ".join(f"{v:.3f}" for v in at(curves, epoch)))
    gained = at(curves, arguments.epochs) - at(curves, today)
    report(
        f"steps/{arguments.of_set}/validation_macro_f1_gained",
        float(gained[names.index("validation_macro_f1")]),
        "none",
        f"{arguments.epochs} against {today} epochs of the same {len(histories)} trainings",
        True,
    )


def at(curves: np.ndarray, epoch: int) -> np.ndarray:
    """Metrics (4,) around an epoch, in the mean over trainings."""
    means: np.ndarray = curves[:, max(0, epoch - SMOOTHED) : epoch].mean(axis=(0, 1))
    return means


if __name__ == "__main__":
    main()
