"""A network's answer to an input that differs from a known one in a small box.

`KnownInput` needs no whole forward: the activations of the known input are kept, and a box's difference
runs through the network as a difference. A convolution is linear, so that it needs the changed voxels alone;
where a rectifier follows, the kept activation says what the change makes of it. The receptive field of the
box grows from layer to layer until it is the whole map. Nothing is approximated: but for rounding, the result
is that of the whole forward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv3d, max_pool3d

from ricenet.evaluation.occlusion import toom_cook
from ricenet.evaluation.occlusion.receptive_field import Boxes, Shape, SlidingWindow, Starts, moved, windows

_OUTSIDE = -torch.inf
"""An activation that no change makes positive, so that differences outside a map stay 0."""
_POOL = SlidingWindow(kernel=3, stride=2, padding=1)


def rectified_difference(change: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """relu(known + change) - relu(known), in place of the change; 0 where known is -inf."""
    return change.add_(known).clamp_(min=0).sub_(known.clamp(min=0))


class DifferenceConvolution:
    """A convolution and its batch norm on differences, from which biases and means vanish."""

    def __init__(
        self, convolution: torch.nn.Conv3d, norm: torch.nn.BatchNorm3d, precision: torch.dtype
    ) -> None:
        size, stride, padding = convolution.kernel_size, convolution.stride, convolution.padding
        self.window = SlidingWindow(size[0], stride[0], int(padding[0]))
        scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
        kernel = convolution.weight * scale[:, None, None, None, None]
        self._kernel = kernel.to(precision, memory_format=torch.channels_last_3d)
        # cuDNN's own kernels are quicker than many small steps, and bfloat16 has too few digits for the tiles
        by_tiles = self.window == SlidingWindow(3, 1, 1) and kernel.device.type == "cpu"
        self._may_tile = by_tiles and precision == torch.float32
        self._tiled: dict[int, torch.Tensor] = {}

    def __call__(self, values: torch.Tensor, boxes: Boxes) -> tuple[torch.Tensor, Boxes]:
        """The changes (N, X', Y', Z', K) float32, and the boxes that values (N, X, Y, Z, C) reach."""
        values = values.to(self._kernel.dtype)
        reached = boxes.through(self.window)
        if self.window.stride == 1:
            changes = self._of_neighbours(values, boxes, reached)
        else:
            seen = moved(values, boxes, reached.inputs(self.window))
            changes = _last(conv3d(_first(seen), self._kernel, stride=self.window.stride))
        return changes.float(), reached

    def _of_neighbours(self, values: torch.Tensor, boxes: Boxes, reached: Boxes) -> torch.Tensor:
        """With stride 1: oneDNN skips the weights that lie on padding, but multiplies zeros that we add."""
        if (tile := self._best_tile(boxes)) is not None:
            changes = toom_cook.convolve(values, self._tiled[tile], tile)
            return moved(changes, boxes.grown((1, 1, 1)), reached)
        beyond = self.window.kernel - 1 - self.window.padding
        x, y, z = (0 if covered else beyond for covered in boxes.covered)
        padding = tuple(self.window.padding + margin for margin in (x, y, z))
        changes = _last(conv3d(_first(values), self._kernel, padding=padding))
        return moved(changes, boxes.grown((x, y, z)), reached)

    def _best_tile(self, boxes: Boxes) -> int | None:
        if not self._may_tile:
            return None
        channels = min(self._kernel.shape[:2])
        tile = toom_cook.best_tile(boxes.shape, boxes.covered, channels, len(boxes.starts))
        if tile is not None and tile not in self._tiled:
            self._tiled[tile] = toom_cook.transformed_kernel(self._kernel, tile)
        return tile


class _Stem:
    """The first convolution and the pooling."""

    def __init__(self, network: Any, known: torch.Tensor, precision: torch.dtype) -> None:
        self.convolution = DifferenceConvolution(network.conv1, network.bn1, precision)
        self._known = known
        self.pooled = _last(max_pool3d(_first(known[None]), _POOL.kernel, _POOL.stride, _POOL.padding))[0]

    def __call__(self, values: torch.Tensor, boxes: Boxes) -> tuple[torch.Tensor, Boxes]:
        change, reached = self.convolution(values, boxes)
        pooled = reached.through(_POOL)
        seen = pooled.inputs(_POOL)
        changed = moved(change, reached, seen).add_(windows(self._known, seen, _OUTSIDE))
        changed = _last(max_pool3d(_first(changed), _POOL.kernel, _POOL.stride))
        known = windows(self.pooled, pooled, _OUTSIDE)
        difference = changed.clamp_(min=0).sub_(known.clamp(min=0))
        # a window that lies mostly outside sees the map's edge, though the map has no such output
        return difference.masked_fill_(known == _OUTSIDE, 0), pooled


@dataclass(frozen=True)
class _Block:
    """A residual block; inner, outer: its known activations (X, Y, Z, C) before the two rectifiers."""

    first: DifferenceConvolution
    second: DifferenceConvolution
    shortcut: DifferenceConvolution | None
    inner: torch.Tensor
    outer: torch.Tensor

    def __call__(self, values: torch.Tensor, boxes: Boxes) -> tuple[torch.Tensor, Boxes]:
        change, middle = self.first(values, boxes)
        between = rectified_difference(change, windows(self.inner, middle, _OUTSIDE))
        change, last = self.second(between, middle)
        if self.shortcut is not None:
            values, boxes = self.shortcut(values, boxes)
        change = change.add_(moved(values, boxes, last))
        return rectified_difference(change, windows(self.outer, last, _OUTSIDE)), last


class KnownInput:
    """MONAI's ResNet of basic blocks and batch norm, with what it computes of one input.

    network: one that `is_understood`. volumes: (C, X, Y, Z) float32 on its device. precision: of the
    convolutions of differences, float32 or bfloat16; everything kept is float32.
    """

    def __init__(self, network: Any, volumes: torch.Tensor, precision: torch.dtype = torch.float32) -> None:
        image = volumes[None].contiguous(memory_format=torch.channels_last_3d)
        self._shape: Shape = (image.shape[2], image.shape[3], image.shape[4])
        self._stem = _Stem(network, _kept(network.bn1(network.conv1(image))), precision)
        values = _first(self._stem.pooled[None]).relu()
        self._blocks: list[_Block] = []
        for block in residual_blocks(network):
            known, values = _known_block(block, values, precision)
            self._blocks.append(known)
        self._voxels = values[0, 0].numel()
        self._head = network.fc
        self.logits: torch.Tensor = self._head(values.mean(dim=(2, 3, 4)))[0]

    def logits_with(self, differences: torch.Tensor, starts: Starts) -> torch.Tensor:
        """As `Answering`."""
        x, y, z = differences.shape[1:4]
        values, boxes = self._stem(differences, Boxes(starts, (x, y, z), self._shape))
        for block in self._blocks:
            values, boxes = block(values, boxes)
        features = values.sum(dim=(1, 2, 3)) / self._voxels
        logits: torch.Tensor = self.logits + features @ self._head.weight.T
        return logits

    def bytes_a_box(self, size: int) -> int:
        """As `Answering`."""
        boxes = Boxes(np.array([[n // 2 for n in self._shape]]), (size, size, size), self._shape)
        largest = 0
        for window, channels in self._layers():
            boxes = boxes.through(window)
            seen = boxes.inputs(window) if window == _POOL else boxes
            largest = max(largest, math.prod(seen.shape) * channels)
        # a layer's input, output and result, the known activations, and what the convolution needs
        return 5 * 4 * largest

    def _layers(self) -> Iterator[tuple[SlidingWindow, int]]:
        yield self._stem.convolution.window, self._stem.pooled.shape[-1]
        yield _POOL, self._stem.pooled.shape[-1]
        for block in self._blocks:
            yield block.first.window, block.inner.shape[-1]
            yield block.second.window, block.outer.shape[-1]


def is_understood(network: Any) -> bool:
    """Whether a network is MONAI's ResNet of basic blocks with batch norm, in evaluation mode.

    Group norm is not: a change anywhere changes its mean everywhere.
    """
    from monai.networks.nets.resnet import ResNet, ResNetBlock

    if not isinstance(network, ResNet) or network.training or network.no_max_pool:
        return False
    blocks = list(residual_blocks(network))
    norms = [network.bn1, *(norm for block in blocks for norm in (block.bn1, block.bn2))]
    return all(isinstance(block, ResNetBlock) for block in blocks) and all(
        isinstance(norm, torch.nn.BatchNorm3d) for norm in norms
    )


def residual_blocks(network: Any) -> Iterator[Any]:
    """The residual blocks of a ResNet, in order."""
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        yield from stage


def _known_block(block: Any, values: torch.Tensor, precision: torch.dtype) -> tuple[_Block, torch.Tensor]:
    inner = block.bn1(block.conv1(values))
    outer = block.bn2(block.conv2(inner.relu()))
    shortcut = None
    if block.downsample is None:
        outer += values
    else:
        outer += block.downsample(values)
        convolution, norm = block.downsample
        shortcut = DifferenceConvolution(convolution, norm, precision)
    known = _Block(
        DifferenceConvolution(block.conv1, block.bn1, precision),
        DifferenceConvolution(block.conv2, block.bn2, precision),
        shortcut,
        _kept(inner),
        _kept(outer),
    )
    return known, outer.relu()


def _kept(activations: torch.Tensor) -> torch.Tensor:
    """(1, C, X, Y, Z) as (X, Y, Z, C), so that a voxel's channels lie together."""
    return _last(activations)[0].contiguous()


def _first(values: torch.Tensor) -> torch.Tensor:
    """(N, X, Y, Z, C) as (N, C, X, Y, Z), as torch's layers take it; nothing is copied."""
    return values.permute(0, 4, 1, 2, 3)


def _last(values: torch.Tensor) -> torch.Tensor:
    """(N, C, X, Y, Z) as (N, X, Y, Z, C); nothing is copied."""
    return values.permute(0, 2, 3, 4, 1)
