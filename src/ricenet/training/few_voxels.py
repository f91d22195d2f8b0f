"""Convolutions of a few voxels on a CPU, as a product with the part of the kernel that meets them.

A kernel of 3 voxels on a volume of one voxel multiplies by 26 zeros of the padding. At the demo's scale half
of a ResNet's layers see one or two voxels along an axis, and took a third of a step. The result is the
convolution's, but for rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

MOST_VOXELS = 8
"""Of an input that is multiplied so; the matrix grows with their square."""

Corner = tuple[int, int, int]
Slices = tuple[slice, slice, slice]


def product_convolution(
    values: torch.Tensor, kernel: torch.Tensor, stride: Corner, padding: Corner
) -> torch.Tensor:
    """Values (N, C, X, Y, Z) convolved by a kernel (O, C, K, L, M): (N, O, X', Y', Z')."""
    shape = tuple(values.shape[2:])
    found = tuple(
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, kernel.shape[2:], stride, padding, strict=True)
    )
    matrix = _Matrix.apply(kernel, shape, found, stride, padding)  # type: ignore[no-untyped-call]
    # channels last, as the kernel lies
    rows = values.permute(0, 2, 3, 4, 1).flatten(1)
    product: torch.Tensor = torch.nn.functional.linear(rows, matrix.flatten(2).flatten(0, 1))
    return product.view(len(values), *found, len(kernel)).permute(0, 4, 1, 2, 3)


class _Matrix(torch.autograd.Function):
    """Kernel (O, C, K, L, M) to what each result takes from each voxel: (X'Y'Z', O, X, Y, Z, C)."""

    @staticmethod
    def forward(
        ctx: Any, kernel: torch.Tensor, shape: Corner, found: Corner, stride: Corner, padding: Corner
    ) -> torch.Tensor:
        """Outside of the kernel it is 0."""
        ctx.kernel_like, ctx.places = kernel, (shape, found, stride, padding)
        lying = kernel.permute(0, 2, 3, 4, 1)
        matrix = kernel.new_zeros(found[0] * found[1] * found[2], len(kernel), *shape, kernel.shape[1])
        for row, (taps, voxels) in zip(matrix, _meetings(kernel.shape[2:], *ctx.places), strict=True):
            row[:, *voxels] = lying[:, *taps]
        return matrix

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """Each tap gets the sum over the pairs of voxels that it joins."""
        (gradient,) = gradients
        of_kernel = torch.zeros_like(ctx.kernel_like)
        lying = of_kernel.permute(0, 2, 3, 4, 1)
        for row, (taps, voxels) in zip(gradient, _meetings(of_kernel.shape[2:], *ctx.places), strict=True):
            lying[:, *taps] += row[:, *voxels]
        return of_kernel, None, None, None, None


def _meetings(
    kernel: torch.Size, shape: Corner, found: Corner, stride: Corner, padding: Corner
) -> Iterator[tuple[Slices, Slices]]:
    """For each output voxel the taps of the kernel that meet the input, and the voxels that they meet."""
    for place in itertools.product(*(range(n) for n in found)):
        starts = [o * s - p for o, s, p in zip(place, stride, padding, strict=True)]
        ranges = [
            (max(0, start), min(n, start + k)) for start, n, k in zip(starts, shape, kernel, strict=True)
        ]
        taps = [slice(a - start, b - start) for (a, b), start in zip(ranges, starts, strict=True)]
        x, y, z = (slice(a, b) for a, b in ranges)
        yield (taps[0], taps[1], taps[2]), (x, y, z)
