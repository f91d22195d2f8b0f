"""What of this machine parallel work may take: its cores once, and no more memory than there is."""

from __future__ import annotations

from typing import Literal

Backend = Literal["serial", "processes", "ray"]
Share = int | Literal["auto"]

WORKER_BYTES = 4 * 2**30
"""What one worker may need: preprocessing stays below it for any scan (benchmarks/preprocess_subject.py)."""


def shares(backend: Backend, workers: Share, threads_per_worker: Share) -> tuple[int, int]:
    """How many workers, and threads for each, so that together they take no more cores than there are.

    "auto" workers: one a core, as far as memory allows (WORKER_BYTES each). "auto" threads: the cores that a
    worker has to itself; one for Ray, whose cores are elsewhere.
    """
    cores = _cores()
    if backend == "serial":
        side_by_side = 1
    elif workers == "auto":
        side_by_side = max(1, min(cores, _available_bytes() // WORKER_BYTES))
    else:
        side_by_side = workers
    if threads_per_worker != "auto":
        return side_by_side, threads_per_worker
    return side_by_side, 1 if backend == "ray" else max(1, cores // side_by_side)


def _cores() -> int:
    """Cores that this process may use, as its affinity and its container's quota have it."""
    from joblib import cpu_count

    return int(cpu_count())


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
