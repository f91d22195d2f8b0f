"""The section `network` of the parameter file: a network by name, and the settings that this one takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, SerializeAsAny

from ricenet.config.types import Count, Section

Norm = Literal["batch", "group"]
Occlusion = Literal["residual", "whole"]
"""How occlusion computes an answer: by a box's difference through residual blocks, or by whole forwards."""


Widths = Annotated[list[Annotated[Count, Field(le=64)]], Field(min_length=3, max_length=3)]


def safetensors_file(path: str) -> str:
    """The path, unless it is of another kind of file. Raises ValueError."""
    if not path.endswith(".safetensors"):
        raise ValueError(
            f"{path}: expected a .safetensors file; other formats may run code when they are read"
        )
    return path


class NetworkParams(Section):
    """What every network has.

    norm: batch norm (the paper's), or group norm in groups of about 16 channels, which does not depend on the
    other samples of a batch. initial_weights: a safetensors file to begin from, or None for random weights.
    """

    title: ClassVar[str]
    total_stride: ClassVar[int]
    """Voxels of the input along each axis for one of the last feature map."""
    least_voxels: ClassVar[int] = 1
    """Of the cube along each axis; with fewer nothing is left in the last stage."""

    name: str
    norm: Norm = "batch"
    initial_weights: Annotated[str, AfterValidator(safetensors_file)] | None = None

    @property
    def uses_variables(self) -> bool:
        """Whether the network takes the declared variables beside the volumes."""
        return False

    @property
    def occlusion(self) -> Occlusion:
        """The quickest way to compute what hiding a small box does."""
        return "whole"

    def described(self, monai: str) -> str:
        """For the methods of a paper. monai: the library's version."""
        return f"{self.title} (MONAI {monai}; {self.norm} normalisation)"

    @property
    def last_voxel(self) -> int:
        """The largest cube, in voxels along each axis, of which one voxel is left in the last feature map."""
        return self.total_stride


class ResNetParams(NetworkParams):
    """MONAI's 3D ResNet of basic blocks with a stem of 7 voxels.

    widen_factor: channels relative to the standard's 64, 128, 256, 512; 1/64 leaves one channel.
    stem_stride: voxels, of the first convolution.
    """

    title: ClassVar[str] = "ResNet"
    total_stride: ClassVar[int] = 16

    name: Literal["resnet18", "resnet10"] = "resnet18"
    widen_factor: Annotated[float, Field(ge=1 / 64, allow_inf_nan=False)]
    stem_stride: Annotated[int, Field(ge=1, le=4)]

    @property
    def occlusion(self) -> Occlusion:
        """By differences; not with group norm, of which a change anywhere changes the mean everywhere."""
        return "residual" if self.norm == "batch" else "whole"

    def described(self, monai: str) -> str:
        """For the methods of a paper."""
        width = "" if self.widen_factor == 1 else f", {self.widen_factor:g} times as wide"
        stem = f"stride {self.stem_stride} of the stem"
        layers = self.name.removeprefix("resnet")
        return f"ResNet-{layers} (MONAI {monai}; {self.norm} normalisation, {stem}{width})"

    @property
    def last_voxel(self) -> int:
        """The largest cube, in voxels along each axis, of which one voxel is left in the last feature map."""
        return self.total_stride * self.stem_stride


class DenseNetParams(NetworkParams):
    """MONAI's 3D DenseNet-121."""

    title: ClassVar[str] = "DenseNet-121"
    total_stride: ClassVar[int] = 32
    least_voxels: ClassVar[int] = 29

    name: Literal["densenet121"] = "densenet121"


class SmallCnnParams(NetworkParams):
    """Three convolutions of stride 2, the mean over all voxels, one linear layer: for small cohorts.

    widths: channels of the convolutions. variables: whether the declared variables join the linear layer.
    """

    title: ClassVar[str] = "small convolutional network"
    total_stride: ClassVar[int] = 8

    name: Literal["small_cnn"] = "small_cnn"
    widths: Widths = Field(default_factory=lambda: [16, 32, 64])
    variables: bool = False

    @property
    def uses_variables(self) -> bool:
        """Whether the network takes the declared variables beside the volumes."""
        return self.variables

    def described(self, monai: str) -> str:
        """For the methods of a paper; it is not one of MONAI's."""
        widths = ", ".join(map(str, self.widths))
        joined = "; the clinical variables join the linear layer" if self.variables else ""
        return f"convolutional network of three layers ({widths} channels, {self.norm} normalisation{joined})"


NETWORKS: Mapping[str, type[NetworkParams]] = {
    "resnet18": ResNetParams,
    "resnet10": ResNetParams,
    "densenet121": DenseNetParams,
    "small_cnn": SmallCnnParams,
}
"""Every network by its name; `ricenet.training.networks` builds them."""


def network_by_name(section: Any) -> NetworkParams:
    """The section `network` as the settings of the network that it names; resnet18 where it names none.

    Raises ValueError: unknown network, or settings for which the network has no use.
    """
    if isinstance(section, NetworkParams):
        return section
    if not isinstance(section, Mapping):
        raise ValueError(f"expected the settings of a network, found {section!r}")
    name = section.get("name", "resnet18")
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; expected one of {', '.join(NETWORKS)}")
    known = {setting for kind in NETWORKS.values() for setting in kind.model_fields}
    if unused := sorted((known - set(NETWORKS[name].model_fields)) & set(section)):
        raise ValueError(f"{name} has no use for {', '.join(unused)}; remove what it does not take")
    return NETWORKS[name].model_validate(section)


Network = Annotated[SerializeAsAny[NetworkParams], PlainValidator(network_by_name)]
"""A section `network`."""


def network_misfits(
    network: NetworkParams, cube_voxels: int, samples_at_once: int | None, has_variables: bool
) -> list[str]:
    """What of other sections a network cannot work with; a line a problem, by dotted path."""
    problems = []
    if cube_voxels < network.least_voxels:
        problems.append(
            f"preprocessing.cube_voxels: {cube_voxels} is too small for {network.name}, which needs at least "
            f"{network.least_voxels}"
        )
    if cube_voxels <= network.last_voxel and samples_at_once == 1 and network.norm == "batch":
        problems.append(
            "training.samples_at_once: 1 leaves batch norm a single value in the last stage of a cube of "
            f"{cube_voxels} voxels; take 2 or more, or network.norm group"
        )
    if network.uses_variables and not has_variables:
        problems.append(
            "network.variables: true, but no variables are declared; declare some, or set it to false"
        )
    return problems
