"""One epoch of the paper's ResNet-18: the training engine against a plain MONAI loop.

    python benchmarks/epoch.py                 # 64 subjects of 64 cubed; a quarter of an hour on two cores
    python benchmarks/epoch.py --quick         # 8 subjects of 32 cubed
    python benchmarks/epoch.py --cube 224      # on a GPU

Each side runs in a process of its own, after one epoch or batch to warm up. Both learn from the same volumes
with the same kinds and strengths of augmentation. That they compute the same is checked without augmentation,
from the same first weights and in the same order, by the mean loss of two batches.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from figure import report

from ricenet.cohort.splits import Splits
from ricenet.config.network_params import ResNetParams
from ricenet.config.params import AugmentationParams, TrainingParams, read_params
from ricenet.config.preprocessing import PreprocessingParams
from ricenet.config.recipes import Recipe
from ricenet.preprocessing.network_input import volume_file
from ricenet.runtime.machine import has_bfloat16
from ricenet.runtime.randomness import generator_for
from ricenet.training.history import EpochMetrics, EpochObserver, EpochSpeed, FoldIdentity
from ricenet.training.networks import build_network
from ricenet.training.planning import TrainingSetup, plan_folds
from ricenet.training.sampler import draw_epoch
from ricenet.training.task import FoldTask
from ricenet.vocabulary import PAPER_VOLUMES

PROJECT = Path(__file__).parents[1]
GOAL_BFLOAT16, GOAL_FLOAT32, GOAL_GPU = 2.5, 1.3, 3.0


def make_task(folder: Path, subjects: int, cube: int, batch: int) -> FoldTask:
    """A fold that learns from so many subjects: smooth noise, in which RICE has more dose."""
    noise = np.random.default_rng(0)
    labels = {f"sub-{k:03d}": ("rice" if k % 2 else "recurrence") for k in range(subjects + 2)}
    for k, subject in enumerate(labels):
        volumes = noise.normal(size=(3, cube, cube, cube)).astype(np.float16)
        volumes[2] = k % 2 + 0.1 * volumes[2]
        (folder / "preprocessed" / subject).mkdir(parents=True)
        for name, values in zip(PAPER_VOLUMES.names, volumes, strict=True):
            np.save(folder / "preprocessed" / subject / volume_file(name), values)
    names = tuple(labels)
    params = read_params(PROJECT / "params.yaml")
    training = TrainingParams.model_validate(
        {**params.training.model_dump(), "batch_size": batch, "learning_rate": 1e-4, "overrides": {}}
    )
    splits = Splits(labels, (names[:2], names[2:]), ())  # type: ignore[arg-type]
    setup = TrainingSetup(
        splits,
        dict.fromkeys(names, ""),
        0,
        PreprocessingParams.model_validate({**params.preprocessing.model_dump(), "cube_voxels": cube}),
        {"": Recipe("head", ResNetParams(widen_factor=1.0, stem_stride=1), training, params.augmentation)},
        folder / "preprocessed",
        folder / "store",
    )
    return plan_folds(setup, ["post_op+event+dose"])[0]


def without_augmentation(task: FoldTask) -> FoldTask:
    """The same fold, its volumes as they are."""
    plain = AugmentationParams.model_validate({**task.augmentation.model_dump(), "probability": 0.0})
    return dataclasses.replace(task, augmentation=plain)


def of_precision(task: FoldTask, precision: str, epochs: int) -> FoldTask:
    """The same fold in another precision, for so many epochs, kept apart."""
    training = task.training.model_copy(update={"precision": precision, "epochs": epochs, "compile": "auto"})
    return dataclasses.replace(task, training=training, store=task.store / precision)


def drawn_order(task: FoldTask) -> list[str]:
    """The subjects of the first epoch, as the sampler draws them."""
    known = [task.labels[subject] for subject in task.training_subjects]
    drawn = draw_epoch(known, generator_for("sampling", task.seed, task.fold, 1))
    return [task.training_subjects[position] for position in drawn]


@dataclasses.dataclass
class Watch(EpochObserver):
    """Keeps what each epoch reports."""

    epochs: list[tuple[EpochMetrics, EpochSpeed]] = dataclasses.field(default_factory=list)

    def on_epoch(self, fold: FoldIdentity, epoch: int, metrics: EpochMetrics, speed: EpochSpeed) -> None:
        """Keep it."""
        self.epochs.append((metrics, speed))


def plain_seconds(task: FoldTask) -> float:
    """Of an epoch of the plain loop, after one batch to warm up."""
    from plain_loop import PlainLoop

    loop, order = PlainLoop(task), drawn_order(task)
    loop.epoch(loop.loader(order[: task.training.batch_size], augmented=True))
    seconds, _ = loop.epoch(loop.loader(order, augmented=True))
    return seconds


def plain_loss(task: FoldTask) -> float:
    """Mean loss of the plain loop's first epoch, from the engine's first weights."""
    from plain_loop import PlainLoop

    loop = PlainLoop(task)
    from ricenet.training.one_training import first_network

    initial = first_network(task)
    loop.network.load_state_dict(initial.state_dict())
    _, losses = loop.epoch(loop.loader(drawn_order(task), augmented=False))
    return float(np.mean(losses))


def our_epochs(task: FoldTask) -> list[tuple[EpochMetrics, EpochSpeed]]:
    """What the engine reports of each epoch."""
    from ricenet.training.fold import train_fold

    watch = Watch()
    train_fold(task, watch)
    return watch.epochs


def apart(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def step_flops(cube: int) -> float:
    """Floating-point operations of learning from one sample."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_network(ResNetParams(widen_factor=1.0, stem_stride=1), channels=3)
        network(torch.empty(1, 3, cube, cube, cube)).sum().backward()
    return float(counter.get_total_flops())


