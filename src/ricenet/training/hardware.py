"""What a training computes on, and how a process is set up for it."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ricenet.config.training import TrainingParams
from ricenet.runtime.errors import TrainingError
from ricenet.runtime.machine import has_bfloat16
from ricenet.training.networks import preferred_device

Precision = Literal["auto", "float32", "bfloat16"]


_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""How torch words memory that ran out: the CPU's, a GPU's, a GPU's for cuBLAS or cuDNN."""


@dataclass(frozen=True)
class Hardware:
    """Where one training runs, in which precision; recorded with its results."""

    device: torch.device
    bfloat16: bool

    @classmethod
    def choose(cls, precision: Precision) -> Hardware:
        """The GPU where there is one; "auto" takes bfloat16 where the device has it."""
        device = preferred_device()
        bfloat16 = has_bfloat16(device.type) if precision == "auto" else precision == "bfloat16"
        return cls(device, bfloat16)

    @property
    def record(self) -> dict[str, str | int]:
        """For people: what decides how sums are rounded, so other weights may follow from the same key."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        precision = "bfloat16" if self.bfloat16 else "float32"
        return {"device": name, "precision": precision, "threads": torch.get_num_threads()}

    @property
    def peak_memory_gb(self) -> float:
        """The most that this process has held so far, on the GPU where one trains, else in all."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        # kibibytes on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass is computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


@contextlib.contextmanager
def repeatability(deterministic: bool) -> Iterator[None]:
    """On a GPU: sums in the same order each time where `deterministic`, else the quickest algorithms.

    On a CPU everything repeats anyway.
    """
    if deterministic:
        # read by cuBLAS when a GPU is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    if deterministic != before:
        # the call alone takes a second and more: it imports torch's compiler (2.13.0)
        torch.use_deterministic_algorithms(deterministic)
    # float32 shall be float32: cuDNN would round to TF32's 10 bits by default
    flags = {
        "enabled": True,
        "benchmark": not deterministic,
        "deterministic": deterministic,
        "allow_tf32": False,
    }
    try:
        with torch.backends.cudnn.flags(**flags):
            yield
    finally:
        if deterministic != before:
            torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def memory_explained(where: str, settings: TrainingParams) -> Iterator[None]:
    """Explain memory that ran out by the parameters that lower its use.

    settings: the training's. Raises TrainingError.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(where, settings) from error
    except RuntimeError as error:
        # torch has no kind of its own for the CPU's memory, nor for that of a GPU's libraries
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise _out_of_memory(where, settings) from error


def _out_of_memory(where: str, settings: TrainingParams) -> TrainingError:
    at_once = settings.samples_at_once or settings.batch_size
    fewer = (
        f"Lower training.samples_at_once (below {at_once}; a step still sees training.batch_size "
        f"{settings.batch_size}), set"
        if at_once > 1
        else "Set"
    )
    return TrainingError(
        f"{where}: out of memory with {at_once} samples at once. {fewer} training.memory to streamed, or "
        "lower execution.workers so that fewer folds share the memory"
    )
