"""The network's answer to an input that differs in a small box, by a whole forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from ricenet.evaluation.occlusion.regions import Starts


@dataclass(frozen=True)
class WholeInput:
    """Any network and an input; for those that `KnownInput` does not understand.

    network: logits (N, 2) of inputs (N, C, X, Y, Z). volumes: (C, X, Y, Z) float32.
    """

    network: Callable[[torch.Tensor], torch.Tensor]
    volumes: torch.Tensor

    @cached_property
    def logits(self) -> torch.Tensor:
        """Of the input as it is, (2,)."""
        return self.network(self.volumes[None])[0]

    def logits_with(self, differences: torch.Tensor, starts: Starts) -> torch.Tensor:
        """As `KnownInput.logits_with`."""
        inputs = self.volumes.repeat(len(starts), 1, 1, 1, 1)
        for image, difference, (x, y, z) in zip(inputs, differences, starts, strict=True):
            box = difference.permute(3, 0, 1, 2)
            _, a, b, c = box.shape
            image[:, x : x + a, y : y + b, z : z + c] += box
        return self.network(inputs)

    def bytes_a_box(self, size: int) -> int:
        """As `KnownInput.bytes_a_box`: a copy of the input, and about as much as 64 channels of it inside."""
        del size
        return (self.volumes.shape[0] + 128) * self.volumes[0].numel() * self.volumes.element_size()
