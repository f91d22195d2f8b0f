"""Occlusion sensitivity of one subject's prediction.

Source: RICE-NET section 2 (a small cube masked at the same place in all volumes, change of the
output probability). The paper states neither cube nor stride nor fill; here they are parameters,
and the fill is 0, which is the brain's mean and the background of a z-scored MRI, and no dose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    Network = Callable[[torch.Tensor], torch.Tensor]

FILL = 0.0
BATCH_VOXELS = 4_000_000
"""Input values that one batch of occluded copies may hold, 16 MB of float32."""

Corner = tuple[int, int, int]


@dataclass(frozen=True)
class OcclusionMap:
    """Change of p_rice (X, Y, Z), float32: positive where hiding a voxel lowers p_rice."""

    change: NDArray[np.float32]
    baseline_p_rice: float


def cube_starts(voxels: int, cube_voxels: int, stride_voxels: int) -> list[int]:
    """First indices of the cubes along one axis; the last one lies flush with the border.

    >>> cube_starts(10, 4, 3)
    [0, 3, 6]
    >>> cube_starts(9, 4, 3)
    [0, 3, 5]
    """
    last = voxels - cube_voxels
    return [*range(0, last, stride_voxels), last]


def occlusion_map(
    network: Network, volumes: NDArray[np.float32], cube_voxels: int, stride_voxels: int
) -> OcclusionMap:
    """Mean change of p_rice over the cubes that cover each voxel.

    network: logits (N, 2) of inputs (N, C, X, Y, Z), in evaluation mode, classes as in LABELS.
    volumes: (C, X, Y, Z) float32, the subject's channels; every cube hides all of them at once.
    A cube that already holds nothing but the fill changes nothing, and needs no forward pass.
    """
    shape = volumes.shape[1:]
    starts = [cube_starts(n, cube_voxels, stride_voxels) for n in shape]
    corners: list[Corner] = [(x, y, z) for x, y, z in product(*starts)]
    changing = [c for c in corners if np.any(volumes[_cube(c, cube_voxels)] != FILL)]
    baseline = float(_p_rice(network, volumes[None])[0])
    total = np.zeros(shape)
    for corner, p_rice in _occluded(network, volumes, changing, cube_voxels):
        total[_cube(corner, cube_voxels)[1:]] += baseline - p_rice
    counts = [_coverage(n, s, cube_voxels) for n, s in zip(shape, starts, strict=True)]
    covered = counts[0][:, None, None] * counts[1][None, :, None] * counts[2][None, None, :]
    return OcclusionMap((total / covered).astype(np.float32), baseline)


def _occluded(
    network: Network, volumes: NDArray[np.float32], corners: Sequence[Corner], cube_voxels: int
) -> Iterator[tuple[Corner, float]]:
    at_once = max(1, BATCH_VOXELS // volumes.size)
    for first in range(0, len(corners), at_once):
        batch = corners[first : first + at_once]
        copies = np.repeat(volumes[None], len(batch), axis=0)
        for copy, corner in zip(copies, batch, strict=True):
            copy[_cube(corner, cube_voxels)] = FILL
        yield from zip(batch, _p_rice(network, copies).tolist(), strict=True)


def _p_rice(network: Network, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    import torch

    from ricenet.network import p_rice

    with torch.inference_mode():
        result: NDArray[np.float64] = p_rice(network(torch.from_numpy(inputs))).cpu().numpy()
    return result


def _cube(corner: Corner, cube_voxels: int) -> tuple[slice, slice, slice, slice]:
    x, y, z = (slice(start, start + cube_voxels) for start in corner)
    return slice(None), x, y, z


def _coverage(voxels: int, starts: Sequence[int], cube_voxels: int) -> NDArray[np.float64]:
    count = np.zeros(voxels)
    for start in starts:
        count[start : start + cube_voxels] += 1
    return count
