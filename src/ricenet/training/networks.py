"""The classifiers by name, their first weights, and predicting with them.

Source: RICE-NET section 2 (ResNet-18 with a 7x7x7 stem, batch norm, ReLU, global average pooling, linear
head; inputs concatenated as channels). The other networks are ours.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ricenet.config.network_params import NetworkParams, ResNetParams, SmallCnnParams, VisitsParams
from ricenet.runtime.randomness import seed_for
from ricenet.training.visits_network import Visits, VisitsNetwork
from ricenet.training.withheld_volumes import MayLackVolumes
from ricenet.vocabulary import LABELS, VolumeSpec

STEM_VOXELS = 7
_GROUP_CHANNELS = 16

Join = Callable[[NDArray[np.floating], NDArray[np.float64]], NDArray[np.float64]]
"""Volumes and a network's p_rice to the p_rice of both."""


def build_network(
    settings: NetworkParams,
    channels: int,
    variables: int = 0,
    members: Sequence[VolumeSpec] = (),
    columns: Sequence[str] = (),
    classes: int = len(LABELS),
) -> torch.nn.Module:
    """A network with weights of no particular seed.

    Input (N, channels, X, Y, Z) float32, and (N, variables) float32 where it `uses_variables`; output (N, K)
    logits in the order of the K declared labels. With `channel_dropout` a volume of the input may be NaN: not
    there. members, columns: the volumes, and the names of the variables' columns, for a network that tells
    them apart.
    """
    if isinstance(settings, VisitsParams):
        network: torch.nn.Module = _visits(settings, members, columns[:variables])
        return _normalised(network, settings)
    builder = _BUILDERS[settings.name]
    if settings.may_lack_volumes:
        network = MayLackVolumes(builder(settings, 2 * channels, variables, classes))
    else:
        network = builder(settings, channels, variables, classes)
    return _normalised(network, settings)


def initial_network(
    settings: NetworkParams,
    modality_set: str,
    fold: int,
    seed: int,
    channels: int,
    variables: int = 0,
    members: Sequence[VolumeSpec] = (),
    columns: Sequence[str] = (),
    classes: int = len(LABELS),
) -> torch.nn.Module:
    """The untrained network of one fold: equal arguments give equal weights, whatever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", seed, modality_set, fold))
        return build_network(settings, channels, variables, members, columns, classes)


def _resnet(settings: NetworkParams, channels: int, variables: int, classes: int) -> torch.nn.Module:
    assert isinstance(settings, ResNetParams)
    # takes seconds to import, and only what trains or predicts needs it
    from monai.networks.nets import resnet

    build = {"resnet18": resnet.resnet18, "resnet10": resnet.resnet10}[settings.name]
    network: torch.nn.Module = build(
        spatial_dims=3,
        n_input_channels=channels,
        conv1_t_size=STEM_VOXELS,
        conv1_t_stride=settings.stem_stride,
        widen_factor=settings.widen_factor,
        num_classes=classes,
        norm="batch",
    )
    return network


def _densenet(settings: NetworkParams, channels: int, variables: int, classes: int) -> torch.nn.Module:
    from monai.networks.nets.densenet import DenseNet121

    network: torch.nn.Module = DenseNet121(spatial_dims=3, in_channels=channels, out_channels=classes)
    return network


class SmallCnn(torch.nn.Module):
    """Three convolutions, the mean over all voxels, a linear layer, which variables may join.

    The first two halve the resolution; the third sees the neighbourhood of about 40 voxels.
    """

    def __init__(self, channels: int, widths: list[int], variables: int, classes: int = len(LABELS)) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for (before, after), (size, stride) in zip(
            pairwise([channels, *widths]), ((5, 2), (3, 2), (3, 1)), strict=True
        ):
            convolution = torch.nn.Conv3d(before, after, size, stride, padding=size // 2, bias=False)
            layers += [convolution, torch.nn.BatchNorm3d(after), torch.nn.ReLU(inplace=True)]
        self.features = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(widths[-1] + variables, classes)
        self.uses_variables = variables > 0

    def forward(self, volumes: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (N, K) of volumes (N, C, X, Y, Z) and variables (N, V)."""
        features = self.features(volumes).mean(dim=(2, 3, 4))
        if self.uses_variables:
            assert variables is not None
            features = torch.cat([features, variables], dim=1)
        logits: torch.Tensor = self.head(features)
        return logits


