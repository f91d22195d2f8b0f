"""What of this machine parallel work may take: its cores once, and no more memory than there is; and how."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Literal

Backend = Literal["serial", "processes", "ray"]
Share = int | Literal["auto"]
GpuShare = float | Literal["auto"]

WORKER_BYTES = 4 * 2**30
"""What one worker may need: preprocessing stays below it for any scan (benchmarks/preprocess_subject.py)."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Numerical libraries read them when they load, so they are set before a worker starts."""

_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Settings of glibc's mallopt."""


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that hold a process to so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def gpu_names() -> list[str]:
    """Names by which CUDA_VISIBLE_DEVICES chooses the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        # no driver of NVIDIA's
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def shares(backend: Backend, workers: Share, threads_per_worker: Share) -> tuple[int, int]:
    """How many workers, and threads for each, so that together they take no more cores than there are.

    "auto" workers: one a core, as far as memory allows (WORKER_BYTES each). "auto" threads: the cores that a
    worker has to itself; one for Ray, whose cores are elsewhere.
    """
    cores = usable_cores()
    if backend == "serial":
        side_by_side = 1
    elif workers == "auto":
        side_by_side = max(1, min(cores, available_bytes() // WORKER_BYTES))
    else:
        side_by_side = workers
    if threads_per_worker != "auto":
        return side_by_side, threads_per_worker
    return side_by_side, 1 if backend == "ray" else max(1, cores // side_by_side)


def usable_cores() -> int:
    """Cores that this process may use, as its affinity and its container's quota have it."""
    from joblib import cpu_count

    return int(cpu_count())


def available_bytes() -> int:
    """Memory that a new process could take without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def has_bfloat16(device: str) -> bool:
    """Whether a device ("cpu" or "cuda") has instructions for bfloat16, not merely a way to emulate them."""
    # what torch says of a CPU it reads from there too, and loading it takes seconds
    if device == "cpu" and "torch" not in sys.modules and (flags := _cpu_flags()):
        return not _BFLOAT16.isdisjoint(flags)
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _BFLOAT16)


def _cpu_flags() -> list[str]:
    """Instruction sets, as Linux names them on x86; none elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones, on a C library that can.

    Otherwise each step of work on large arrays gives them back, and the system clears them anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def give_freed_memory_back() -> None:
    """Let the system have what this process has freed, on a C library that can.

    A process that works for days on one case after the other would otherwise grow with the gaps that each
    leaves between blocks.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
