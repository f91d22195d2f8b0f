"""A 3x3x3 convolution by tiles, with a fraction of the multiplications of the definition.

Source: Toom and Cook's multiplication of polynomials. Along an axis the m inputs of a tile and the three
weights are polynomials' coefficients; their product, of m + 2 coefficients, is known from its values at m + 2
points: one multiplication a point, instead of three an input. (Winograd's F(m, 3), read backwards, does the
same from the outputs' side.) Every input belongs to one tile, and the outputs of neighbouring tiles overlap
and are added, so that nothing is spent on outputs around a box that only few weights reach.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch

from ricenet.evaluation.occlusion.receptive_field import Shape

KERNEL = 3
_POINTS = {2: (0.0, 1.0, -1.0), 3: (0.0, 1.0, -1.0, 0.5), 4: (0.0, 1.0, -1.0, 2.0, -0.5)}
"""By tile; besides infinity, where a polynomial is its leading coefficient. Small, for float32's sake."""
_MATMUL_COST, _TRANSFORM_COST, _KERNEL_COST = 1.5, 250.0, 25.0
"""What a multiplication by tiles costs beside one of oneDNN's own, what its transforms do for a channel, and
what reading one of the kernel's values does for the whole batch. From trials; the result does not depend on
them."""


def best_tile(sides: Shape, covered: tuple[bool, bool, bool], channels: int, samples: int) -> int | None:
    """The tile that computes boxes of inputs soonest; None where the definition does.

    covered: along which axes nothing beyond the boxes is asked for.
    """
    costs = {tile: _cost(sides, tile, channels, samples) for tile in _POINTS}
    tile = min(costs, key=costs.__getitem__)
    pairs = math.prod(3 * side - 2 * whole for side, whole in zip(sides, covered, strict=True))
    return tile if costs[tile] < pairs + KERNEL**3 * _KERNEL_COST / samples else None


def _cost(sides: Shape, tile: int, channels: int, samples: int) -> float:
    multiplications = math.prod(-(-side // tile) * (tile + 2) for side in sides)
    of_kernel = (tile + 2) ** 3 * _KERNEL_COST / samples
    return multiplications * (_MATMUL_COST + _TRANSFORM_COST / channels) + of_kernel


def transformed_kernel(kernel: torch.Tensor, tile: int) -> torch.Tensor:
    """A kernel's values (K, C, 3, 3, 3) at the points: ((tile + 2) ** 3, C, K) float32."""
    at = _values_at_points(KERNEL, tile).to(kernel.device)
    # torch's convolution is a correlation; polynomials are multiplied by the kernel backwards
    backwards = kernel.double().flip(2, 3, 4)
    values = torch.einsum("ai,bj,ck,oxijk->abcxo", at, at, at, backwards)
    return values.flatten(0, 2).to(torch.float32).contiguous()


def convolve(values: torch.Tensor, kernel: torch.Tensor, tile: int) -> torch.Tensor:
    """Every output that some input reaches, as torch's convolution with padding 2.

    values: (N, X, Y, Z, C) float32. kernel: as of `transformed_kernel`. Returns (N, X + 2, Y + 2, Z + 2, K).
    """
    x, y, z = values.shape[1:4]
    tiles = _in_tiles(values, tile)
    counts = tiles.shape[3:7]
    evaluate = _values_at_points(tile, tile).to(values)
    at_points = _along_three_axes(evaluate, tiles).view(len(kernel), -1, kernel.shape[1])
    interpolate = torch.linalg.inv(_values_at_points(tile + 2, tile)).to(values)
    products = torch.bmm(at_points, kernel).view(*[tile + 2] * 3, -1)
    outputs: torch.Tensor = _along_three_axes(interpolate, products).view(*[tile + 2] * 3, *counts, -1)
    result = _overlapped(outputs, tile)
    return result[:, : x + 2, : y + 2, : z + 2]


@cache
def _values_at_points(coefficients: int, tile: int) -> torch.Tensor:
    """The matrix (tile + 2, coefficients) float64 from a polynomial's coefficients to its values."""
    finite = torch.tensor(_POINTS[tile], dtype=torch.float64)[:, None]
    values = finite ** torch.arange(coefficients, dtype=torch.float64)
    at_infinity = torch.eye(coefficients, dtype=torch.float64)[-1:]
    return torch.cat([values, at_infinity])


def _in_tiles(values: torch.Tensor, tile: int) -> torch.Tensor:
    """(N, X, Y, Z, C) as (tile, tile, tile, N, X / tile, Y / tile, Z / tile, C), filled up with 0."""
    missing = [-side % tile for side in values.shape[1:4]]
    if any(missing):
        values = torch.nn.functional.pad(values, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
    n, x, y, z, channels = values.shape
    split = values.reshape(n, x // tile, tile, y // tile, tile, z // tile, tile, channels)
    return split.permute(2, 4, 6, 0, 1, 3, 5, 7).contiguous()


def _along_three_axes(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A matrix (p, m) on each of the first three axes of values (m, m, m, ...): (p, p, p, rest as one)."""
    after, before = matrix.shape
    first = (matrix @ values.reshape(before, -1)).view(after, before, -1)
    second = (matrix @ first).view(after * after, before, -1)
    return (matrix @ second).view(after, after, after, -1)


def _overlapped(outputs: torch.Tensor, tile: int) -> torch.Tensor:
    """Tiles' outputs (m + 2, m + 2, m + 2, N, TX, TY, TZ, K), added where each tile lies, and beyond it."""
    n, tx, ty, tz, channels = outputs.shape[3:]
    whole = outputs.new_zeros(n, tx + 1, tile, ty + 1, tile, tz + 1, tile, channels)
    own, beyond = slice(0, tile), slice(tile, tile + 2)
    for x, y, z in itertools.product((0, 1), repeat=3):
        part = outputs[tuple(beyond if later else own for later in (x, y, z))]
        a, b, c = part.shape[:3]
        target = whole[:, x : x + tx, :a, y : y + ty, :b, z : z + tz, :c]
        target += part.permute(3, 4, 0, 5, 1, 6, 2, 7)
    return whole.flatten(5, 6).flatten(3, 4).flatten(1, 2)
