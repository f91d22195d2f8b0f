"""Where and in which precision HD-BET's network is computed.

The choice is tested without a GPU, and the network's code against torch's `meta` device; neither was run on
one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import gpu_names, has_bfloat16


def choose_device(device: str) -> str:
    """ "cpu" or "cuda": as asked for, or with "auto" the GPU where torch sees one.

    Raises RicenetError: "cuda" is asked for and torch sees no GPU.
    """
    available = _sees_gpu()
    if device == "cuda" and not available:
        raise RicenetError(
            f"preprocessing.brain.device is cuda, but torch {version('torch')} sees no CUDA GPU: "
            "install a CUDA build of torch and its driver, or set it to auto or cpu"
        )
    if device == "auto":
        return "cuda" if available else "cpu"
    return device


def _sees_gpu() -> bool:
    """Whether torch sees a GPU. Without one to see, torch is not loaded to say so, which takes seconds."""
    # NVIDIA's library does not know AMD's GPUs
    if "torch" not in sys.modules and "rocm" not in version("torch") and not gpu_names():
        return False
    import torch

    return torch.cuda.is_available()


def use_bfloat16(precision: str, device: str = "auto") -> bool:
    """Whether to compute in bfloat16: as asked for, or with "auto" where the device has instructions for it.

    device: as `choose_device` takes it.
    """
    return precision == "bfloat16" if precision != "auto" else has_bfloat16(choose_device(device))


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Let this thread round denormal floats to 0, with which many a CPU computes at a crawl, and undo it.

    It is undone since other libraries notice: numpy then finds no smallest float.
    """
    import torch

    before = _flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextlib.contextmanager
def repeatable_on_gpus() -> Iterator[None]:
    """Let GPUs convolve in the same order each time, and float32 in float32: by default they round to TF32.

    Without a GPU nothing changes.
    """
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _flushes_denormals() -> bool:
    return bool(np.float32(1e-39) * np.float32(1) == 0)
