"""A dose shifted or rotated within its cube, by trilinear interpolation; 0 comes in from outside."""

from __future__ import annotations

import itertools
import math

import torch

DIRECTIONS = tuple(itertools.product((0, 1, 2), (1, -1)))
"""(axis, sense) of the six trials: along or about +x, -x, +y, -y, +z, -z."""


def shifted(dose: torch.Tensor, shift_voxels: float, axis: int) -> torch.Tensor:
    """Move a dose (X, Y, Z) along an axis, towards higher indices where the shift is positive."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[axis, 3] = -shift_voxels
    return _sampled(dose, matrix)


def rotated(dose: torch.Tensor, angle_deg: float, axis: int) -> torch.Tensor:
    """Turn a dose (X, Y, Z) about an axis through the cube's middle.

    A positive angle turns the next axis (of x, y, z, x) towards the one after it, right-handed.
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    matrix = torch.eye(4, dtype=torch.float64)
    # where a voxel's value comes from: the inverse turn
    matrix[first, first], matrix[first, second] = cosine, sine
    matrix[second, first], matrix[second, second] = -sine, cosine
    return _sampled(dose, matrix)


def _sampled(dose: torch.Tensor, source_from_target: torch.Tensor) -> torch.Tensor:
    """Values at affinely mapped positions (4, 4), in voxels from the cube's middle."""
    shape = dose.shape
    # grid_sample counts from -1 to 1 between the outer faces, last axis first
    half_zyx = torch.tensor([n / 2 for n in reversed(shape)], dtype=torch.float64)
    linear = source_from_target[:3, :3].flip(0, 1) * half_zyx / half_zyx[:, None]
    offset = source_from_target[:3, 3].flip(0) / half_zyx
    theta = torch.cat([linear, offset[:, None]], dim=1).to(dose.device, torch.float32)
    field = torch.nn.functional.affine_grid(theta[None], [1, 1, *shape], align_corners=False)
    moved = torch.nn.functional.grid_sample(
        dose[None, None], field, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return moved[0, 0]