class Branches(torch.nn.Module):
    """A network for every volume, whose logits are added; variables join that of the first."""

    def __init__(self, channels: int, widths: list[int], variables: int, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.of_volumes = torch.nn.ModuleList(
            SmallCnn(1, widths, variables if channel == 0 else 0, classes) for channel in range(channels)
        )
        self.uses_variables = variables > 0

    def forward(self, volumes: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (N, K) of volumes (N, C, X, Y, Z) and variables (N, V)."""
        parts = zip(self.of_volumes, volumes.split(1, dim=1), strict=True)
        return torch.stack([branch(volume, variables) for branch, volume in parts]).sum(0)


class Starts(torch.nn.Module):
    """Networks of one kind and different first weights, which see the same batches."""

    def __init__(self, networks: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)
        self.uses_variables = bool(networks[0].uses_variables)

    def forward(self, volumes: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        """In training the logits of each network (S, N, K), so that each has its own loss; else the mean."""
        logits = torch.stack([network(volumes, variables) for network in self.networks])
        return logits if self.training else logits.mean(0)


def _small_cnn(settings: NetworkParams, channels: int, variables: int, classes: int) -> torch.nn.Module:
    assert isinstance(settings, SmallCnnParams)
    kind = Branches if settings.branches else SmallCnn
    used = variables if settings.variables else 0
    networks = [kind(channels, settings.widths, used, classes) for _ in range(settings.starts)]
    return networks[0] if settings.starts == 1 else Starts(networks)


def _visits(settings: VisitsParams, members: Sequence[VolumeSpec], columns: Sequence[str]) -> VisitsNetwork:
    if not members:
        raise ValueError("the network visits needs the declaration of its volumes")
    visits = Visits.of(members, columns)
    encoder = SmallCnn(visits.channels, settings.widths, 0).features
    return VisitsNetwork(
        visits, encoder, settings.widths[-1], settings.heads, settings.difference, len(columns)
    )


_BUILDERS: Mapping[str, Callable[[NetworkParams, int, int, int], torch.nn.Module]] = {
    "resnet18": _resnet,
    "resnet10": _resnet,
    "densenet121": _densenet,
    "small_cnn": _small_cnn,
}


def _normalised(network: torch.nn.Module, settings: NetworkParams) -> torch.nn.Module:
    if settings.norm == "group":
        _put_group_norm(network)
    return network


def _put_group_norm(network: torch.nn.Module) -> None:
    """Replace every batch norm; MONAI's own parameter `norm` reaches a ResNet's stem alone (1.6.1)."""
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.BatchNorm3d):
            channels = module.num_features
            groups = math.gcd(channels, max(1, channels // _GROUP_CHANNELS))
            network.set_submodule(name, torch.nn.GroupNorm(groups, channels))


class WithVariables(torch.nn.Module):
    """A network of volumes and variables as one of volumes alone. variables: (1, V) of the subject."""

    variables: torch.Tensor

    def __init__(self, network: torch.nn.Module, variables: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("variables", variables.to(next(network.parameters()).device))

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of volumes (N, C, X, Y, Z)."""
        return logits_of(self.network, volumes, self.variables.expand(len(volumes), -1))


class Joined(torch.nn.Module):
    """A network of volumes alone, whose answer is joined by another one.

    join: p_rice (N,) of volumes (N, C, X, Y, Z) and of the network's p_rice (N,), all of them arrays.
    """

    def __init__(self, network: torch.nn.Module, join: Join) -> None:
        super().__init__()
        self.network, self.join = network, join

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Logits (N, 2) of volumes (N, C, X, Y, Z); for answers, not for training."""
        alone: torch.Tensor = self.network(volumes)
        joined = self.join(volumes.cpu().numpy(), p_rice(alone.float().cpu()).numpy())
        logits = torch.zeros_like(alone, dtype=torch.float32)
        logits[:, LABELS.index("rice")] = torch.logit(torch.from_numpy(joined), eps=1e-12).to(logits)
        return logits


def logits_of(network: torch.nn.Module, volumes: torch.Tensor, variables: torch.Tensor) -> torch.Tensor:
    """Logits (N, K): networks that use variables get them, (N, V), beside the volumes; others ignore them.

    In training (S, N, K) of networks of several `Starts`.
    """
    takes_both = getattr(network, "uses_variables", False)
    logits: torch.Tensor = network(volumes, variables) if takes_both else network(volumes)
    return logits


def preferred_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def full_precision() -> contextlib.AbstractContextManager[None]:
    """On a GPU float32 as it is on a CPU: cuDNN would round to TF32's 10 bits by default."""
    steady = torch.backends.cudnn.deterministic
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=steady, allow_tf32=False
    )
    return flags


@torch.inference_mode()
def predict_logits(
    network: torch.nn.Module, volumes: torch.Tensor, batch_size: int, variables: torch.Tensor | None = None
) -> torch.Tensor:
    """Logits (N, K) float32 on the CPU, of volumes (N, C, X, Y, Z), with fixed batch norm.

    variables: (N, V) float32, for a network that uses them. The network is left in the mode (training or not)
    in which it was.
    """
    if not len(volumes):
        return torch.empty(0, len(LABELS))
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    known = torch.empty(len(volumes), 0) if variables is None else variables
    batches = zip(volumes.split(batch_size), known.split(batch_size), strict=True)
    with full_precision():
        parts = [logits_of(network, x.to(device), v.to(device)).float().cpu() for x, v in batches]
    network.train(was_training)
    return torch.cat(parts)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Probability of each label (N, K), float64, of logits (N, K)."""
    return torch.softmax(logits.double(), dim=1)


def p_rice(logits: torch.Tensor) -> torch.Tensor:
    """Probability of RICE (N,), float64, of logits (N, 2)."""
    return probabilities(logits)[:, LABELS.index("rice")]
