"""Altered volumes: a dose moved within its cube, an MRI with noise or an uneven sensitivity."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

DEGREE = 3
"""Of the polynomial that a bias field is."""

_POWERS = tuple(p for p in itertools.product(range(DEGREE + 1), repeat=3) if 0 < sum(p) <= DEGREE)
"""Of x, y and z in each term; a constant would change nothing that z-scoring does not undo."""


def shifted(dose: torch.Tensor, shift_voxels: float, axis: int) -> torch.Tensor:
    """Move a dose (X, Y, Z) along an axis, towards higher indices where the shift is positive.

    Trilinear interpolation; 0 comes in from outside.
    """
    matrix = np.eye(4)
    matrix[axis, 3] = -shift_voxels
    return _sampled(dose, matrix)


def rotated(dose: torch.Tensor, angle_deg: float, axis: int) -> torch.Tensor:
    """Turn a dose (X, Y, Z) about an axis through the cube's middle, likewise.

    A positive angle turns the next axis (of x, y, z, x) towards the one after it, right-handed.
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    matrix = np.eye(4)
    # where a voxel's value comes from: the inverse turn
    matrix[first, first], matrix[first, second] = cosine, sine
    matrix[second, first], matrix[second, second] = -sine, cosine
    return _sampled(dose, matrix)


def _sampled(dose: torch.Tensor, source_from_target: NDArray[np.float64]) -> torch.Tensor:
    """Values at affinely mapped positions (4, 4), in voxels from the cube's middle."""
    import torch

    shape = dose.shape
    # grid_sample counts from -1 to 1 between the outer faces, last axis first
    half_zyx = np.array([n / 2 for n in reversed(shape)])
    linear = source_from_target[2::-1, 2::-1] * half_zyx / half_zyx[:, None]
    offset = source_from_target[2::-1, 3] / half_zyx
    theta = torch.from_numpy(np.column_stack([linear, offset])).to(dose.device, torch.float32)
    field = torch.nn.functional.affine_grid(theta[None], [1, 1, *shape], align_corners=False)
    moved = torch.nn.functional.grid_sample(
        dose[None, None], field, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return moved[0, 0]


def standardised_as(before: torch.Tensor, values: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Values (X, Y, Z) with mean and SD in the brain shown as they were before they changed, 0 outside.

    before: (N,) values in the brain. Of a whole head these have mean 0 and SD 1, and this is z-scoring again.
    Of a crop, whose values were z-scored by the whole brain, it stands for it: what the rest of the brain did
    to mean and SD is not in the crop.
    """
    inside, known = values[brain].double(), before.double()
    scaled = (values - inside.mean().float()) / inside.std(correction=0).float()
    restored = scaled * known.std(correction=0).float() + known.mean().float()
    return restored.masked_fill(~brain, 0.0)


def with_noise(mri: torch.Tensor, sd: float, generator: np.random.Generator) -> torch.Tensor:
    """Add Gaussian noise to an MRI (X, Y, Z), a value a voxel.

    Magnitude images have Rician noise. In a brain whose mean is 4 SDs, noise of 0.3 SD has a signal-to-noise
    ratio of 13, where that is Gaussian but for a shift of 4 % of the noise's SD, which z-scoring takes away;
    in the background, where it is not Gaussian, the network is given 0.
    Source: Gudbjartsson and Patz, Magn Reson Med 34 (1995) 910-914.
    """
    import torch

    noise = generator.standard_normal(tuple(mri.shape), dtype=np.float32)
    return mri + sd * torch.from_numpy(noise).to(mri.device)


def with_bias_field(
    intensities: torch.Tensor, brain: torch.Tensor, share: float, generator: np.random.Generator
) -> torch.Tensor:
    """Multiply an MRI (X, Y, Z) by a smooth field, at most `share` away from 1 in the brain.

    intensities: from their zero on, in any unit; z-scores have no zero point.
    Source: Van Leemput et al., IEEE TMI 18 (1999) 885-896 (polynomial fields).
    """
    import torch

    field = smooth_field(tuple(intensities.shape), generator)
    deviation = torch.from_numpy(field).to(intensities.device)
    largest = deviation[brain].abs().amax()
    return intensities * (1 + share * deviation / largest)


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
