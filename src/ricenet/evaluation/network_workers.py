"""How trained networks are asked about several subjects at once."""

from __future__ import annotations

from importlib.metadata import version

from ricenet.config.params import ExecutionParams
from ricenet.runtime.machine import available_bytes, gpu_names, shares

PRELOAD = ("torch", "nibabel", "scipy.ndimage", "ricenet.training.networks", "ricenet.training.ensemble")
"""What every worker needs, but MONAI: it loads pandas, which starts a thread."""

BASE_BYTES = 2**30
"""Of a worker before it reads anything: torch and MONAI."""

CHANNELS = 128
"""Of the input's size, that a network holds at once beside its input: the paper's where it is widest."""


def asking_bytes(channels: int, voxels: int, inputs: int) -> int:
    """About what a worker needs on a CPU to ask a network about so many inputs at once."""
    return BASE_BYTES + (channels + CHANNELS) * voxels * 4 * inputs


def network_workers(execution: ExecutionParams, worker_bytes: int) -> ExecutionParams:
    """One thread for each worker, so that answers are the same to the last bit however many there are.

    Of "auto" workers on this machine there are no more than its memory holds, and where it has GPUs one for
    each.
    """
    single = execution.model_copy(update={"threads_per_worker": 1})
    if execution.backend != "processes" or execution.workers != "auto":
        return single
    most, _ = shares("processes", "auto", 1)
    fitting = len(gpu_names()) or available_bytes() // worker_bytes
    return single.model_copy(update={"workers": max(1, min(most, fitting))})


def tool_versions() -> dict[str, str]:
    """For content keys: the libraries that compute a network's answer."""
    return {name: version(name) for name in ("torch", "monai", "numpy")}
