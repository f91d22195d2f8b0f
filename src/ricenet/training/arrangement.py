"""A network arranged to train fast: the same parameters under the same names, and the same function."""

from __future__ import annotations

import torch

_WIDE_CHANNELS = 64
_SAFE_SLICES = 2


def arrange(network: torch.nn.Module, device: torch.device, bfloat16: bool, deterministic: bool) -> None:
    """Arrange MONAI's ResNet in place, on its device.

    bfloat16: whether it will be computed so. deterministic: leave out what adds in any order on a card.
    """
    pool = network.get_submodule("maxpool")
    if deterministic and device.type == "cuda":
        pool = StrictMaxPool()
        network.set_submodule("avgpool", SpatialMean())
    # the largest of some values and 0 is the largest of the values, and 0: an eighth is left to rectify
    network.set_submodule("act", torch.nn.Identity())
    network.set_submodule("maxpool", torch.nn.Sequential(pool, torch.nn.ReLU(inplace=True)))
    if bfloat16 and device.type == "cpu":
        _use_careful_convolutions(network)
    network.to(device)
    if _prefers_channels_last(network, device, bfloat16):
        for kernel in network.parameters():
            if kernel.ndim == 5:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last_3d)


def memory_format(network: torch.nn.Module) -> torch.memory_format:
    """How a network's input should lie in memory."""
    stem = network.get_parameter("conv1.weight")
    return torch.contiguous_format if stem.is_contiguous() else torch.channels_last_3d


def _prefers_channels_last(network: torch.nn.Module, device: torch.device, bfloat16: bool) -> bool:
    """On a processor float32 gained by it in wide networks alone, in trials that no script repeats."""
    stem = network.get_parameter("conv1.weight")
    return device.type == "cuda" or bfloat16 or stem.shape[0] >= _WIDE_CHANNELS


def _use_careful_convolutions(network: torch.nn.Module) -> None:
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.Conv3d):
            network.set_submodule(name, CarefulConv3d.of(module))


class CarefulConv3d(torch.nn.Conv3d):
    """A convolution that computes inputs of one or two slices in float32 even under autocast.

    oneDNN's weight gradient in bfloat16 (torch 2.13.0) reads memory that nobody wrote where a kernel of 3
    meets two slices along the first axis; the gradient is then anything up to infinity, now and then.
    """

    @classmethod
    def of(cls, convolution: torch.nn.Conv3d) -> CarefulConv3d:
        """The same convolution with the same parameters."""
        settings = {
            name: getattr(convolution, name)
            for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        }
        careful = cls(**settings, bias=convolution.bias is not None, device="meta")
        careful.weight, careful.bias = convolution.weight, convolution.bias
        return careful

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) as torch's."""
        if values.shape[2] > _SAFE_SLICES:
            return super().forward(values)
        with torch.autocast(values.device.type, enabled=False):
            return super().forward(values.float())


class StrictMaxPool(torch.nn.Module):
    """Max pooling of 3 voxels with stride 2 and padding 1, axis by axis.

    Its gradient is a sum in fixed order, which torch's own is not on a card; equal values share it.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) to (N, C, ceil(X / 2), ceil(Y / 2), ceil(Z / 2))."""
        for axis in (2, 3, 4):
            values = _largest_of_three(values, axis)
        return values


def _largest_of_three(values: torch.Tensor, axis: int) -> torch.Tensor:
    pooled = (values.shape[axis] + 1) // 2
    edge = [0, 0] * 3
    # torch.nn.functional.pad counts from the last axis; two behind make every middle have both neighbours
    edge[2 * (4 - axis) : 2 * (4 - axis) + 2] = [1, 2]
    padded = torch.nn.functional.pad(values, edge, value=-torch.inf)
    first, middle, last = (
        padded.narrow(axis, offset, 2 * pooled).unflatten(axis, (pooled, 2)).select(axis + 1, 0)
        for offset in range(3)
    )
    return torch.maximum(torch.maximum(first, middle), last)


class SpatialMean(torch.nn.Module):
    """The mean over all voxels, kept as one voxel.

    torch's adaptive pooling, which is the same, has no repeatable gradient on a card.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) to (N, C, 1, 1, 1)."""
        return values.mean(dim=(2, 3, 4), keepdim=True)
