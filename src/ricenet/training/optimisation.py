"""One step of optimisation: forward, cross-entropy, backward, Adam.

Source: RICE-NET section 2 (Adam, cross-entropy). Reduced precision, the memory's layout and passes over parts
of a batch are ours.
"""

from __future__ import annotations

import torch

from ricenet.config.training import NetworkParams, TrainingParams
from ricenet.training import networks as network
from ricenet.training.arrangement import arrange, memory_format
from ricenet.training.compilation import compiled_if_faster
from ricenet.training.hardware import Hardware


class Optimisation:
    """A network in training, with its optimiser."""

    def __init__(
        self,
        modality_set: str,
        fold: int,
        seed: int,
        shape: NetworkParams,
        settings: TrainingParams,
        hardware: Hardware,
    ) -> None:
        self._settings, self._hardware = settings, hardware
        self.network = network.initial_network(
            modality_set, fold, seed, shape.widen_factor, shape.stem_stride, shape.norm
        )
        arrange(self.network, hardware.device, hardware.bfloat16, settings.deterministic)
        self._format = memory_format(self.network)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._forward: torch.nn.Module | None = None

    def step(self, volumes: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from a batch of volumes (B, C, X, Y, Z) float32 with classes (B,).

        Returns mean loss () and logits (B, 2) before the step, float32 on the device: nothing here waits
        for a card. With `samples_at_once` the gradient is summed over several passes; batch norm then
        sees the samples of a pass only.
        """
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        volumes = volumes.contiguous(memory_format=self._format)
        if self._forward is None:
            self._forward = self._chosen_forward(volumes, classes)
        losses, logits = [], []
        for part, part_classes in self._passes(volumes, classes):
            with self._hardware.autocast():
                part_logits = self._forward(part)
            part_logits = part_logits.float()
            share = len(part) / len(volumes)
            loss = torch.nn.functional.cross_entropy(part_logits, part_classes) * share
            loss.backward()
            losses.append(loss.detach())
            # a CUDA graph writes its next result to the same place
            logits.append(part_logits.detach().clone())
        self.optimiser.step()
        return torch.stack(losses).sum(), torch.cat(logits)

    @torch.no_grad()
    def logits(self, volumes: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) float32 on the device, with fixed batch norm, in the precision of the training."""
        self.network.eval()
        volumes = volumes.contiguous(memory_format=self._format)
        with self._hardware.autocast():
            parts = [self.network(part) for part, _ in self._passes(volumes, volumes)]
        return torch.cat(parts).float()

    def _passes(
        self, volumes: torch.Tensor, classes: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        size = self._settings.samples_at_once or len(volumes)
        sizes = [size] * (len(volumes) // size)
        if rest := len(volumes) - sum(sizes):
            # a single sample has no variance for batch norm: it joins the pass before
            sizes = [*sizes[:-1], size + 1] if rest == 1 and sizes and size > 1 else [*sizes, rest]
        return list(zip(volumes.split(sizes), classes.split(sizes), strict=True))

    def _chosen_forward(self, volumes: torch.Tensor, classes: torch.Tensor) -> torch.nn.Module:
        """As it is or compiled: by time, so not where results shall repeat.

        A CUDA graph's gradients lie where its next pass puts its own, so several passes are not compiled.
        """
        settings = self._settings
        fixed = settings.compile == "off" or settings.deterministic or settings.samples_at_once is not None
        if fixed or self._hardware.device.type != "cuda":
            return self.network
        return compiled_if_faster(self.network, volumes, classes, self._hardware)
