"""How many folds train side by side on one machine, and with how many threads each: measured, not guessed.

A small network gains little by a second thread, so two folds side by side beat one on two threads; a large
one fills the processor or the card alone. Which it is depends on the network, the volumes and the machine.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.execution import run_tasks, torch_threads
from ricenet.runtime.files import content_digest, read_json, write_json
from ricenet.runtime.machine import WORKER_BYTES, available_bytes, gpu_names, usable_cores
from ricenet.training.task import FoldTask
from ricenet.vocabulary import channels

logger = logging.getLogger(__name__)

_STEPS = 3
_LONG_S = 10.0
"""A step that takes longer than this on all cores is that of a network which uses them all."""


@dataclass(frozen=True)
class Costs:
    """What one fold was seen to take.

    seconds: threads -> time of a step of training, augmentation included. memory_bytes: at its peak, of the
    process or of the card. busy: share of the time in which a card computes, None on a processor.
    card_bytes: the card's memory. cards: of the machine.
    """

    seconds: Mapping[int, float]
    memory_bytes: int
    busy: float | None = None
    card_bytes: int = 0
    cards: int = 1


@dataclass(frozen=True)
class Packing:
    """Folds side by side, and the threads of each."""

    workers: int
    threads: int


def packing_of(task: FoldTask, execution: ExecutionParams) -> Packing:
    """The packing that trains most folds an hour on this machine; what is no "auto" is as told.

    task: one of the folds. Measured once for each kind of network and machine, and kept in the store.
    Raises TrainingError: the trial steps fail.
    """
    costs = _known_costs(task)
    packing = best_packing(costs, usable_cores(), available_bytes())
    workers = packing.workers if execution.workers == "auto" else execution.workers
    alone = packing.threads if workers == packing.workers else max(1, usable_cores() // workers)
    threads = alone if execution.threads_per_worker == "auto" else execution.threads_per_worker
    seen = ", ".join(f"{s:.2f} s a step on {n} thread(s)" for n, s in sorted(costs.seconds.items()))
    logger.info("%d fold(s) side by side, %d thread(s) each (measured: %s)", workers, threads, seen)
    return Packing(workers, threads)


def best_packing(costs: Costs, cores: int, free_bytes: int) -> Packing:
    """From what a fold costs to the packing of most throughput that fits into the machine's memory."""
    if costs.busy is not None:
        # folds fill one another's pauses; more than that only wait for the card
        wanted = max(1, round(1 / max(costs.busy, 1 / cores)))
        on_a_card = max(1, min(wanted, costs.card_bytes // costs.memory_bytes))
        workers = max(1, min(on_a_card * costs.cards, cores, free_bytes // WORKER_BYTES))
        return Packing(workers, max(1, cores // workers))
    room = max(1, free_bytes // costs.memory_bytes)
    packings = [Packing(min(cores // threads, room), threads) for threads in costs.seconds]
    return max(packings, key=lambda p: (p.workers / costs.seconds[p.threads], p.threads))


def measure_costs(task: FoldTask) -> Costs:
    """Train a few steps on noise with 1, 2, 4 ... threads; the fold's files are neither read nor written."""
    from ricenet.runtime.machine import keep_freed_memory
    from ricenet.training.hardware import memory_explained
    from ricenet.training.trial_steps import TrialSteps

    keep_freed_memory()
    with memory_explained(str(task.identity), task.training):
        trial = TrialSteps(task)
        if trial.hardware.device.type == "cuda":
            return _costs_on_card(trial, _volume_bytes(task))
        seconds: dict[int, float] = {}
        for threads in _thread_counts(usable_cores()):
            with torch_threads(threads):
                seconds[threads] = _seconds_per_step(trial)
            if seconds[threads] > _LONG_S:
                break
        return Costs(seconds, int(trial.hardware.peak_memory_gb * 1e9) + _volume_bytes(task))


def _thread_counts(most: int) -> list[int]:
    """All cores first: where even that takes long, nothing else is tried."""
    counts = {most, *(2**power for power in range(most.bit_length()))}
    return sorted(counts, reverse=True)


def _seconds_per_step(trial: Any) -> float:
    seconds = []
    for step in range(_STEPS + 1):
        start = time.monotonic()
        trial.step()
        seconds.append(time.monotonic() - start)
        if step == 0 and seconds[0] > _LONG_S:
            return seconds[0]
    # the first one allocates
    return min(seconds[1:])


def _volume_bytes(task: FoldTask) -> int:
    """Of a fold's volumes, where they wait in the memory that is measured."""
    if task.training.memory == "streamed":
        return 0
    subjects = len(task.training_subjects) + len(task.validation_subjects)
    return 2 * subjects * len(channels(task.modality_set)) * task.cube_voxels**3


def _costs_on_card(trial: Any, volume_bytes: int) -> Costs:
    import torch

    device, busy = trial.hardware.device, []
    trial.step()
    start = time.monotonic()
    while time.monotonic() - start < 2.0:
        trial.step()
        busy.append(_busy(device))
    torch.cuda.synchronize(device)
    seconds = (time.monotonic() - start) / len(busy)
    # a process's own context on the card takes about half a gigabyte
    memory_bytes = torch.cuda.max_memory_reserved(device) + 2**29 + volume_bytes
    card_bytes = int(torch.cuda.mem_get_info(device)[1])
    return Costs({usable_cores(): seconds}, memory_bytes, sum(busy) / len(busy), card_bytes)


def _busy(device: Any) -> float:
    """Share of the last moments in which the card computed; a part of a card (MIG) does not tell: 1."""
    import pynvml
    import torch

    try:
        return torch.cuda.utilization(device) / 100
    except (pynvml.NVMLError, RuntimeError, ValueError):
        return 1.0


def _known_costs(task: FoldTask) -> Costs:
    path = task.store.parent / "packing.json"
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    key = _kind(task)
    if key not in known:
        known[key] = asdict(_measured_apart(task))
        write_json(path, known)
    found = known[key]
    seconds = {int(threads): value for threads, value in found["seconds"].items()}
    cards = max(1, len(gpu_names()))
    return Costs(seconds, found["memory_bytes"], found["busy"], found["card_bytes"], cards)


def _measured_apart(task: FoldTask) -> Costs:
    """In a process of its own, whose memory is given back."""
    (outcome,) = run_tasks(measure_costs, [task], "processes", 1, usable_cores(), "measuring")
    if outcome.result is None:
        raise TrainingError(outcome.error or f"{task.identity}: the trial steps ended without a word")
    return outcome.result


def _kind(task: FoldTask) -> str:
    """What the costs depend on."""
    return content_digest(
        {
            "network": task.network.model_dump(),
            "channels": len(channels(task.modality_set)),
            "cube_voxels": task.cube_voxels,
            "training": task.training.model_dump(exclude={"epochs", "overrides"}),
            "subjects": [len(task.training_subjects), len(task.validation_subjects)],
            "machine": [_processor(), usable_cores(), gpu_names()],
            "torch": version("torch"),
            "code": task.code,
        }
    )


def _processor() -> str:
    """Its model, as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor())
