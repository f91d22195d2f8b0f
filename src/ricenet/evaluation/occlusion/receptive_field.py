"""The receptive field forwards: which voxels of each layer a box of the input can change.

A box of changed voxels grows from layer to layer as it passes the layers' sliding windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Shape = tuple[int, int, int]
Starts = NDArray[np.int64]


@dataclass(frozen=True)
class SlidingWindow:
    """A convolution's or pooling's geometry, the same along every axis, in voxels."""

    kernel: int
    stride: int
    padding: int

    def outputs(self, shape: Shape) -> Shape:
        """Shape of the whole output of an input of some shape."""
        x, y, z = ((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in shape)
        return x, y, z

    def first(self, starts: Starts) -> Starts:
        """The first outputs that see some inputs; below 0 where the output has no such voxel."""
        return (starts + self.padding - self.kernel) // self.stride + 1

    def last(self, starts: Starts) -> Starts:
        """The last outputs that see some inputs, which may lie beyond the output's end."""
        return (starts + self.padding) // self.stride


@dataclass(frozen=True)
class Boxes:
    """A box a sample, all of one shape, in a map; a box may hang over the map's edge.

    starts: (N, 3) first voxels, below 0 where a box begins outside. whole: shape of the map.
    """

    starts: Starts
    shape: Shape
    whole: Shape

    def through(self, window: SlidingWindow) -> Self:
        """The boxes of a window's output that see these boxes.

        They are as large as the largest that a sample needs, which depends on how it lies on the stride.
        Along an axis where that is as much as the map, they are the map.

        >>> Boxes(np.array([[4, 6, 7]]), (4, 4, 3), (16, 16, 16)).through(SlidingWindow(3, 2, 1))
        Boxes(starts=array([[2, 3, 3]]), shape=(3, 3, 3), whole=(8, 8, 8))
        """
        whole = window.outputs(self.whole)
        starts = window.first(self.starts)
        sizes = (window.last(self.starts + self.shape - 1) - starts + 1).max(axis=0)
        covers = sizes >= whole
        x, y, z = np.where(covers, whole, sizes).tolist()
        return type(self)(np.where(covers, 0, starts), (x, y, z), whole)

    @property
    def covered(self) -> tuple[bool, bool, bool]:
        """Along which axes the boxes are the whole map."""
        x, y, z = (size == n for size, n in zip(self.shape, self.whole, strict=True))
        return x, y, z

    def inputs(self, window: SlidingWindow) -> Self:
        """What a window looks at to give these boxes; hangs over by the padding at least."""
        starts = self.starts * window.stride - window.padding
        x, y, z = ((size - 1) * window.stride + window.kernel for size in self.shape)
        # the map of the inputs is not asked for: what lies outside is for the caller to say
        return type(self)(starts, (x, y, z), self.whole)

    def grown(self, voxels: Shape) -> Self:
        """The boxes with a margin on both sides of each axis."""
        x, y, z = (size + 2 * margin for size, margin in zip(self.shape, voxels, strict=True))
        return type(self)(self.starts - voxels, (x, y, z), self.whole)


def moved(values: torch.Tensor, held: Boxes, wanted: Boxes, outside: float = 0.0) -> torch.Tensor:
    """Values in other boxes; `outside` where the held boxes have none.

    values: (N, X, Y, Z, C) in the boxes `held`. Returns (N, X', Y', Z', C); a view where that is enough.
    """
    offsets = wanted.starts - held.starts
    if len(offsets) and (offsets == offsets[0]).all():
        low = offsets[0]
        if (low >= 0).all() and all(low + wanted.shape <= np.array(held.shape)):
            return values[(slice(None), *_ranges(low, wanted.shape))]
    result = values.new_full((len(values), *wanted.shape, values.shape[-1]), outside)
    for sample, offset in enumerate(offsets):
        _copy(values[sample], result[sample], offset)
    return result


def windows(whole: torch.Tensor, wanted: Boxes, outside: float) -> torch.Tensor:
    """Boxes of one map (X, Y, Z, C), as (N, X', Y', Z', C); `outside` beyond the map's edges."""
    if tuple(whole.shape[:3]) == wanted.shape and not wanted.starts.any():
        return whole.expand(len(wanted.starts), *whole.shape)
    result = whole.new_empty((len(wanted.starts), *wanted.shape, whole.shape[-1]))
    for box, start in zip(result, wanted.starts, strict=True):
        if (start < 0).any() or (start + wanted.shape > np.array(whole.shape[:3])).any():
            box.fill_(outside)
        _copy(whole, box, start)
    return result


def _copy(source: torch.Tensor, target: torch.Tensor, offset: Starts) -> None:
    """Copy what two boxes share; offset: of the target's first voxel in the source."""
    low = np.maximum(offset, 0)
    high = np.minimum(offset + target.shape[:3], source.shape[:3])
    if (high > low).all():
        target[_ranges(low - offset, high - low)] = source[_ranges(low, high - low)]


def _ranges(start: Starts, shape: Sequence[int] | Starts) -> tuple[slice, slice, slice]:
    x, y, z = (slice(int(s), int(s + n)) for s, n in zip(start, shape, strict=True))
    return x, y, z
