"""MRIs with more noise or an uneven sensitivity, standardised again as preprocessing would have done it."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray

DEGREE = 3
"""Of the polynomial that a bias field is."""

_POWERS = tuple(p for p in itertools.product(range(DEGREE + 1), repeat=3) if 0 < sum(p) <= DEGREE)
"""Of x, y and z in each term; a constant would change nothing that z-scoring does not undo."""


def standardised(values: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Mean 0 and SD 1 within the brain, 0 outside; both (X, Y, Z)."""
    inside = values[brain].double()
    scaled = (values - inside.mean().float()) / inside.std(correction=0).float()
    return scaled.masked_fill(~brain, 0.0)


def with_noise(
    mri: torch.Tensor, brain: torch.Tensor, sd: float, generator: np.random.Generator
) -> torch.Tensor:
    """Add Gaussian noise to a z-scored MRI (X, Y, Z), `sd` in SDs of the brain, a value a voxel.

    Magnitude images have Rician noise. In a brain whose mean is 4 SDs, noise of 0.3 SD has a signal-to-noise
    ratio of 13, where that is Gaussian but for a shift of 4 % of the noise's SD, which z-scoring takes away;
    in the background, where it is not Gaussian, the network is given 0.
    Source: Gudbjartsson and Patz, Magn Reson Med 34 (1995) 910-914.
    """
    noise = generator.standard_normal(tuple(mri.shape), dtype=np.float32)
    return standardised(mri + sd * torch.from_numpy(noise).to(mri.device), brain)


def with_bias_field(
    mri: torch.Tensor, brain: torch.Tensor, share: float, brain_mean_sd: float, generator: np.random.Generator
) -> torch.Tensor:
    """Multiply a z-scored MRI (X, Y, Z) by a smooth field, at most `share` away from 1 in the brain.

    The field multiplies the raw intensity, which is (brain_mean_sd + z) SDs: z-scores have no zero point.
    Source: Van Leemput et al., IEEE TMI 18 (1999) 885-896 (polynomial fields).
    """
    field = smooth_field(tuple(mri.shape), generator)
    deviation = torch.from_numpy(field).to(mri.device)
    largest = deviation[brain].abs().amax()
    return standardised((brain_mean_sd + mri) * (1 + share * deviation / largest), brain)


def smooth_field(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float32]:
    """A random polynomial of third degree over a volume (X, Y, Z), without a constant term.

    Products of Legendre polynomials, so that each degree is as strong as the others.
    """
    from numpy.polynomial import legendre

    weights = np.zeros((DEGREE + 1,) * 3)
    for powers in _POWERS:
        weights[powers] = generator.uniform(-1, 1)
    x, y, z = (legendre.legvander((2 * np.arange(n) + 1) / n - 1, DEGREE) for n in shape)
    field: NDArray[np.float32] = np.einsum("ijk,xi,yj,zk->xyz", weights, x, y, z, optimize=True).astype(
        np.float32
    )
    return field
