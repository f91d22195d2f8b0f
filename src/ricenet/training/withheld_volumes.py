"""One network for every subset of its volumes: whole volumes are withheld in training, and may be missing
later.

A volume that is not there is NaN in each of its voxels, from where a sample is drawn or a case is read to the
network, which puts the background's value, 0, in its place, and sees beside each volume a plane that is 1
where it is there and 0 where not. Source: channel dropout of whole modalities as in ModDrop (Neverova et al.,
IEEE TPAMI 2016). Deviations: every non-empty subset is equally probable, planes say what is withheld, and
nothing is rescaled, since batch norm follows whole volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def draw_present(
    probability: float, volumes: int, generators: Sequence[np.random.Generator]
) -> NDArray[np.bool_]:
    """Which volumes each sample shows (B, C); a generator a sample.

    With this probability one of the 2^C - 1 non-empty subsets, all equally probable, that of all volumes
    among them; else all volumes.
    """
    present = np.ones((len(generators), volumes), np.bool_)
    for row, generator in zip(present, generators, strict=True):
        happens, subset = generator.random() < probability, int(generator.integers(1, 2**volumes))
        if happens:
            row[:] = [bool(subset >> place & 1) for place in range(volumes)]
    return present


def withhold(volumes: torch.Tensor, present: NDArray[np.bool_] | torch.Tensor) -> torch.Tensor:
    """Volumes (N, C, X, Y, Z) with NaN in those that are not present, (N, C) or (C,)."""
    there = torch.as_tensor(present, device=volumes.device)
    return volumes.masked_fill(~there[..., None, None, None], torch.nan)


def present_in(volumes: torch.Tensor) -> torch.Tensor:
    """Which volumes (N, C) of (N, C, X, Y, Z) are there; a voxel tells, since one is NaN as a whole."""
    return ~volumes[..., 0, 0, 0].isnan()


class MayLackVolumes(torch.nn.Module):
    """A network of volumes and as many planes, as one of volumes alone that may be withheld (NaN)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.uses_variables = bool(getattr(network, "uses_variables", False))

    def forward(self, volumes: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        """Logits as the network's, of volumes (N, C, X, Y, Z) and variables (N, V)."""
        there = present_in(volumes)[..., None, None, None]
        planes = there.to(volumes.dtype).expand_as(volumes)
        seen = torch.cat([torch.where(there, volumes, 0.0), planes], dim=1)
        logits: torch.Tensor = self.network(seen, variables) if self.uses_variables else self.network(seen)
        return logits