def peak_flops() -> float:
    """What the GPU reaches in a product of large bfloat16 matrices, a second."""
    import torch

    left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.monotonic()
        left @ left
        torch.cuda.synchronize()
        best = min(best, time.monotonic() - start)
    return 2 * 8192**3 / best


def report_speed(
    name: str, task: FoldTask, plain_s: float, precision: str, goal: float, agreement: str
) -> None:
    """Measure the second epoch of the engine and report it against the plain loop's."""
    *_, (_, speed) = apart(our_epochs, of_precision(task, precision, 2))
    training_s = len(task.training_subjects) / speed.samples_per_second
    print(f"plain {plain_s:.1f} s, {precision} {training_s:.1f} s, {speed}")
    ratio = plain_s / training_s
    report(f"epoch_{name}", ratio, f">= {goal}", agreement, ratio >= goal)
    report(f"epoch_{name}_stall", speed.data_wait_share, "<= 0.05", agreement, speed.data_wait_share <= 0.05)
    if on_gpu():
        cube = task.cube_voxels
        share = step_flops(cube) * speed.samples_per_second / apart(peak_flops)
        report(f"epoch_{name}_share_of_peak", share, "reported", "bfloat16 matrices of 8192 squared", True)


def on_gpu() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def main() -> None:
    """Run both sides and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=64)
    parser.add_argument("--cube", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="8 subjects of 32 cubed")
    chosen = parser.parse_args()
    subjects, cube = (8, 32) if chosen.quick else (chosen.subjects, chosen.cube)
    with tempfile.TemporaryDirectory() as name:
        few = without_augmentation(make_task(Path(name) / "few", 2 * chosen.batch, cube, chosen.batch))
        expected = apart(plain_loss, few)
        task = make_task(Path(name) / "all", subjects, cube, chosen.batch)
        plain_s = apart(plain_seconds, task)
        device = "cuda" if on_gpu() else "cpu"
        goals = {"float32": GOAL_FLOAT32}
        if has_bfloat16(device):
            goals |= {"bfloat16": GOAL_GPU if on_gpu() else GOAL_BFLOAT16}
        for precision, goal in goals.items():
            ((metrics, _),) = apart(our_epochs, of_precision(few, precision, 1))
            difference = abs(metrics.train_loss - expected)
            agreement = f"mean loss of two batches differs by {difference:.1e} of {expected:.3f}"
            report_speed(f"{cube}_{precision}", task, plain_s, precision, goal, agreement)


if __name__ == "__main__":
    main()
