"""How many workers find room on the nodes of a cluster, and with how many threads and gpus each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import WORKER_BYTES, GpuShare, Share

_RESOLUTION = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster offers to tasks. identity: Ray's."""

    identity: str
    address: str
    cpus: float
    gpus: float
    memory_bytes: float


@dataclass(frozen=True)
class Placing:
    """Workers at once, and the threads (CPUs) and the share of a GPU that each has."""

    workers: int
    threads: int
    gpus: float


def place(nodes: Sequence[Node], workers: Share, threads: Share, gpus: GpuShare) -> Placing:
    """Settle what is left to "auto" by what the nodes have.

    gpus: of each worker; 0 for tasks that use none. "auto" gpus: one each, or if more workers than GPUs
    are asked for, such a share that all find room; 0 where no node has one. "auto" workers: as many as the
    CPUs, the gpus and the memory (WORKER_BYTES each) allow. "auto" threads: the CPUs that a worker has to
    itself.
    Raises RicenetError: no node has room for one worker; more than one GPU, and not a whole number.
    """
    share = _share_of_gpu(nodes, workers, gpus)
    least = 1 if threads == "auto" else threads
    if not has_room(nodes, Placing(1, least, share)):
        raise RicenetError(_too_much(nodes, least, share))
    if workers == "auto":
        workers = sum(
            min(_room(node, least, share), max(1, int(node.memory_bytes // WORKER_BYTES))) for node in nodes
        )
    if threads != "auto":
        return Placing(workers, threads, share)
    goal, most = min(workers, _rooms(nodes, 1, share)), int(max(node.cpus for node in nodes))
    return Placing(workers, max(t for t in range(1, most + 1) if _rooms(nodes, t, share) >= goal), share)


def has_room(nodes: Sequence[Node], placing: Placing) -> bool:
    """Whether any node, when idle, has room for one worker."""
    return _rooms(nodes, placing.threads, placing.gpus) > 0


def _share_of_gpu(nodes: Sequence[Node], workers: Share, gpus: GpuShare) -> float:
    if gpus != "auto":
        if gpus > 1 and gpus != int(gpus):
            raise RicenetError(
                f"execution.gpus_per_worker is {gpus:g}: above one GPU, only whole GPUs can be set aside"
            )
        return float(gpus)
    there = sum(int(node.gpus) for node in nodes)
    if there == 0:
        return 0.0
    sharing = 1 if workers == "auto" else math.ceil(workers / there)
    return 1.0 if sharing <= 1 else _RESOLUTION // sharing / _RESOLUTION


def _rooms(nodes: Sequence[Node], threads: int, gpus: float) -> int:
    return sum(_room(node, threads, gpus) for node in nodes)


def _room(node: Node, threads: int, gpus: float) -> int:
    by_cpus = int(node.cpus // threads)
    if gpus == 0:
        return by_cpus
    # a share lies on one GPU
    of_gpus = int(node.gpus // gpus) if gpus >= 1 else int(node.gpus) * int(1 / gpus + 1e-6)
    return min(by_cpus, of_gpus)


def _too_much(nodes: Sequence[Node], threads: int, gpus: float) -> str:
    offers = sorted({(node.cpus, node.gpus) for node in nodes}, reverse=True)
    there = "; ".join(f"{cpus:g} CPU(s) and {held:g} GPU(s)" for cpus, held in offers) or "nothing"
    return (
        f"a worker asks for {threads} CPU(s) and {gpus:g} GPU(s), and no node has that; the nodes "
        f"have: {there}. Lower execution.threads_per_worker or execution.gpus_per_worker, or add a node"
    )
