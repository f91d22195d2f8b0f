"""The demo's 35 trainings, as many at a time as the engine chooses, against 35 times one training alone.

    python benchmarks/ablation_concurrency.py              # some ten minutes on two cores
    python benchmarks/ablation_concurrency.py --epochs 3

Volumes of noise at the demo's size, since what they show costs no time. One training runs alone in a process
that has torch loaded already, with all cores, as torch uses them when nobody decides. The concurrent side
starts from nothing: the measurement, the start of the processes and their imports count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from epoch import apart
from figure import report

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.splits import Splits
from ricenet.config.params import ExecutionParams, Params, read_params
from ricenet.config.recipes import Recipe
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.files import read_json
from ricenet.runtime.machine import available_bytes, usable_cores
from ricenet.training.concurrency import MEASURED, Costs, best_sizing
from ricenet.training.cross_validation import train_folds
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.task import WEIGHTS, FoldTask
from ricenet.vocabulary import PAPER_VOLUMES

PROJECT = Path(__file__).parents[1]
GOAL = 1.6
SUBJECTS = 40


def make_tasks(folder: Path, params: Params, epochs: int, store: str) -> list[FoldTask]:
    """All folds of all sets on noise in which RICE has more dose."""
    noise, cube = np.random.default_rng(0), params.preprocessing.cube_voxels
    names = tuple(f"sub-{k:03d}" for k in range(SUBJECTS))
    for k, subject in enumerate(names):
        if not (folder / subject).exists():
            (folder / subject).mkdir(parents=True)
            volumes = noise.normal(size=(3, cube, cube, cube)).astype(np.float16)
            volumes[2] = k % 2 + 0.1 * volumes[2]
            for name, values in zip(PAPER_VOLUMES.names, volumes, strict=True):
                np.save(folder / subject / volume_file(name), values)
    labels = {subject: ("rice" if k % 2 else "recurrence") for k, subject in enumerate(names)}
    folds = tuple(names[k :: params.split.folds] for k in range(params.split.folds))
    setup = TrainingSetup(
        Splits(labels, folds, ()),  # type: ignore[arg-type]
        dict.fromkeys(names, ""),
        params.seed,
        params.preprocessing,
        {
            "": Recipe(
                "head",
                params.network,
                params.training.model_copy(update={"epochs": epochs}),
                params.augmentation,
            )
        },
        folder,
        folder.parent / store / "folds",
    )
    return plan_folds(setup, params.modality_sets)


def seconds_alone(tasks: list[FoldTask], threads: int | None) -> list[float]:
    """Of each training, one after another in one process. threads: None for all cores."""
    import torch

    from ricenet.training.fold import train_fold

    if threads is not None:
        torch.set_num_threads(threads)
    times = []
    for task in tasks:
        start = time.perf_counter()
        train_fold(task)
        times.append(time.perf_counter() - start)
    return times


def threads_of(store: Path) -> int:
    """How many threads each fold was given, as the store's measurement decides it."""
    (costs,) = read_json(store / MEASURED).values()
    seconds = {int(threads): value for threads, value in costs["seconds"].items()}
    found = Costs(seconds, costs["memory_bytes"], costs["busy"], costs["gpu_bytes"])
    return best_sizing(found, usable_cores(), available_bytes()).threads


def main() -> None:
    """Run both sides and print the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, help="of each training; the demo's by default")
    log_to_stderr()
    params = read_params(PROJECT / "params.yaml")
    epochs = parser.parse_args().epochs or params.training.epochs
    with tempfile.TemporaryDirectory() as name:
        every = params.split.folds
        alone = make_tasks(Path(name) / "volumes", params, epochs, "alone")[::every]
        times = apart(seconds_alone, alone, None)
        # each set's own time, since sets of more channels take longer; the very first step is left in
        expected = every * sum(times)
        tasks = make_tasks(Path(name) / "volumes", params, epochs, "concurrent")
        start = time.perf_counter()
        train_folds(tasks, ExecutionParams(backend="processes", workers="auto", threads_per_worker="auto"))
        concurrent_s = time.perf_counter() - start
        again = make_tasks(Path(name) / "volumes", params, epochs, "again")[::every][:2]
        apart(seconds_alone, again, threads_of(Path(name) / "concurrent"))
        equal = sum(
            (mine.folder / WEIGHTS).read_bytes() == (other.folder / WEIGHTS).read_bytes()
            for mine, other in zip(again, tasks[::every], strict=False)
        )
    print(f"alone {np.mean(times):.1f} s a training, concurrent_s {concurrent_s:.0f} s for {len(tasks)}")
    agreement = f"{equal} of {len(again)} folds have the same weights, bit for bit, where they train alone"
    met = expected / concurrent_s >= GOAL and equal == len(again)
    report("ablation_concurrency", expected / concurrent_s, f">= {GOAL}", agreement, met)


if __name__ == "__main__":
    main()
