"""How many folds train at a time on one machine, and with how many threads each: measured, not guessed.

A small network gains little by a second thread, so two folds at a time beat one on two threads; a large one
fills the CPU or the GPU alone. Which it is depends on the network, the volumes and the machine.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import run_tasks, torch_threads
from ricenet.runtime.files import content_digest, read_known, write_json
from ricenet.runtime.machine import (
    WORKER_BYTES,
    available_bytes,
    gpu_names,
    keep_freed_memory,
    usable_cores,
)
from ricenet.runtime.randomness import generator_for
from ricenet.training.task import FoldTask

if TYPE_CHECKING:
    import torch

    from ricenet.training.hardware import Hardware

logger = logging.getLogger(__name__)

MEASURED = "concurrency.json"
_COSTLESS = {"recipe", "epochs", "steps", "overrides", "checkpoint_every_epochs", "checkpoint_pause_s"}
"""Settings of training that change nothing in what a step costs."""
"""Beside the store of folds: what each kind of fold was seen to take."""

_STEPS = 3
_LONG_S = 10.0
"""A step that takes longer than this on all cores is that of a network which uses them all."""


@dataclass(frozen=True)
class Costs:
    """What one fold was seen to take.

    seconds: threads -> time of a step of training, augmentation included. memory_bytes: at its peak, of the
    process or of the GPU. busy: share of the time in which a GPU computes, None on a CPU. gpu_bytes: its
    memory. gpus: of the machine. state_bytes: of another network in the same process, with gradient and Adam.
    """

    seconds: Mapping[int, float]
    memory_bytes: int
    busy: float | None = None
    gpu_bytes: int = 0
    gpus: int = 1
    state_bytes: int = 0

    def of_several(self, networks: int, further_bytes: int = 0) -> Costs:
        """The same of a process that trains so many networks in step, one after another in each.

        further_bytes: of volumes that others of them see.
        """
        others = (networks - 1) * self.state_bytes + further_bytes
        return replace(self, memory_bytes=self.memory_bytes + others)


@dataclass(frozen=True)
class Sizing:
    """Folds at a time, and the threads of each."""

    workers: int
    threads: int


def sized(
    execution: ExecutionParams, task: FoldTask, groups: Sequence[Sequence[FoldTask]] = ()
) -> ExecutionParams:
    """The settings with a number for each "auto" that makes most folds an hour on this machine.

    task: the fold that takes most. groups: those that a process trains in step at most; none: one by one.
    Only processes of one machine are sized; other backends stay as they are.
    Measured once for each kind of network and machine, and kept in the store.
    Raises TrainingError: the trial steps fail.
    """
    if execution.backend != "processes" or "auto" not in (execution.workers, execution.threads_per_worker):
        return execution
    volume_bytes = _volume_bytes([task])
    further_bytes = max((_volume_bytes(group) - volume_bytes for group in groups), default=0)
    networks = max(map(len, groups), default=1)
    costs = _known_costs(task).of_several(networks, max(0, further_bytes))
    best = best_sizing(costs, usable_cores(), available_bytes())
    workers = best.workers if execution.workers == "auto" else execution.workers
    own = best.threads if workers == best.workers else max(1, usable_cores() // workers)
    threads = own if execution.threads_per_worker == "auto" else execution.threads_per_worker
    seen = ", ".join(f"{s:.2f} s a step on {n} thread(s)" for n, s in sorted(costs.seconds.items()))
    logger.info("%d fold(s) at a time, %d thread(s) each (measured: %s)", workers, threads, seen)
    return execution.model_copy(update={"workers": workers, "threads_per_worker": threads})


def best_sizing(costs: Costs, cores: int, free_bytes: int) -> Sizing:
    """From what a fold costs to the sizing of most throughput that fits into the machine's memory."""
    if costs.busy is not None:
        # folds fill one another's pauses; more than that only wait for the GPU
        wanted = max(1, round(1 / max(costs.busy, 1 / cores)))
        on_a_gpu = max(1, min(wanted, costs.gpu_bytes // costs.memory_bytes))
        workers = max(1, min(on_a_gpu * costs.gpus, cores, free_bytes // WORKER_BYTES))
        return Sizing(workers, max(1, cores // workers))
    room = max(1, free_bytes // costs.memory_bytes)
    sizings = [Sizing(min(cores // threads, room), threads) for threads in costs.seconds]
    return max(sizings, key=lambda s: (s.workers / costs.seconds[s.threads], s.threads))


def measure_costs(task: FoldTask) -> Costs:
    """Train a few steps on noise with 1, 2, 4 ... threads; the fold's files are neither read nor written."""
    from ricenet.training.hardware import Hardware, memory_explained

    keep_freed_memory()
    with memory_explained(str(task.identity), task.training):
        hardware = Hardware.choose(task.training.precision)
        step, state_bytes = trial_step(task, hardware)
        if hardware.device.type == "cuda":
            return _costs_on_gpu(step, hardware.device, _volume_bytes([task]))
        seconds: dict[int, float] = {}
        for threads in _thread_counts(usable_cores()):
            with torch_threads(threads):
                seconds[threads] = _seconds_per_step(step)
            if seconds[threads] > _LONG_S:
                break
        memory_bytes = int(hardware.peak_memory_gb * 1e9) + _volume_bytes([task])
        return Costs(seconds, memory_bytes, state_bytes=state_bytes)


def trial_step(task: FoldTask, hardware: Hardware) -> tuple[Callable[[], float], int]:
    """A step of a fold's training on noise, augmentation included: returns the loss, so it is waited for.

    Besides, the bytes of the network with its gradient and both moments of Adam.
    """
    import torch

    from ricenet.training.augmentation import augment, draw_augmentation, varied_mris
    from ricenet.training.one_training import first_network
    from ricenet.training.optimisation import Optimisation

    optimisation = Optimisation(first_network(task), task.training, hardware)
    samples, noise = (
        min(task.training.batch_size, len(task.training_subjects)),
        torch.Generator().manual_seed(0),
    )
    shape = (samples, len(task.members), *task.grid.whole.shape)
    volumes = torch.randn(shape, generator=noise).half().to(hardware.device)
    variables = torch.randn((samples, task.variable_columns), generator=noise).to(hardware.device)
    classes = (torch.arange(samples) % 2).to(hardware.device)
    mris, varied = len(task.volumes.mris), varied_mris(task.volumes, task.modality_set)

    def step() -> float:
        generators = [generator_for("trial", sample) for sample in range(samples)]
        drawn = [draw_augmentation(task.augmentation, mris, generator) for generator in generators]
        augmented = augment(volumes, varied, drawn, task.grid.spacing_mm, task.grid.part)
        loss, _ = optimisation.step(augmented, variables, classes)
        return float(loss)

    parameters = sum(parameter.numel() for parameter in optimisation.network.parameters())
    return step, 4 * 4 * parameters


def _thread_counts(most: int) -> list[int]:
    """All cores first: where even that takes long, nothing else is tried."""
    counts = {most, *(2**power for power in range(most.bit_length()))}
    return sorted(counts, reverse=True)


def _seconds_per_step(step: Callable[[], float]) -> float:
    seconds = []
    for number in range(_STEPS + 1):
        start = time.monotonic()
        step()
        seconds.append(time.monotonic() - start)
        if number == 0 and seconds[0] > _LONG_S:
            return seconds[0]
    # the first one allocates
    return min(seconds[1:])


def _volume_bytes(tasks: Sequence[FoldTask]) -> int:
    """Of the volumes of folds in step, each once, where they wait in the memory that is measured; of a box at
    most so many.
    """
    task, names = tasks[0], {spec.name for each in tasks for spec in each.members}
    if task.training.memory == "streamed":
        return 0
    return 2 * len(task.subjects) * len(names) * task.grid.voxels**3


def _costs_on_gpu(step: Callable[[], float], device: torch.device, volume_bytes: int) -> Costs:
    import torch

    busy: list[float] = []
    step()
    start = time.monotonic()
    while time.monotonic() - start < 2.0:
        step()
        busy.append(_busy(device))
    torch.cuda.synchronize(device)
    seconds = (time.monotonic() - start) / len(busy)
    # a process's own context on the GPU takes about half a gigabyte
    memory_bytes = torch.cuda.max_memory_reserved(device) + 2**29 + volume_bytes
    gpu_bytes = int(torch.cuda.mem_get_info(device)[1])
    return Costs({usable_cores(): seconds}, memory_bytes, sum(busy) / len(busy), gpu_bytes)


def _busy(device: torch.device) -> float:
    """Share of the last moments in which the GPU computed; a part of a GPU (MIG) does not say: 1."""
    import pynvml
    import torch

    try:
        return torch.cuda.utilization(device) / 100
    except (pynvml.NVMLError, RuntimeError, ValueError):
        return 1.0


def _known_costs(task: FoldTask) -> Costs:
    path = task.store.parent / MEASURED
    known: dict[str, Any] = read_known(path, dict) or {}
    key = _kind(task)
    if (costs := _as_costs(known.get(key))) is None:
        costs = _measured_apart(task)
        write_json(path, {**known, key: asdict(costs)})
    return replace(costs, gpus=max(1, len(gpu_names())))


def _as_costs(kept: Any) -> Costs | None:
    """What was kept of a measurement; None where there is none, or a damaged one."""
    try:
        return Costs(**{**kept, "seconds": {int(threads): s for threads, s in kept["seconds"].items()}})
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _measured_apart(task: FoldTask) -> Costs:
    """In a process of its own, whose memory is given back."""
    (outcome,) = run_tasks(measure_costs, [task], "processes", 1, usable_cores(), "measuring")
    if outcome.result is None:
        raise TrainingError(outcome.error or f"{task.identity}: the trial steps ended without an error")
    return outcome.result


def _kind(task: FoldTask) -> str:
    """What the costs depend on."""
    return content_digest(
        {
            "network": task.network.model_dump(),
            "inputs": [len(task.members), task.variable_columns],
            "grid": task.grid.content,
            "training": task.training.model_dump(exclude=_COSTLESS),
            "subjects": [len(task.training_subjects), len(task.validation_subjects)],
            "machine": [_cpu(), usable_cores(), gpu_names()],
            "torch": version("torch"),
            "code": task.code,
        }
    )


def _cpu() -> str:
    """Its model, as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor())
