"""A network arranged to train fast: the same parameters under the same names, and the same function.

What is arranged is found by kind, in any network; only a ResNet's order of pooling and rectifying is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import torch

from ricenet.training.few_voxels import MOST_VOXELS, product_convolution

_WIDE_CHANNELS = 64
_SAFE_SLICES = 2


def arrange(network: torch.nn.Module, device: torch.device, bfloat16: bool, deterministic: bool) -> None:
    """Arrange a network in place, on its device.

    bfloat16: whether it will be computed so. deterministic: avoid what adds in any order on a GPU.
    """
    if deterministic and device.type == "cuda":
        use_repeatable_pools(network)
    _pool_before_rectifying(network)
    channels_last = _prefers_channels_last(network, device, bfloat16)
    if device.type == "cpu":
        _replace(network, partial(_careful, channels_last=channels_last))
    network.to(device)
    if channels_last:
        for kernel in network.parameters():
            if kernel.ndim == 5:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last_3d)


def memory_format(network: torch.nn.Module) -> torch.memory_format:
    """How a network's input should lie in memory."""
    return torch.contiguous_format if _stem(network).is_contiguous() else torch.channels_last_3d


def _stem(network: torch.nn.Module) -> torch.nn.Parameter:
    """The kernel of the first convolution."""
    return next(parameter for parameter in network.parameters() if parameter.ndim == 5)


def _prefers_channels_last(network: torch.nn.Module, device: torch.device, bfloat16: bool) -> bool:
    """On a CPU float32 gained by it in wide networks alone, in trials that no script repeats."""
    return device.type == "cuda" or bfloat16 or _stem(network).shape[0] >= _WIDE_CHANNELS


def _replace(network: torch.nn.Module, other: Callable[[torch.nn.Module], torch.nn.Module | None]) -> None:
    """Put `other(module)` in the place of every module for which there is one."""
    for name, module in list(network.named_modules()):
        if (replacement := other(module)) is not None:
            network.set_submodule(name, replacement)


def _pool_before_rectifying(network: torch.nn.Module) -> None:
    """In MONAI's ResNet, whose first pooling directly follows a rectifier."""
    from monai.networks.nets.resnet import ResNet

    if isinstance(network, ResNet):
        # the largest of some values and 0 is the largest of the values, and 0: an eighth is left to rectify
        pool = network.get_submodule("maxpool")
        network.set_submodule("act", torch.nn.Identity())
        network.set_submodule("maxpool", torch.nn.Sequential(pool, torch.nn.ReLU(inplace=True)))


def use_repeatable_pools(network: torch.nn.Module) -> None:
    """Replace torch's pools, whose gradients add in any order on a GPU, by such that repeat."""
    _replace(network, _repeatable_pool)


def _repeatable_pool(module: torch.nn.Module) -> torch.nn.Module | None:
    if isinstance(module, torch.nn.MaxPool3d):
        return StrictMaxPool() if (module.kernel_size, module.stride, module.padding) == (3, 2, 1) else None
    if isinstance(module, torch.nn.AvgPool3d):
        size = module.kernel_size
        return StrictAveragePool(size) if isinstance(size, int) and module.stride == size else None
    if isinstance(module, torch.nn.AdaptiveAvgPool3d):
        return SpatialMean() if module.output_size in (1, (1, 1, 1)) else None
    return None


def _careful(module: torch.nn.Module, channels_last: bool) -> torch.nn.Module | None:
    return CarefulConv3d.of(module, channels_last) if isinstance(module, torch.nn.Conv3d) else None


class CarefulConv3d(torch.nn.Conv3d):
    """A convolution for a CPU: of few voxels a product, of one or two slices in float32 even under autocast.

    oneDNN's weight gradient in bfloat16 (torch 2.13.0) reads memory that nobody wrote where a kernel of 3
    meets one or two slices along an axis; the gradient is then anything up to infinity, now and then. With
    a stride of 2 it can also write there, where other axes are longer.
    """

    channels_last = False

    @classmethod
    def of(cls, convolution: torch.nn.Conv3d, channels_last: bool) -> CarefulConv3d:
        """The same convolution with the same parameters. channels_last: how results lie in memory."""
        same = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        settings = {name: getattr(convolution, name) for name in same}
        careful = cls(**settings, bias=convolution.bias is not None, device="meta")
        careful.weight, careful.bias = convolution.weight, convolution.bias
        careful.channels_last = channels_last
        return careful

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) as torch's."""
        if min(values.shape[2:]) > _SAFE_SLICES:
            found = super().forward(values)
            # of one channel, which lies either way, oneDNN's does not lie as those of all other layers
            return found.contiguous(memory_format=torch.channels_last_3d) if self.channels_last else found
        with torch.autocast(values.device.type, enabled=False):
            values = values.float()
            if self._is_plain and values.shape[2:].numel() <= MOST_VOXELS:
                return product_convolution(values, self.weight, self.stride, self.padding)  # type: ignore[arg-type]
            return super().forward(values)

    @cached_property
    def _is_plain(self) -> bool:
        padded = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        return padded and self.dilation == (1, 1, 1) and self.groups == 1 and self.bias is None


class StrictMaxPool(torch.nn.Module):
    """Max pooling of 3 voxels with stride 2 and padding 1, axis by axis.

    Its gradient is a sum in fixed order, which torch's own is not on a GPU; equal values share it.
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


class StrictAveragePool(torch.nn.Module):
    """The mean of blocks of `size` voxels along each axis; what is left over at the far end is ignored."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) to (N, C, X // size, Y // size, Z // size)."""
        for axis in (2, 3, 4):
            blocks = values.shape[axis] // self.size
            used = values.narrow(axis, 0, blocks * self.size)
            values = used.unflatten(axis, (blocks, self.size)).mean(axis + 1)
        return values


class SpatialMean(torch.nn.Module):
    """The mean over all voxels, kept as one voxel.

    torch's adaptive pooling, which is the same, has no repeatable gradient on a GPU.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) to (N, C, 1, 1, 1)."""
        return values.mean(dim=(2, 3, 4), keepdim=True)
