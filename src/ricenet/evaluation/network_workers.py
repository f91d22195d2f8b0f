"""How trained networks are asked about several subjects side by side."""

from __future__ import annotations

from importlib.metadata import version

from ricenet.config.params import ExecutionParams
from ricenet.runtime.machine import available_bytes, gpu_names, shares

PRELOAD = ("torch", "nibabel", "scipy.ndimage", "ricenet.training.networks", "ricenet.training.ensemble")
"""What every worker needs, but MONAI: it loads pandas, which starts a thread."""


def network_workers(execution: ExecutionParams, worker_bytes: int) -> ExecutionParams:
    """One thread for each worker, so that answers are the same to the last bit however many there are.

    worker_bytes: that each needs on a CPU. Of "auto" workers on this machine there are no more than its
    memory holds, and where it has GPUs one for each.
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
