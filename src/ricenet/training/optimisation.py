"""One step of optimisation: forward, cross-entropy, backward, Adam; compiled where that is faster.

Source: RICE-NET section 2 (Adam, cross-entropy). AdamW, the cosine schedule (Loshchilov and Hutter, ICLR 2017
and 2019), reduced precision, the memory's layout,
compilation and passes over parts of a batch are ours.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import cast

import torch

from ricenet.config.training import TrainingParams
from ricenet.training.arrangement import arrange, memory_format
from ricenet.training.hardware import Hardware
from ricenet.training.networks import logits_of

logger = logging.getLogger(__name__)

_TIMED_STEPS = 5


class Optimisation:
    """A network in training, with its optimiser. network: is arranged for the hardware, in place."""

    def __init__(self, network: torch.nn.Module, settings: TrainingParams, hardware: Hardware) -> None:
        self._settings, self._hardware, self.network = settings, hardware, network
        arrange(network, hardware.device, hardware.bfloat16, settings.deterministic)
        self._format = memory_format(network)
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._forward: torch.nn.Module | None = None

    def set_learning_rate(self, progress: float) -> None:
        """As the schedule has it. progress: share of all steps that have been made."""
        share = 1.0 if self._settings.schedule == "constant" else (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * share

    def step(
        self, volumes: torch.Tensor, variables: torch.Tensor, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from a batch of volumes (B, C, X, Y, Z) float32 and variables (B, V) with classes (B,).

        Returns mean loss () and logits (B, K) before the step, float32 on the device: nothing here waits
        for a GPU. With `samples_at_once` the gradient is summed over several passes; batch norm then
        sees the samples of a pass only.
        """
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        volumes = self._laid_out(volumes)
        if self._forward is None:
            self._forward = self._chosen_forward(volumes, variables, classes)
        losses, logits = [], []
        for part, part_variables, part_classes in self._passes(volumes, variables, classes):
            with self._hardware.autocast():
                part_logits = logits_of(self._forward, part, part_variables)
            part_logits = part_logits.float()
            share = len(part) / len(volumes)
            loss = _mean_loss(part_logits, part_classes) * share
            loss.backward()
            losses.append(loss.detach())
            # a CUDA graph writes its next result to the same place
            logits.append(part_logits.detach().clone().view(-1, *part_logits.shape[-2:]).mean(0))
        self.optimiser.step()
        return torch.stack(losses).sum(), torch.cat(logits)

    @torch.no_grad()
    def logits(self, volumes: torch.Tensor, variables: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) float32 on the device, with fixed batch norm, in the precision of the training."""
        self.network.eval()
        volumes = self._laid_out(volumes)
        with self._hardware.autocast():
            parts = [logits_of(self.network, *part) for part in self._passes(volumes, variables)]
        return torch.cat(parts).float()

    def _laid_out(self, volumes: torch.Tensor) -> torch.Tensor:
        """As the network reads it, copied once if at all; rounded as autocast would in another copy."""
        kind = torch.bfloat16 if self._hardware.bfloat16 else torch.float32
        return volumes.to(kind, memory_format=self._format)

    def _passes(self, *batch: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Tensors of B samples each, cut alike into parts that go through the network together."""
        samples = len(batch[0])
        size = self._settings.samples_at_once or samples
        sizes = [size] * (samples // size)
        if rest := samples - sum(sizes):
            # a single sample has no variance for batch norm: it joins the pass before
            sizes = [*sizes[:-1], size + 1] if rest == 1 and sizes and size > 1 else [*sizes, rest]
        return list(zip(*(values.split(sizes) for values in batch), strict=True))

    def _chosen_forward(
        self, volumes: torch.Tensor, variables: torch.Tensor, classes: torch.Tensor
    ) -> torch.nn.Module:
        """As it is or compiled: by time, so not where results shall repeat.

        A CUDA graph's gradients lie where its next pass puts its own, so several passes are not compiled.
        """
        settings = self._settings
        fixed = settings.compile == "off" or settings.deterministic or settings.samples_at_once is not None
        if fixed or self._hardware.device.type != "cuda":
            return self.network
        return compiled_if_faster(self.network, volumes, variables, classes, self._hardware)


def _mean_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy () of logits (N, K), or of several networks' (S, N, K), with classes (N,)."""
    networks = logits.view(-1, *logits.shape[-2:])
    return torch.nn.functional.cross_entropy(networks.flatten(0, 1), classes.repeat(len(networks)))


def compiled_if_faster(
    network: torch.nn.Module,
    volumes: torch.Tensor,
    variables: torch.Tensor,
    classes: torch.Tensor,
    hardware: Hardware,
) -> torch.nn.Module:
    """The network, or the same one compiled with CUDA graphs where that is faster; both share parameters.

    volumes, variables, classes: a batch to try with. Measured on a copy, so that running statistics and
    random states stay what they were. Where it cannot be compiled, the log says so.
    """

    def step(trial: torch.nn.Module) -> None:
        with hardware.autocast():
            logits = logits_of(trial, volumes, variables)
        _mean_loss(logits.float(), classes).backward()
        if hardware.device.type == "cuda":
            torch.cuda.synchronize(hardware.device)

    trial = copy.deepcopy(network)
    plain_s = _median_seconds(step, trial)
    try:
        compiled_s = _median_seconds(step, _compiled(trial))
    except (RuntimeError, OSError) as error:
        # torch's compiler raises RuntimeErrors; compilers that it calls may be missing
        logger.warning("torch.compile does not work here and is not used: %s", str(error).splitlines()[0])
        return network
    logger.info("a step takes %.3f s, compiled %.3f s", plain_s, compiled_s)
    return _compiled(network) if compiled_s < plain_s else network


def _compiled(network: torch.nn.Module) -> torch.nn.Module:
    # reduce-overhead records CUDA graphs; on a CPU it means the same as the default
    return cast(torch.nn.Module, torch.compile(network, mode="reduce-overhead"))


def _median_seconds(step: Callable[[torch.nn.Module], None], network: torch.nn.Module) -> float:
    """Of a step; the first two, which compile, do not count."""
    seconds = []
    for _ in range(_TIMED_STEPS + 2):
        start = time.monotonic()
        step(network)
        seconds.append(time.monotonic() - start)
    return sorted(seconds[2:])[_TIMED_STEPS // 2]
