"""torch.compile with CUDA graphs, where it makes a training faster than it is without."""

from __future__ import annotations

import copy
import logging
import time
from typing import cast

import torch

from ricenet.training.hardware import Hardware

logger = logging.getLogger(__name__)

_STEPS = 5


def compiled_if_faster(
    network: torch.nn.Module, volumes: torch.Tensor, classes: torch.Tensor, hardware: Hardware
) -> torch.nn.Module:
    """The network, or the same one compiled where that is faster here; both share their parameters.

    volumes (B, C, X, Y, Z) and classes (B,): a batch to try with. Measured on a copy, so that running
    statistics and random states stay what they were. Where it cannot be compiled, that is said.
    """
    trial = copy.deepcopy(network)
    plain_s = _seconds_per_step(trial, volumes, classes, hardware)
    try:
        compiled_s = _seconds_per_step(_compiled(trial), volumes, classes, hardware)
    except (RuntimeError, OSError) as error:
        # torch's compiler raises RuntimeErrors; compilers that it calls may be missing
        logger.warning("torch.compile does not work here, so it is left out: %s", str(error).splitlines()[0])
        return network
    logger.info("a step takes %.3f s, compiled %.3f s", plain_s, compiled_s)
    return _compiled(network) if compiled_s < plain_s else network


def _compiled(network: torch.nn.Module) -> torch.nn.Module:
    # reduce-overhead records CUDA graphs; on a processor it means the same as the default
    return cast(torch.nn.Module, torch.compile(network, mode="reduce-overhead"))


def _seconds_per_step(
    network: torch.nn.Module, volumes: torch.Tensor, classes: torch.Tensor, hardware: Hardware
) -> float:
    """Median time of a forward and a backward pass, compilation left out."""
    seconds = []
    for _ in range(_STEPS + 2):
        start = time.monotonic()
        with hardware.autocast():
            logits = network(volumes)
        torch.nn.functional.cross_entropy(logits.float(), classes).backward()
        if hardware.device.type == "cuda":
            torch.cuda.synchronize(hardware.device)
        seconds.append(time.monotonic() - start)
    return sorted(seconds[2:])[_STEPS // 2]
