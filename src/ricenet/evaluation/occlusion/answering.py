"""A network with an input that it knows, asked about inputs that differ in a small box.

The exact fast path (`KnownInput`) where the network is understood, whole forwards for every other network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.evaluation.occlusion.incremental import KnownInput, is_understood
from ricenet.evaluation.occlusion.receptive_field import Starts


class Answering(Protocol):
    """A network with an input that it knows."""

    @property
    def logits(self) -> torch.Tensor:
        """Of the known input, (2,)."""

    def logits_with(self, differences: torch.Tensor, starts: Starts) -> torch.Tensor:
        """Logits (N, 2) of N inputs that differ in a box each.

        differences: (N, x, y, z, C) to add to the known input. starts: (N, 3) the boxes' first voxels.
        """

    def bytes_a_box(self, size: int) -> int:
        """About how much memory a box of so many voxels along each side takes on its way."""


def known_input(network: Any, volumes: NDArray[np.float32], precision: str) -> Answering:
    """A network with an input (C, X, Y, Z); answers by its changed boxes alone where it is understood.

    precision: of the convolutions of differences, float32 or bfloat16.
    """
    parameters = getattr(network, "parameters", list)
    image = torch.from_numpy(volumes).to(next(iter(parameters()), torch.empty(0)).device)
    if is_understood(network):
        return KnownInput(network, image, getattr(torch, precision))
    return WholeInput(network, image)


@dataclass(frozen=True)
class WholeInput:
    """Any network and an input, answered by whole forwards.

    network: logits (N, 2) of inputs (N, C, X, Y, Z). volumes: (C, X, Y, Z) float32.
    """

    network: Callable[[torch.Tensor], torch.Tensor]
    volumes: torch.Tensor

    @cached_property
    def logits(self) -> torch.Tensor:
        """As `Answering`."""
        return self.network(self.volumes[None])[0]

    def logits_with(self, differences: torch.Tensor, starts: Starts) -> torch.Tensor:
        """As `Answering`."""
        inputs = self.volumes.repeat(len(starts), 1, 1, 1, 1)
        for image, difference, (x, y, z) in zip(inputs, differences, starts, strict=True):
            box = difference.permute(3, 0, 1, 2)
            _, a, b, c = box.shape
            image[:, x : x + a, y : y + b, z : z + c] += box
        return self.network(inputs)

    def bytes_a_box(self, size: int) -> int:
        """As `Answering`: a copy of the input, and about as much as 128 channels of it inside."""
        del size
        return (self.volumes.shape[0] + 128) * self.volumes[0].numel() * self.volumes.element_size()
