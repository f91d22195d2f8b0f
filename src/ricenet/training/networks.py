"""The classifier: MONAI's 3D ResNet-18.

Source: RICE-NET section 2 (7x7x7 stem, four residual stages, batch norm, ReLU, global average
pooling, linear head; inputs concatenated as channels).
"""

from __future__ import annotations

import contextlib
import math
from typing import Literal

import torch

from ricenet.runtime.errors import ParamsError
from ricenet.runtime.randomness import seed_for
from ricenet.vocabulary import LABELS, channels

STEM_VOXELS = 7
_FIRST_STAGE_CHANNELS = 64


Norm = Literal["batch", "group"]
_GROUP_CHANNELS = 16


def build_network(
    modality_set: str, widen_factor: float, stem_stride: int, norm: Norm = "batch"
) -> torch.nn.Module:
    """The network of a modality set; its weights are of no particular seed.

    Input (N, C, X, Y, Z) float32, C the set's members; output (N, 2) logits in the order of LABELS.
    widen_factor: channels relative to ResNet-18. stem_stride: voxels, of the first convolution.
    norm: the paper's batch norm, or group norm in groups of about 16 channels, which does not depend on the
    other samples of a batch.
    Raises ParamsError: so narrow that no channel is left.
    """
    if int(_FIRST_STAGE_CHANNELS * widen_factor) < 1:
        smallest = 1 / _FIRST_STAGE_CHANNELS
        problem = f"network.widen_factor: {widen_factor:g} leaves no channel; at least {smallest:g}"
        raise ParamsError("params.yaml", [problem])
    # takes seconds to import, and only what trains or predicts needs it
    from monai.networks.nets.resnet import resnet18

    network: torch.nn.Module = resnet18(
        spatial_dims=3,
        n_input_channels=len(channels(modality_set)),
        conv1_t_size=STEM_VOXELS,
        conv1_t_stride=stem_stride,
        widen_factor=widen_factor,
        num_classes=len(LABELS),
        norm="batch",
    )
    if norm == "group":
        _put_group_norm(network)
    return network


def _put_group_norm(network: torch.nn.Module) -> None:
    """Replace every batch norm; MONAI's own parameter `norm` reaches the stem's alone (1.6.1)."""
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.BatchNorm3d):
            channels = module.num_features
            groups = math.gcd(channels, max(1, channels // _GROUP_CHANNELS))
            network.set_submodule(name, torch.nn.GroupNorm(groups, channels))


def initial_network(
    modality_set: str, fold: int, seed: int, widen_factor: float, stem_stride: int, norm: Norm = "batch"
) -> torch.nn.Module:
    """The untrained network of one fold: equal arguments give equal weights, whatever ran before.

    Raises ParamsError: so narrow that no channel is left.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", seed, modality_set, fold))
        return build_network(modality_set, widen_factor, stem_stride, norm)


def preferred_device() -> torch.device:
    """The graphics card where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def full_precision() -> contextlib.AbstractContextManager[None]:
    """On a card float32 as it is on a processor: cuDNN would round to TF32's 10 bits by default."""
    steady = torch.backends.cudnn.deterministic
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=steady, allow_tf32=False
    )
    return flags


@torch.inference_mode()
def predict_logits(network: torch.nn.Module, volumes: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Logits (N, 2) float32 on the CPU, of volumes (N, C, X, Y, Z), with fixed batch norm.

    The network is left in the mode (training or not) in which it was.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    with full_precision():
        parts = [network(batch.to(device)).float().cpu() for batch in volumes.split(batch_size)]
    network.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0, len(LABELS))


def p_rice(logits: torch.Tensor) -> torch.Tensor:
    """Probability of RICE (N,), float64, of logits (N, 2)."""
    return torch.softmax(logits.double(), dim=1)[:, LABELS.index("rice")]
